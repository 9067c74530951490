package main

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"os"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
)

// router runs a Watermill router: its Kafka subscriber hands over the events of each partition one
// at a time, and those of all partitions in parallel.
func router(ctx context.Context, s settings) (err error) {
	log := watermill.NewSlogLogger(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	reading, writing := kafka.DefaultSaramaSubscriberConfig(), kafka.DefaultSaramaSyncPublisherConfig()
	reading.Consumer.Offsets.Initial = sarama.OffsetOldest
	reading.Version, writing.Version = sarama.V2_8_0_0, sarama.V2_8_0_0 // newer than the default, 1.0
	subscriber, err := kafka.NewSubscriber(kafka.SubscriberConfig{
		Brokers: []string{s.brokers}, ConsumerGroup: s.group, Unmarshaler: kafka.DefaultMarshaler{}, OverwriteSaramaConfig: reading,
	}, log)
	if err != nil {
		return err
	}
	publisher, err := kafka.NewPublisher(kafka.PublisherConfig{
		Brokers: []string{s.brokers}, Marshaler: kafka.DefaultMarshaler{}, OverwriteSaramaConfig: writing,
	}, log)
	if err != nil {
		return errors.Join(err, subscriber.Close())
	}
	defer func() { err = errors.Join(err, publisher.Close()) }()
	r, err := newRouter(s, subscriber, publisher, log)
	if err != nil {
		return errors.Join(err, subscriber.Close())
	}
	return r.Run(ctx)
}

// newRouter connects the middlewares. The first is the outermost: a repetition by Retry must not
// pass the Deduplicator again, which would drop it.
func newRouter(s settings, from message.Subscriber, poison message.Publisher, log watermill.LoggerAdapter) (*message.Router, error) {
	r, err := message.NewRouter(message.RouterConfig{}, log)
	if err != nil {
		return nil, err
	}
	queue, err := middleware.PoisonQueue(poison, s.deadLetters)
	if err != nil {
		return nil, err
	}
	seen, err := middleware.NewMapExpiringKeyRepository(time.Minute)
	if err != nil {
		return nil, err
	}
	deduplicator := middleware.Deduplicator{
		KeyFactory: middleware.NewMessageHasherSHA256(math.MaxInt64), Repository: seen, Timeout: time.Second,
	}
	retry := middleware.Retry{MaxRetries: 3, InitialInterval: 100 * time.Millisecond, Logger: log}
	r.AddMiddleware(deduplicator.Middleware, queue, retry.Middleware)
	r.AddConsumerHandler("crm", s.topic, from, newCRM(s).handle)
	return r, nil
}

func (c *crm) handle(m *message.Message) error {
	e, err := decode(m.Payload)
	if err != nil {
		return err
	}
	return c.update(m.Context(), e)
}
