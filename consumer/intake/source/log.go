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
)

// A Record is one record of a partition. Key and Value keep nil and empty apart.
type Record struct {
	Offset     int64
	Time       time.Time
	Key, Value []byte
	Headers    []kafka.Header
}

// Size returns the record's bytes that are held in memory for it.
func (r Record) Size() int64 {
	n := len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += len(h.Key) + len(h.Value)
	}
	return int64(n)
}

// A Batch is what one fetch returned: committed records only, in offset order.
type Batch struct {
	Records []Record
	// Next is the offset to fetch from after this batch. It can be above the last
	// record's, where the log holds transaction markers, aborted records or nothing.
	Next          int64
	HighWatermark int64
	LogStart      int64
}

// An OutOfRangeError says that the log does not hold the offset asked for.
type OutOfRangeError = partlog.OutOfRangeError

// A Log fetches records. It is safe for concurrent use.
type Log struct{ log *partlog.Log }

// NewLog returns a log that asks for up to maxBytes at a time (a larger first
// batch is returned whole, see KIP-74) and lets the broker wait up to maxWait for data.
func NewLog(client *kafka.Client, maxBytes int32, maxWait time.Duration) *Log {
	return &Log{partlog.New(client, maxBytes, maxWait)}
}

// Fetch returns the committed records from offset on, at least one of them unless
// the wait ended first or only markers and aborted records were there. Errors: an
// [*OutOfRangeError]; kafka.Error from the broker; network errors.
func (l *Log) Fetch(ctx context.Context, topic string, partition int, offset int64) (Batch, error) {
	var b Batch
	page, err := l.log.Fetch(ctx, topic, partition, offset, b.add)
	if err != nil {
		return Batch{}, fmt.Errorf("source: %w", err)
	}
	b.Next, b.HighWatermark, b.LogStart = page.Next, page.HighWatermark, page.LogStart
	return b, nil
}

func (b *Batch) add(r *partlog.Record) error {
	key, err := r.Key()
	if err != nil {
		return err
	}
	value, err := r.Value()
	if err != nil {
		return err
	}
	b.Records = append(b.Records, Record{Offset: r.Offset, Time: r.Time, Key: key, Value: value, Headers: r.Headers})
	return nil
}
