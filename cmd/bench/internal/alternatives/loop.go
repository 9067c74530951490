package main

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/segmentio/kafka-go"
)

const (
	maxFetch    = 10e6            // bytes, as in kafka-go's examples
	commitEvery = time.Second     // kafka-go would otherwise wait for the broker after each event
	seenFor     = 336 * time.Hour // of an event id, as the service's done marks
)

// loop processes one event after the other. An event that cannot be processed ends it.
func loop(ctx context.Context, s settings) (err error) {
	opts, err := redis.ParseURL(s.redisURL)
	if err != nil {
		return err
	}
	rdb := redis.NewClient(opts)
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{s.brokers}, GroupID: s.group, Topic: s.topic, MaxBytes: maxFetch, CommitInterval: commitEvery,
	})
	defer func() { err = errors.Join(err, reader.Close(), rdb.Close()) }()
	crm := newCRM(s)
	for {
		m, err := reader.FetchMessage(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		e, err := decode(m.Value)
		if err != nil {
			return err
		}
		isNew, err := rdb.SetNX(ctx, s.redisPrefix+":"+e.ID, 1, seenFor).Result()
		if err != nil {
			return err
		}
		if isNew {
			if err := crm.update(ctx, e); err != nil {
				return err
			}
		}
		if err := reader.CommitMessages(ctx, m); err != nil {
			return err
		}
	}
}
