package dlq

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/segmentio/kafka-go"
)

const (
	defaultWriteTimeout = 10 * time.Second

	// compressFrom is the size from which a letter is compressed. The source's
	// limit counts compressed bytes, so a plain copy of a large record might not fit.
	compressFrom = 64 << 10
)

var errWriteTimeout = errors.New("dlq: the write took too long")

// A Writer writes dead letters, one acknowledged by all in-sync replicas at a
// time. It is safe for concurrent use and holds nothing to close: connections
// belong to the client's transport.
type Writer struct{ to *producer }

// An Option changes a Writer, an Auditor or a Redriver.
type Option func(*producer)

// WithTimeout bounds one write; half of it is the broker's time to reach the
// replicas. The default is 10 s.
func WithTimeout(d time.Duration) Option { return func(p *producer) { p.timeout = d } }

// WithRetry repeats a write for so long while Kafka is away or not ready; see [IsUnavailable]. The record may then stand
// there twice. A [Writer] of the service goes without: the service decides about its own tries.
func WithRetry(d time.Duration) Option { return func(p *producer) { p.patience = d } }

// NewWriter returns a writer to the given topic through the client's address and transport.
func NewWriter(client *kafka.Client, topic string, opts ...Option) *Writer {
	return &Writer{newProducer(client, topic, opts)}
}

// Write writes one letter and returns nil once all in-sync replicas hold it.
// Any error is a [*WriteError] and means that the letter is not known to be
// written; it is never tried again here. See [IsUnavailable] and [ErrTooLarge].
//
// Letters with the same key go to the same partition, and so do letters without a key and with
// the same id: those of one employee stay in the order in which they were written.
func (w *Writer) Write(ctx context.Context, l DeadLetter) error {
	return w.to.write(ctx, l.Message(), l.ID())
}

// A producer writes records to one topic, each acknowledged by all in-sync replicas.
type producer struct {
	client     *kafka.Client
	topic      string
	timeout    time.Duration
	patience   time.Duration // for repeating a write while Kafka is away or not ready; 0: none
	partitions atomic.Int64  // of the topic; 0: not known
}

func newProducer(client *kafka.Client, topic string, opts []Option) *producer {
	p := &producer{topic: topic, timeout: defaultWriteTimeout}
	for _, opt := range opts {
		opt(p)
	}
	// The client's time-out also becomes the broker's; without one that is half
	// a second, too short for replicas that are catching up.
	p.client = &kafka.Client{Addr: client.Addr, Transport: client.Transport, Timeout: p.timeout}
	return p
}

// write writes one record; id stands for a key that is missing, and names the record in an error.
func (p *producer) write(ctx context.Context, m kafka.Message, id string) error {
	if p.patience == 0 {
		return p.writeOnce(ctx, m, id)
	}
	once := func() error {
		err := p.writeOnce(ctx, m, id)
		if !IsUnavailable(err) || errors.Is(err, kafka.UnknownTopicOrPartition) {
			return backoff.Permanent(err)
		}
		return err
	}
	waits := backoff.NewExponentialBackOff(backoff.WithInitialInterval(50*time.Millisecond), backoff.WithMaxElapsedTime(p.patience))
	return backoff.Retry(once, backoff.WithContext(waits, ctx))
}

func (p *producer) writeOnce(ctx context.Context, m kafka.Message, id string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, p.timeout, errWriteTimeout)
	defer cancel()
	partition, err := p.partition(ctx, m.Key, id)
	if err == nil {
		err = p.produce(ctx, m, partition)
	}
	if err == nil {
		return nil
	}
	p.partitions.Store(0)
	if ctx.Err() != nil {
		err = fmt.Errorf("%w (%w): %w", ctx.Err(), context.Cause(ctx), err)
	}
	return &WriteError{Topic: p.topic, Partition: partition, ID: id, Size: size(m), Err: err}
}

// partition chooses by the hash that Java producers use, so that the key's
// partition is the one that other tools expect.
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
		return 0, fmt.Errorf("looking for topic %s: %w", p.topic, kafka.UnknownTopicOrPartition)
	}
	return len(t.Partitions), nil
}

func (p *producer) produce(ctx context.Context, m kafka.Message, partition int) error {
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
		return fmt.Errorf("producing: %w", err)
	}
	return refusal(res)
}

// refusal returns the broker's reason for not taking the one record.
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
