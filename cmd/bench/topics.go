package main

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"

	"membersync/cmd/internal/test/oracle/outcome"
)

// readRecords reads a topic from its start to its end, with the time when each record was written.
func readRecords(ctx context.Context, b *bench, topic string) (records []outcome.Record, written []time.Time, err error) {
	err = readAll(ctx, b, topic, func(m kafka.Message) {
		r := outcome.Record{Partition: m.Partition, Offset: m.Offset, Key: m.Key, Value: m.Value, Time: m.Time}
		for _, h := range m.Headers {
			r.Headers = append(r.Headers, outcome.Header{Key: h.Key, Value: h.Value})
		}
		records, written = append(records, r), append(written, m.Time)
	})
	return records, written, err
}

// readDeadLetters returns the dlq.id of each dead letter.
func readDeadLetters(ctx context.Context, b *bench, topic string) (ids []string, err error) {
	err = readAll(ctx, b, topic, func(m kafka.Message) {
		id := ""
		for _, h := range m.Headers {
			if h.Key == "dlq.id" {
				id = string(h.Value)
			}
		}
		ids = append(ids, id)
	})
	return ids, err
}

// readAll calls a function with each record of a topic without transactions.
func readAll(ctx context.Context, b *bench, topic string, take func(kafka.Message)) error {
	ends, err := b.Ends(ctx, topic)
	if err != nil {
		return err
	}
	for _, partition := range slices.Sorted(maps.Keys(ends)) {
		if err := readPartition(ctx, b, topic, partition, ends[partition].First, ends[partition].End, take); err != nil {
			return err
		}
	}
	return nil
}

func readPartition(ctx context.Context, b *bench, topic string, partition int, from, end int64, take func(kafka.Message)) (err error) {
	const mostBytes, closeWait = 8 << 20, 100 * time.Millisecond // closing waits for the fetch beyond the end
	r := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{b.Kafka().Addr()}, Topic: topic, Partition: partition, MinBytes: 1, MaxBytes: mostBytes, MaxWait: closeWait,
	})
	defer func() { err = errors.Join(err, r.Close()) }()
	if err := r.SetOffset(from); err != nil {
		return err
	}
	for at := from; at < end; {
		m, err := r.ReadMessage(ctx)
		if err != nil {
			return err
		}
		take(m)
		at = m.Offset + 1
	}
	return nil
}
