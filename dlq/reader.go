package dlq

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"membersync/dlq/partlog"
)

const (
	pageBytes = 1 << 20         // requested at a time, of each partition
	tailBytes = 32 << 10        // likewise, to follow the end of a topic
	pageWait  = 2 * time.Second // only Follow waits that long: a scan stops at the current end

	// scanParallelism is how many partitions a scan reads in parallel. Each holds one page, so this
	// bounds the memory, regardless of the number of partitions.
	scanParallelism = 8
)

// A Place is the position of a record in its topic: of a dead letter in the DLQ, or of an audit
// record in the audit topic.
type Place struct {
	Partition int
	Offset    int64
}

// String returns partition:offset.
func (p Place) String() string { return fmt.Sprintf("%d:%d", p.Partition, p.Offset) }

// A Reader reads the DLQ, redrive and audit topics. It is safe for concurrent use, and has nothing
// to close.
type Reader struct {
	log    *partlog.Log
	tail   *partlog.Log // for following many partitions at the same time
	topics Topics
}

// NewReader returns a reader of the topics through the client's address and transport.
func NewReader(client *kafka.Client, topics Topics) *Reader {
	return &Reader{
		log: partlog.New(client, pageBytes, pageWait), tail: partlog.New(client, tailBytes, pageWait), topics: topics,
	}
}

// A Query selects items. A zero field does not restrict the selection.
type Query struct {
	Reasons      []Reason
	Stage        Stage
	Code         string // the CRM's errorCode
	Cause        string // as [DeadLetter.Cause] returns it
	Employee     string
	Text         string    // a part of the error, in any case
	Since, Until time.Time // of the latest failure: Since inclusive, Until exclusive
	States       []State
	IDs          []string // only these items; in full or short form, see the type [ID]
}

// A Loss counts what a scan could not take into account.
type Loss struct {
	Gone       int64 // offsets that retention removed during the scan
	Unreadable int64 // records of the DLQ that are not dead letters
	Foreign    int64 // records of the audit topic that are not audit records
}

// scanAll visits a topic up to its current end, several partitions in parallel. One call of visit
// runs at a time. It returns where it stopped in each partition, and how many offsets were removed
// during the scan.
func (r *Reader) scanAll(ctx context.Context, topic string, visit partlog.Visit) (ends map[int]int64, gone int64, err error) {
	ranges, err := r.ranges(ctx, topic)
	if err != nil {
		return nil, 0, err
	}
	return r.scanRanges(ctx, topic, ranges, visit)
}

// scanRanges is scanAll for these ranges.
func (r *Reader) scanRanges(
	ctx context.Context, topic string, ranges map[int]partlog.Range, visit partlog.Visit,
) (ends map[int]int64, gone int64, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(context.Canceled)
	var (
		all      sync.WaitGroup
		mu       sync.Mutex
		firstErr error
	)
	ends = make(map[int]int64, len(ranges))
	slots := make(chan struct{}, scanParallelism)
	for partition, within := range ranges {
		ends[partition] = within.End
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			n, err := r.log.Read(ctx, topic, partition, within, func(rec *partlog.Record) error {
				mu.Lock()
				defer mu.Unlock()
				return visit(rec)
			})
			mu.Lock()
			defer mu.Unlock()
			gone += n
			if err != nil && firstErr == nil {
				firstErr = fmt.Errorf("dlq: reading %s: %w", topic, err)
				cancel(firstErr)
			}
		})
	}
	all.Wait()
	return ends, gone, firstErr
}

func (r *Reader) ranges(ctx context.Context, topic string) (map[int]partlog.Range, error) {
	ranges, err := r.log.Ranges(ctx, topic)
	if errors.Is(err, kafka.UnknownTopicOrPartition) {
		return nil, &MissingTopicError{Topic: topic}
	}
	if err != nil {
		return nil, fmt.Errorf("dlq: %w", err)
	}
	return ranges, nil
}

// parseRecord decodes a dead letter with its key, but without its value.
func parseRecord(rec *partlog.Record) (DeadLetter, error) {
	key, err := rec.Key()
	if err != nil {
		return DeadLetter{}, err
	}
	return Parse(kafka.Message{Key: key, Headers: rec.Headers})
}

// Audit calls show for all records of the audit topic up to its current end, one at a time. Records
// of one subject arrive in their order. An audit topic that does not exist has no records.
func (r *Reader) Audit(ctx context.Context, show func(AuditRecord)) error {
	var loss Loss
	_, err := r.audits(ctx, &loss, func(a AuditRecord, _ Place) { show(a) })
	return err
}

// audits visits all audit records. A topic that does not exist has none.
func (r *Reader) audits(ctx context.Context, loss *Loss, visit func(AuditRecord, Place)) (map[int]int64, error) {
	ends, gone, err := r.scanAll(ctx, r.topics.Audit, func(rec *partlog.Record) error {
		value, err := rec.Value()
		if err != nil {
			return err
		}
		a, err := ParseAudit(value)
		if err != nil {
			loss.Foreign++
			return nil //nolint:nilerr // not written by this service
		}
		visit(a, Place{rec.Partition, rec.Offset})
		return nil
	})
	loss.Gone += gone
	if _, missing := errors.AsType[*MissingTopicError](err); missing {
		return nil, nil
	}
	return ends, err
}
