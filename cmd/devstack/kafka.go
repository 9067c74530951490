package main

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/segmentio/kafka-go"

	"membersync/dlq"
)

const (
	batchTimeout = 5 * time.Millisecond
	maxMessage   = 2 << 20 // bytes, so that an oversized record reaches the service
	maxRead      = 8 << 20
)

// A kafkaClient is a client with its own connections.
type kafkaClient struct {
	kafka.Client
	transport *kafka.Transport
}

func newKafka(addr ...string) *kafkaClient {
	transport := &kafka.Transport{ClientID: "devstack"}
	return &kafkaClient{Client: kafka.Client{Addr: kafka.TCP(addr...), Transport: transport}, transport: transport}
}

func (c *kafkaClient) close() { c.transport.CloseIdleConnections() }

func (c *kafkaClient) createTopic(ctx context.Context, topic string, partitions int) error {
	answer, err := c.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{
		Topic: topic, NumPartitions: partitions, ReplicationFactor: 1,
		ConfigEntries: []kafka.ConfigEntry{{ConfigName: "max.message.bytes", ConfigValue: "2097152"}},
	}}})
	if err != nil {
		return err
	}
	return answer.Errors[topic]
}

// A sender sends messages to the topic, each acknowledged before it returns.
type sender struct {
	writer    *kafka.Writer
	transport *kafka.Transport
}

func newSender(topic string, addr ...string) *sender {
	transport := &kafka.Transport{ClientID: "devstack"}
	return &sender{transport: transport, writer: &kafka.Writer{
		Addr: kafka.TCP(addr...), Topic: topic, Transport: transport,
		Balancer: kafka.Murmur2Balancer{}, RequiredAcks: kafka.RequireAll,
		BatchTimeout: batchTimeout, BatchBytes: maxMessage, MaxAttempts: 3,
	}}
}

func (s *sender) send(ctx context.Context, messages ...message) error {
	records := make([]kafka.Message, len(messages))
	for i, m := range messages {
		records[i] = kafka.Message{Key: m.key, Value: m.value, Headers: []kafka.Header{{Key: noteHeader, Value: []byte(m.note)}}}
	}
	return s.writer.WriteMessages(ctx, records...)
}

func (s *sender) close() {
	_ = s.writer.Close()
	s.transport.CloseIdleConnections()
}

// ends returns the end of each partition's log.
func (c *kafkaClient) ends(ctx context.Context, topic string, partitions int) (map[int]int64, error) {
	asked := make([]kafka.OffsetRequest, partitions)
	for p := range asked {
		asked[p] = kafka.LastOffsetOf(p)
	}
	answer, err := c.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: asked}})
	if err != nil {
		return nil, err
	}
	ends := make(map[int]int64, partitions)
	for _, p := range answer.Topics[topic] {
		if p.Error != nil {
			return nil, p.Error
		}
		ends[p.Partition] = p.LastOffset
	}
	return ends, nil
}

// lag returns how many records the group has not committed.
func (c *kafkaClient) lag(ctx context.Context, topic, group string, partitions int) (int64, error) {
	ends, err := c.ends(ctx, topic, partitions)
	if err != nil {
		return 0, err
	}
	var all []int
	var lag int64
	for p, end := range ends {
		all = append(all, p)
		lag += end
	}
	answer, err := c.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: all}})
	if err != nil {
		return 0, err
	}
	for _, p := range answer.Topics[topic] {
		if p.Error != nil {
			return 0, p.Error
		}
		lag -= max(p.CommittedOffset, 0)
	}
	return lag, answer.Error
}

// deadLetters reads the whole dead-letter topic.
func (c *kafkaClient) deadLetters(ctx context.Context, topic string, partitions int) ([]dlq.DeadLetter, error) {
	ends, err := c.ends(ctx, topic, partitions)
	if err != nil {
		return nil, err
	}
	var all []dlq.DeadLetter
	for p, end := range ends {
		for offset := int64(0); offset < end; {
			some, err := c.fetch(ctx, topic, p, offset)
			if err != nil {
				return nil, err
			}
			if len(some) == 0 {
				return nil, io.ErrUnexpectedEOF
			}
			offset += int64(len(some))
			all = append(all, some...)
		}
	}
	return all, nil
}

// fetch reads some dead letters from an offset on.
func (c *kafkaClient) fetch(ctx context.Context, topic string, partition int, offset int64) (some []dlq.DeadLetter, err error) {
	answer, err := c.Fetch(ctx, &kafka.FetchRequest{Topic: topic, Partition: partition, Offset: offset, MinBytes: 1, MaxBytes: maxRead})
	if err = errors.Join(err, errorOf(answer)); err != nil {
		return nil, err
	}
	for {
		record, err := answer.Records.ReadRecord()
		if errors.Is(err, io.EOF) {
			return some, nil
		}
		if err != nil {
			return nil, err
		}
		if record.Offset < offset { // a batch can begin before the offset
			continue
		}
		deadLetter, err := deadLetterOf(record, topic, partition)
		if err != nil {
			return nil, err
		}
		some = append(some, deadLetter)
	}
}

func errorOf(answer *kafka.FetchResponse) error {
	if answer == nil {
		return nil
	}
	return answer.Error
}

func deadLetterOf(record *kafka.Record, topic string, partition int) (dlq.DeadLetter, error) {
	key, err := bytesOf(record.Key)
	if err != nil {
		return dlq.DeadLetter{}, err
	}
	value, err := bytesOf(record.Value)
	if err != nil {
		return dlq.DeadLetter{}, err
	}
	return dlq.Parse(kafka.Message{
		Topic: topic, Partition: partition, Offset: record.Offset, Key: key, Value: value, Headers: record.Headers, Time: record.Time,
	})
}

// bytesOf keeps nil and empty distinct.
func bytesOf(b kafka.Bytes) ([]byte, error) {
	if b == nil {
		return nil, nil
	}
	return kafka.ReadAll(b)
}
