// Package source reads partitions and keeps a group's offsets, over kafka-go's
// client. It is where this project meets the Kafka protocol for reading; what it
// returns is free of kafka-go's types.
package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"
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
type OutOfRangeError struct {
	Topic                   string
	Partition               int
	Offset                  int64
	LogStart, HighWatermark int64
}

// Error names the partition and the offsets.
func (e *OutOfRangeError) Error() string {
	return fmt.Sprintf("source: %s/%d: offset %d is outside the log, which holds %d to %d",
		e.Topic, e.Partition, e.Offset, e.LogStart, e.HighWatermark)
}

// A Log fetches records. It is safe for concurrent use.
type Log struct {
	client   *kafka.Client
	maxBytes int32
	maxWait  time.Duration
}

// NewLog returns a log that asks for up to maxBytes at a time (a larger first
// batch is returned whole, see KIP-74) and lets the broker wait up to maxWait for data.
func NewLog(client *kafka.Client, maxBytes int32, maxWait time.Duration) *Log {
	return &Log{client: client, maxBytes: maxBytes, maxWait: maxWait}
}

// grace is what a fetch may take beyond the wait that it grants to the broker.
const grace = 10 * time.Second

var errFetchTimeout = errors.New("source: no answer to a fetch in time")

// Fetch returns the committed records from offset on, at least one of them unless
// the wait ended first or only markers and aborted records were there. Errors: an
// [*OutOfRangeError]; kafka.Error from the broker; network errors.
func (l *Log) Fetch(ctx context.Context, topic string, partition int, offset int64) (Batch, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, l.maxWait+grace, errFetchTimeout)
	defer cancel()
	res, err := l.transport().RoundTrip(ctx, l.client.Addr, l.request(topic, partition, offset))
	if err != nil {
		return Batch{}, fmt.Errorf("source: fetch %s/%d: %w", topic, partition, err)
	}
	r, ok := res.(*fetch.Response)
	if !ok || len(r.Topics) != 1 || len(r.Topics[0].Partitions) != 1 {
		return Batch{}, fmt.Errorf("source: fetch %s/%d: %w", topic, partition, protocol.ErrNoPartition)
	}
	p := &r.Topics[0].Partitions[0]
	switch code := kafka.Error(cmp.Or(p.ErrorCode, r.ErrorCode)); code {
	case 0:
	case kafka.OffsetOutOfRange:
		return Batch{}, &OutOfRangeError{topic, partition, offset, p.LogStartOffset, p.HighWatermark}
	default:
		return Batch{}, fmt.Errorf("source: fetch %s/%d: %w", topic, partition, code)
	}
	b, err := read(p, offset)
	if err != nil {
		return Batch{}, fmt.Errorf("source: fetch %s/%d at offset %d: %w", topic, partition, offset, err)
	}
	return b, nil
}

func (l *Log) transport() kafka.RoundTripper {
	if l.client.Transport != nil {
		return l.client.Transport
	}
	return kafka.DefaultTransport
}

func (l *Log) request(topic string, partition int, offset int64) *fetch.Request {
	return &fetch.Request{
		ReplicaID:      -1,
		MaxWaitTime:    int32(l.maxWait.Milliseconds()), //nolint:gosec // half a second
		MinBytes:       1,
		MaxBytes:       l.maxBytes,
		IsolationLevel: 1, // read committed: up to the last stable offset, with the list of aborted transactions
		SessionID:      -1,
		SessionEpoch:   -1,
		Topics: []fetch.RequestTopic{{
			Topic: topic,
			Partitions: []fetch.RequestPartition{{
				Partition:          int32(partition), //nolint:gosec // from the broker's own metadata
				CurrentLeaderEpoch: -1,
				FetchOffset:        offset,
				LogStartOffset:     -1,
				PartitionMaxBytes:  l.maxBytes,
			}},
		}},
	}
}

// read takes the records at or above offset out of the answer.
func read(p *fetch.ResponsePartition, offset int64) (Batch, error) {
	b := Batch{Next: offset, HighWatermark: p.HighWatermark, LogStart: p.LogStartOffset}
	stream, ok := p.RecordSet.Records.(*protocol.RecordStream)
	if !ok { // an empty answer
		return b, nil
	}
	aborted := newAborted(p.AbortedTransactions)
	for _, r := range stream.Records {
		if err := b.add(r, offset, aborted); err != nil {
			return Batch{}, err
		}
	}
	if b.Next == offset && len(stream.Records) > 0 && offset < p.HighWatermark {
		// The broker answers with the batch that covers the offset. We have read all of it and the offset is not
		// there: compaction removed it. The batch's own end is not to be had from kafka-go, so step over one.
		b.Next++
	}
	return b, nil
}

func (b *Batch) add(r protocol.RecordReader, offset int64, aborted aborted) error {
	skip := false
	switch batch := r.(type) {
	case *protocol.ControlBatch:
		b.Next = max(b.Next, batch.BaseOffset+1)
		return aborted.marker(batch)
	case *protocol.RecordBatch:
		skip = batch.Attributes.Transactional() && aborted.covers(batch.ProducerID, batch.BaseOffset)
	}
	for {
		rec, err := r.ReadRecord()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		b.Next = max(b.Next, rec.Offset+1)
		if skip || rec.Offset < offset {
			closeBytes(rec)
			continue
		}
		out, err := copyRecord(rec)
		if err != nil {
			return err
		}
		b.Records = append(b.Records, out)
	}
}

func copyRecord(rec *protocol.Record) (Record, error) {
	defer closeBytes(rec)
	key, err := protocol.ReadAll(rec.Key)
	if err != nil {
		return Record{}, err
	}
	value, err := protocol.ReadAll(rec.Value)
	if err != nil {
		return Record{}, err
	}
	return Record{Offset: rec.Offset, Time: rec.Time, Key: key, Value: value, Headers: rec.Headers}, nil
}

func closeBytes(rec *protocol.Record) {
	for _, b := range []protocol.Bytes{rec.Key, rec.Value} {
		if b != nil {
			_ = b.Close() // gives the page back to kafka-go's pool; it cannot fail
		}
	}
}

// aborted holds the first offsets of the aborted transactions that reach into
// an answer, by producer id, in rising order.
type aborted map[int64][]int64

func newAborted(ts []fetch.ResponseTransaction) aborted {
	a := make(aborted, len(ts))
	for _, t := range ts {
		a[t.ProducerID] = append(a[t.ProducerID], t.FirstOffset)
	}
	return a
}

// covers reports whether a batch belongs to an aborted transaction that has not ended yet.
func (a aborted) covers(producer, base int64) bool {
	return len(a[producer]) > 0 && a[producer][0] <= base
}

// marker ends the producer's transaction, as KIP-98 has it: an abort marker closes
// the oldest aborted transaction, a commit marker none.
func (a aborted) marker(batch *protocol.ControlBatch) error {
	for {
		rec, err := batch.ReadControlRecord()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		const abort = 0
		if first := a[batch.ProducerID]; rec.Type == abort && len(first) > 0 && first[0] <= rec.Offset {
			a[batch.ProducerID] = first[1:]
		}
	}
}
