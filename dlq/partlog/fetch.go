package partlog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/fetch"

	"membersync/dlq/partlog/batch"
)

// A Record is one record of a partition. The visitor may keep all of it.
type Record struct {
	Partition int
	Offset    int64
	Time      time.Time // the producer's, or the broker's where the topic has LogAppendTime
	Headers   []kafka.Header
	// Rejection is not nil if the record was not read, because it is beyond the bounds or cannot be
	// decoded. Then there are no key, value and headers.
	Rejection *batch.Rejection

	key, value []byte
}

// Key returns the key. Nil and empty stay different.
func (r *Record) Key() ([]byte, error) { return r.key, nil }

// Value returns the value. Nil and empty stay different.
func (r *Record) Value() ([]byte, error) { return r.value, nil }

// ValueSize returns the length of the value in bytes.
func (r *Record) ValueSize() int { return len(r.value) }

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
	client        *kafka.Client
	wait          time.Duration
	responseBytes int64
	batchBytes    int64
	limits        batch.Limits
	budget        Budget
	buffers       buffers
}

// Bounds limit what a [Log] requests and holds. Every field is required.
type Bounds struct {
	// ResponseBytes is what a fetch requests, unless its caller wants another number. A first batch
	// that is larger is returned whole, see KIP-74.
	ResponseBytes int64
	// Wait is how long the broker may wait for data.
	Wait time.Duration
	// RecordBytes bounds the bytes of a record, headers included; MaxHeaders the number of its
	// headers.
	RecordBytes int64
	MaxHeaders  int
	// Budget is the memory of all fetches at the same time. A fetch waits until there is room.
	Budget Budget
}

// NewBounded returns a log within the bounds.
func NewBounded(client *kafka.Client, b Bounds) *Log {
	return &Log{
		client: client, wait: b.Wait, responseBytes: b.ResponseBytes, budget: b.Budget,
		batchBytes: 2*b.RecordBytes + inflaterBytes,
		limits:     batch.Limits{RecordBytes: b.RecordBytes, Headers: b.MaxHeaders, InflaterBytes: inflaterBytes},
	}
}

const (
	// inflaterBytes bounds what the codec of one batch may need. RFC 8878 recommends that decoders of
	// zstd support windows of 8 MiB. A block of lz4 has up to 4 MiB.
	inflaterBytes = 16 << 20

	// What [New] allows. Of records as large as that, one is in memory at a time.
	defaultRecordBytes = 64 << 20
	defaultBudget      = 32 << 20

	// MaxHeaders is how many headers a record of the source topic may have. Those that membersync
	// writes itself have some more.
	MaxHeaders    = 1000
	maxOwnHeaders = MaxHeaders + 100
)

// New returns a log that requests up to maxBytes at a time and lets the broker wait up to maxWait
// for data. A first batch larger than maxBytes is returned whole, see KIP-74. A record has at most
// 64 MiB and 1,100 headers.
func New(client *kafka.Client, maxBytes int32, maxWait time.Duration) *Log {
	return NewBounded(client, Bounds{
		ResponseBytes: int64(maxBytes), Wait: maxWait, RecordBytes: defaultRecordBytes, MaxHeaders: maxOwnHeaders,
		Budget: NewBudget(defaultBudget),
	})
}

// grace is the time that a fetch may take beyond the wait that it grants to the broker.
const grace = 10 * time.Second

var errFetchTimeout = errors.New("no response to a fetch in time")

// Fetch visits the committed records from offset on. It visits at least one, unless the wait ends
// first or the log holds only markers and aborted records there. Its errors are an
// [*OutOfRangeError], a kafka.Error from the broker, network errors, a [*batch.CorruptError], and
// the visitor's own.
func (l *Log) Fetch(ctx context.Context, topic string, partition int, offset int64, visit Visit) (Page, error) {
	c, err := l.Open(ctx, topic, partition, offset, l.responseBytes)
	if err != nil {
		return Page{}, err
	}
	defer c.Close()
	defer c.Kept()
	for {
		rec, err := c.Next(ctx)
		switch {
		case errors.Is(err, io.EOF):
			return Page{Next: c.Position(), HighWatermark: c.HighWatermark, LogStart: c.LogStart}, nil
		case err != nil:
			return Page{}, fmt.Errorf("fetch %w", err)
		}
		if err := visit(&Record{
			Partition: partition, Offset: rec.Offset, Time: rec.Time, Headers: rec.Headers, Rejection: rec.Rejection,
			key: rec.Key, value: rec.Value,
		}); err != nil {
			return Page{}, fmt.Errorf("fetch %s/%d at offset %d: %w", topic, partition, rec.Offset, err)
		}
	}
}

// Open fetches up to so many bytes of a partition, from offset on, and returns a cursor over the
// committed records, which must be closed. It waits until the budget has room for as many bytes. A
// first batch that is larger is fetched once more, when there is room for it; one that is too large
// for any process is rejected unread. Its errors are those of [Log.Fetch].
func (l *Log) Open(ctx context.Context, topic string, partition int, offset, bytes int64) (*Cursor, error) {
	c := &Cursor{log: l, place: topic + "/" + strconv.Itoa(partition), from: offset, next: offset}
	memory := l.budget.Responses
	for room := bytes; ; {
		if err := memory.Reserve(ctx, room); err != nil {
			return nil, err
		}
		res, err := l.fetch(ctx, topic, partition, offset, room)
		if err != nil {
			memory.Release(room)
			return nil, err
		}
		c.HighWatermark, c.LogStart, c.Size, c.aborted = res.highWatermark, res.logStart, res.size, res.aborted
		switch tooLarge := int64(res.first.Size) > l.batchBytes; {
		case res.size > room && !tooLarge:
			memory.Release(room)
			room = res.size
			continue
		case res.size > room:
			memory.Release(room)
			c.reject(res.first)
			return c, nil
		}
		c.data, c.response, c.reserved = res.data, res.data, res.size
		memory.Shrink(room, res.size)
		return c, nil
	}
}

// fetch asks once.
func (l *Log) fetch(ctx context.Context, topic string, partition int, offset, room int64) (*response, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, l.wait+grace, errFetchTimeout)
	defer cancel()
	req := &request{Request: l.request(topic, partition, offset, room), room: room, buffers: &l.buffers}
	if t, ok := l.transport().(*kafka.Transport); ok {
		req.clientID = t.ClientID
	}
	message, err := l.transport().RoundTrip(ctx, l.client.Addr, req)
	if err != nil {
		return nil, fmt.Errorf("fetch %s/%d at offset %d: %w", topic, partition, offset, Explain(ctx, l.client, topic, err))
	}
	res, ok := message.(*response)
	if !ok {
		return nil, fmt.Errorf("fetch %s/%d: %w", topic, partition, errShape)
	}
	switch code := kafka.Error(res.code); code {
	case 0:
		return res, nil
	case kafka.OffsetOutOfRange:
		return nil, &OutOfRangeError{topic, partition, offset, res.logStart, res.highWatermark}
	default:
		return nil, fmt.Errorf("fetch %s/%d: %w", topic, partition, OnTopic("Read", topic, code))
	}
}

func (l *Log) transport() kafka.RoundTripper {
	if l.client.Transport != nil {
		return l.client.Transport
	}
	return kafka.DefaultTransport
}

func (l *Log) request(topic string, partition int, offset, room int64) *fetch.Request {
	maxBytes := int32(max(min(room, math.MaxInt32), 1))
	return &fetch.Request{
		ReplicaID:      -1,
		MaxWaitTime:    int32(l.wait.Milliseconds()), //nolint:gosec // a few seconds at most
		MinBytes:       1,
		MaxBytes:       maxBytes,
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
				PartitionMaxBytes:  maxBytes,
			}},
		}},
	}
}
