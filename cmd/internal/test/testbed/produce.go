package testbed

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
)

// A Record is a record to write.
type Record struct {
	Partition  int
	Key, Value []byte
	Headers    []kafka.Header
	Time       time.Time // zero: the time of writing
}

const (
	batchRecords = 1000
	batchBytes   = 512 << 10
	retryEvery   = 100 * time.Millisecond
)

// Produce writes records in the order given, one batch at a time for each partition, and returns
// when all are acknowledged. While the broker is away it retries for a minute. If an
// acknowledgement is lost, the retry writes copies.
func (s *Topics) Produce(ctx context.Context, topic string, records iter.Seq[Record]) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p := producer{topics: s, topic: topic, fail: cancel, partitions: make(map[int]*partition)}
	for r := range records {
		if ctx.Err() != nil {
			break
		}
		p.add(ctx, r)
	}
	return p.close(ctx)
}

// A producer has a batch and a goroutine for each partition.
type producer struct {
	topics     *Topics
	topic      string
	fail       context.CancelCauseFunc
	partitions map[int]*partition
	group      sync.WaitGroup
}

type partition struct {
	batch   []Record
	bytes   int
	batches chan []Record
}

func (p *producer) add(ctx context.Context, r Record) {
	part := p.partitions[r.Partition]
	if part == nil {
		part = &partition{batches: make(chan []Record, 1)}
		p.partitions[r.Partition] = part
		p.group.Go(func() { p.write(ctx, r.Partition, part.batches) })
	}
	part.batch = append(part.batch, r)
	part.bytes += len(r.Key) + len(r.Value)
	if len(part.batch) == batchRecords || part.bytes >= batchBytes {
		part.flush(ctx)
	}
}

func (p *partition) flush(ctx context.Context) {
	select {
	case p.batches <- p.batch:
	case <-ctx.Done():
	}
	p.batch, p.bytes = nil, 0
}

func (p *producer) write(ctx context.Context, partition int, batches <-chan []Record) {
	for batch := range batches {
		if ctx.Err() != nil {
			continue
		}
		if err := p.topics.produce(ctx, p.topic, partition, batch); err != nil {
			p.fail(err)
		}
	}
}

func (p *producer) close(ctx context.Context) error {
	for _, part := range p.partitions {
		if len(part.batch) > 0 {
			part.flush(ctx)
		}
		close(part.batches)
	}
	p.group.Wait()
	return context.Cause(ctx)
}

// produce writes one batch and retries while the broker is away.
func (s *Topics) produce(ctx context.Context, topic string, partition int, batch []Record) error {
	ctx, cancel := context.WithTimeoutCause(ctx, opLimit, errLimit)
	defer cancel()
	var last error
	err := Until(ctx, retryEvery, func(ctx context.Context) (bool, error) {
		last = s.write(ctx, topic, partition, batch)
		return last == nil, final(last)
	})
	if err != nil {
		return fmt.Errorf("writing to %s, partition %d: %w", topic, partition, errors.Join(err, last))
	}
	return nil
}

// final returns an error that a retry does not fix, or nil.
func final(err error) error {
	if refusal, ok := errors.AsType[kafka.Error](err); ok && !refusal.Temporary() {
		return err
	}
	return nil
}

// write makes one attempt.
func (s *Topics) write(ctx context.Context, topic string, partition int, batch []Record) error {
	now := time.Now()
	records := make([]kafka.Record, len(batch))
	for i, r := range batch {
		if r.Time.IsZero() {
			r.Time = now
		}
		records[i] = kafka.Record{Key: kafka.NewBytes(r.Key), Value: kafka.NewBytes(r.Value), Headers: r.Headers, Time: r.Time}
	}
	answer, err := s.client.Produce(ctx, &kafka.ProduceRequest{
		Topic: topic, Partition: partition, RequiredAcks: kafka.RequireAll, Records: kafka.NewRecordReader(records...),
	})
	if err == nil {
		err = answer.Error
	}
	return err
}
