package partlog

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

// A Record is one record of a partition. Its key and value may be read once each, and only while
// the record is visited. The visitor may keep the headers.
type Record struct {
	Partition int
	Offset    int64
	Time      time.Time
	Headers   []kafka.Header

	key, value protocol.Bytes
}

// Key returns a copy of the key. Nil and empty stay different.
func (r *Record) Key() ([]byte, error) { return protocol.ReadAll(r.key) }

// Value returns a copy of the value. Nil and empty stay different.
func (r *Record) Value() ([]byte, error) { return protocol.ReadAll(r.value) }

// ValueSize returns the length of the value in bytes, without copying the value.
func (r *Record) ValueSize() int {
	if r.value == nil {
		return 0
	}
	return r.value.Len()
}

// A Visit is called with each record. An error that it returns ends the read.
type Visit func(*Record) error

// A Page holds the bounds of what one fetch returned.
type Page struct {
	// Next is the offset to fetch from after this page. It can be further than one past the last
	// record, where the log holds transaction markers, aborted records or nothing.
	Next          int64
	HighWatermark int64
	LogStart      int64
}

// An OutOfRangeError reports that the log does not hold the requested offset.
type OutOfRangeError struct {
	Topic                   string
	Partition               int
	Offset                  int64
	LogStart, HighWatermark int64 // as the broker reports them; real brokers omit the start
}

// Error names the partition and the offsets.
func (e *OutOfRangeError) Error() string {
	return fmt.Sprintf("%s/%d: offset %d is outside the log, which holds %d to %d",
		e.Topic, e.Partition, e.Offset, e.LogStart, e.HighWatermark)
}

// A Log fetches records. It is safe for concurrent use.
type Log struct {
	client   *kafka.Client
	maxBytes int32
	maxWait  time.Duration
}

// New returns a log that requests up to maxBytes at a time and lets the broker wait up to maxWait
// for data. A first batch larger than maxBytes is returned whole, see KIP-74.
func New(client *kafka.Client, maxBytes int32, maxWait time.Duration) *Log {
	return &Log{client: client, maxBytes: maxBytes, maxWait: maxWait}
}

// grace is the time that a fetch may take beyond the wait that it grants to the broker.
const grace = 10 * time.Second

var errFetchTimeout = errors.New("no response to a fetch in time")

// Fetch visits the committed records from offset on. It visits at least one, unless the wait ends
// first or the log holds only markers and aborted records there. Its errors are an
// [*OutOfRangeError], a kafka.Error from the broker, network errors, and the visitor's own.
func (l *Log) Fetch(ctx context.Context, topic string, partition int, offset int64, visit Visit) (Page, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, l.maxWait+grace, errFetchTimeout)
	defer cancel()
	res, err := l.transport().RoundTrip(ctx, l.client.Addr, l.request(topic, partition, offset))
	if err != nil {
		return Page{}, fmt.Errorf("fetch %s/%d: %w", topic, partition, err)
	}
	r, ok := res.(*fetch.Response)
	if !ok || len(r.Topics) != 1 || len(r.Topics[0].Partitions) != 1 {
		return Page{}, fmt.Errorf("fetch %s/%d: %w", topic, partition, protocol.ErrNoPartition)
	}
	p := &r.Topics[0].Partitions[0]
	switch code := kafka.Error(cmp.Or(p.ErrorCode, r.ErrorCode)); code {
	case 0:
	case kafka.OffsetOutOfRange:
		return Page{}, &OutOfRangeError{topic, partition, offset, p.LogStartOffset, p.HighWatermark}
	default:
		return Page{}, fmt.Errorf("fetch %s/%d: %w", topic, partition, code)
	}
	w := walk{partition: partition, from: offset, visit: visit}
	page, err := w.page(p)
	if err != nil {
		return Page{}, fmt.Errorf("fetch %s/%d at offset %d: %w", topic, partition, offset, err)
	}
	return page, nil
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
		MaxWaitTime:    int32(l.maxWait.Milliseconds()), //nolint:gosec // a few seconds at most
		MinBytes:       1,
		MaxBytes:       l.maxBytes,
		IsolationLevel: 1, // read committed: up to the last stable offset, lists aborted transactions
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

// A walk visits the records of one fetch response.
type walk struct {
	partition int
	from      int64
	visit     Visit
	aborted   aborted
	next      int64
	err       error // the visitor's; the rest of the response is then only released
}

// page visits the records at or above the requested offset.
func (w *walk) page(p *fetch.ResponsePartition) (Page, error) {
	w.next, w.aborted = w.from, newAborted(p.AbortedTransactions)
	page := Page{Next: w.from, HighWatermark: p.HighWatermark, LogStart: p.LogStartOffset}
	stream, ok := p.RecordSet.Records.(*protocol.RecordStream)
	if !ok { // an empty response
		return page, nil
	}
	for _, r := range stream.Records {
		if err := w.batch(r); err != nil {
			return Page{}, err
		}
	}
	if page.Next = w.next; page.Next == w.from && len(stream.Records) > 0 && w.from < p.HighWatermark {
		// The broker returns the batch that covers the offset. All of it was read and the offset is
		// not in it: compaction removed that record. kafka-go does not expose the batch's own end,
		// so skip one offset.
		page.Next++
	}
	return page, w.err
}

func (w *walk) batch(r protocol.RecordReader) error {
	skip := false
	switch batch := r.(type) {
	case *protocol.ControlBatch:
		w.next = max(w.next, batch.BaseOffset+1)
		return w.aborted.marker(batch)
	case *protocol.RecordBatch:
		skip = batch.Attributes.Transactional() && w.aborted.covers(batch.ProducerID, batch.BaseOffset)
	}
	for {
		rec, err := r.ReadRecord()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		w.next = max(w.next, rec.Offset+1)
		if w.err == nil && !skip && rec.Offset >= w.from {
			w.err = w.visit(&Record{
				Partition: w.partition, Offset: rec.Offset, Time: rec.Time, Headers: rec.Headers, key: rec.Key, value: rec.Value,
			})
		}
		closeBytes(rec)
	}
}

func closeBytes(rec *protocol.Record) {
	for _, b := range []protocol.Bytes{rec.Key, rec.Value} {
		if b != nil {
			_ = b.Close() // returns the page to kafka-go's pool; it cannot fail
		}
	}
}

// aborted holds the first offsets of the aborted transactions that overlap a response, by producer
// id, in ascending order.
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

// marker ends the producer's transaction, as KIP-98 defines it: an abort marker closes the oldest
// aborted transaction, a commit marker closes none.
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
