package dlq

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/segmentio/kafka-go"

	"membersync/dlq/partlog"
)

const (
	defaultWriteTimeout = 10 * time.Second

	// compressFrom is the record size in bytes from which a record is compressed. The source
	// topic's limit counts compressed bytes, so an uncompressed copy of a large record might not
	// fit.
	compressFrom = 64 << 10
)

var errWriteTimeout = errors.New("dlq: the write took too long")

// A Writer writes dead letters, each acknowledged by all in-sync replicas. It is safe for
// concurrent use. It has nothing to close: connections belong to the client's transport.
type Writer struct{ to *producer }

// An Option configures a [Writer], an [Auditor] or a [Redriver].
type Option func(*producer)

// WithTimeout limits the duration of one write. The broker gets half of it to reach the replicas.
// The default is 10 s.
func WithTimeout(d time.Duration) Option { return func(p *producer) { p.timeout = d } }

// WithRetry repeats a write for up to d while Kafka is unavailable, see [IsUnavailable]. The topic
// may then hold the record twice. The default is 0: no retry. The service's own [Writer] does not
// use it, because the service decides about its retries.
func WithRetry(d time.Duration) Option { return func(p *producer) { p.retryTimeout = d } }

// NewWriter returns a writer to the given topic through the client's address and transport.
func NewWriter(client *kafka.Client, topic string, opts ...Option) *Writer {
	return &Writer{newProducer(client, topic, opts)}
}

// Write writes one dead letter and returns nil once all in-sync replicas have it. Any error is a
// [*WriteError] and means that the dead letter is not known to be written. Write does not retry,
// except [WithRetry]. See [IsUnavailable] and [ErrTooLarge].
//
// Dead letters with the same key go to the same partition. So do dead letters without a key that
// have the same id. The dead letters of one employee therefore keep the order in which they were
// written.
func (w *Writer) Write(ctx context.Context, d DeadLetter) error {
	_, err := w.to.write(ctx, d.Message(), d.ID())
	return err
}

// A producer writes records to one topic, each acknowledged by all in-sync replicas.
type producer struct {
	client       *kafka.Client
	topic        string
	timeout      time.Duration // of one write
	retryTimeout time.Duration // for repeating a write while Kafka is unavailable; 0: no retry
	partitions   atomic.Int64  // their number; 0: not known
}

func newProducer(client *kafka.Client, topic string, opts []Option) *producer {
	p := &producer{topic: topic, timeout: defaultWriteTimeout}
	for _, opt := range opts {
		opt(p)
	}
	// kafka-go derives the broker's timeout from the client's. Without one the broker's is 500 ms,
	// too short for replicas that are catching up.
	p.client = &kafka.Client{Addr: client.Addr, Transport: client.Transport, Timeout: p.timeout}
	return p
}

// write writes one record and returns its place. The id replaces a missing key and names the record
// in errors.
func (p *producer) write(ctx context.Context, m kafka.Message, id string) (at Place, err error) {
	if p.retryTimeout == 0 {
		return p.writeOnce(ctx, m, id)
	}
	once := func() error {
		at, err = p.writeOnce(ctx, m, id)
		if !IsUnavailable(err) || errors.Is(err, kafka.UnknownTopicOrPartition) {
			return backoff.Permanent(err)
		}
		return err
	}
	waits := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(50*time.Millisecond), backoff.WithMaxElapsedTime(p.retryTimeout),
	)
	err = backoff.Retry(once, backoff.WithContext(waits, ctx))
	return at, err
}

func (p *producer) writeOnce(ctx context.Context, m kafka.Message, id string) (Place, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, p.timeout, errWriteTimeout)
	defer cancel()
	partition, err := p.partition(ctx, m.Key, id)
	if err == nil {
		var offset int64
		if offset, err = p.produce(ctx, m, partition); err == nil {
			return Place{partition, offset}, nil
		}
	}
	p.partitions.Store(0)
	if ctx.Err() != nil {
		err = fmt.Errorf("%w (%w): %w", ctx.Err(), context.Cause(ctx), err)
	}
	return Place{}, &WriteError{Topic: p.topic, Partition: partition, ID: id, Size: size(m), Err: err}
}

// partition chooses the partition by the hash that Java producers use, so that a key's partition is
// the one that other tools expect.
func (p *producer) partition(ctx context.Context, key []byte, id string) (int, error) {
	n := int(p.partitions.Load())
	if n == 0 {
		var err error
		if n, err = p.countPartitions(ctx); err != nil {
			return -1, err
		}
		p.partitions.Store(int64(n))
	}
	if len(key) == 0 {
		key = []byte(id)
	}
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return kafka.Murmur2Balancer{Consistent: true}.Balance(kafka.Message{Key: key}, all...), nil
}

func (p *producer) countPartitions(ctx context.Context) (int, error) {
	topics, err := lookUp(ctx, p.client, p.topic)
	if err != nil {
		return 0, err
	}
	t, ok := topics[p.topic]
	if !ok {
		return 0, fmt.Errorf("looking up topic %s: %w", p.topic, kafka.UnknownTopicOrPartition)
	}
	return len(t.Partitions), nil
}

// produce returns the offset that the broker has given the record.
func (p *producer) produce(ctx context.Context, m kafka.Message, partition int) (int64, error) {
	req := &kafka.ProduceRequest{
		Topic:        p.topic,
		Partition:    partition,
		RequiredAcks: kafka.RequireAll,
		Records: kafka.NewRecordReader(kafka.Record{
			Key: kafka.NewBytes(m.Key), Value: kafka.NewBytes(m.Value), Headers: m.Headers,
		}),
	}
	if size(m) >= compressFrom {
		req.Compression = kafka.Zstd
	}
	res, err := p.client.Produce(ctx, req)
	if err != nil {
		return 0, fmt.Errorf("producing: %w", partlog.Explain(ctx, p.client, p.topic, err))
	}
	return res.BaseOffset, partlog.OnTopic("Write", p.topic, refusal(res))
}

// refusal returns the error with which the broker refused the record, or nil if it took it.
func refusal(res *kafka.ProduceResponse) error {
	switch {
	case errors.Is(res.Error, kafka.MessageSizeTooLarge), errors.Is(res.Error, kafka.RecordListTooLarge):
		return fmt.Errorf("%w: %w", ErrTooLarge, res.Error)
	case res.Error != nil:
		return fmt.Errorf("refused: %w", res.Error)
	case len(res.RecordErrors) > 0:
		return fmt.Errorf("refused: %w", res.RecordErrors[0])
	}
	return nil
}

func size(m kafka.Message) int {
	n := len(m.Key) + len(m.Value)
	for _, h := range m.Headers {
		n += len(h.Key) + len(h.Value)
	}
	return n
}
