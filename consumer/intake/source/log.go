// Package source reads partitions and keeps a group's offsets, over kafka-go's
// client. It is where this project meets the Kafka protocol for reading; what it
// returns is free of kafka-go's types.
package source

import (
	"context"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"

	"membersync/dlq/partlog"
	"membersync/dlq/partlog/batch"
)

// A Record is one record of a partition. Key and Value keep nil and empty apart.
type Record struct {
	Offset     int64
	Time       time.Time
	Key, Value []byte
	Headers    []kafka.Header
	// Rejection is not nil if the record, or a run of records that begins with it, was not read. Then
	// there are no key, value and headers.
	Rejection *Rejection
}

// A Rejection says why records were not read.
type Rejection = batch.Rejection

// headerBytes is what a header costs at least: its two slices and the record's share of them.
const headerBytes = 64

// Size returns the record's bytes that are held in memory for it.
func (r Record) Size() int64 {
	n := len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += max(len(h.Key)+len(h.Value), headerBytes)
	}
	return int64(n)
}

// An OutOfRangeError says that the log does not hold the offset asked for.
type OutOfRangeError = partlog.OutOfRangeError

// Bounds limit what fetches request and hold, see [partlog.Bounds].
type Bounds = partlog.Bounds

// A Log fetches records. It is safe for concurrent use.
type Log struct{ log *partlog.Log }

// NewLog returns a log within the bounds.
func NewLog(client *kafka.Client, bounds Bounds) *Log {
	return &Log{partlog.NewBounded(client, bounds)}
}

// Open fetches up to so many bytes from offset on; a first batch that is larger is
// fetched whole (KIP-74). It waits until there is memory for them. The cursor must be
// closed. Errors: an [*OutOfRangeError]; kafka.Error from the broker; network errors;
// the context's cause.
func (l *Log) Open(ctx context.Context, topic string, partition int, offset, bytes int64) (*Cursor, error) {
	c, err := l.log.Open(ctx, topic, partition, offset, bytes)
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	return &Cursor{c}, nil
}

// A Cursor yields the committed records of one fetch, in offset order. One goroutine uses
// it; only Close may be called by another one.
type Cursor struct{ *partlog.Cursor }

// Next returns the next record. Errors: io.EOF, at the end and after Close; a batch that
// was changed on its way or on the broker's disk, with its partition and offset; the
// context's cause, since it waits for memory.
func (c *Cursor) Next(ctx context.Context) (Record, error) {
	rec, err := c.Cursor.Next(ctx)
	if err != nil {
		return Record{}, err
	}
	return Record(rec), nil
}
