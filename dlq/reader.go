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
	pageBytes = 1 << 20         // asked for at a time, of each partition
	pageWait  = 2 * time.Second // only --follow waits that long: a scan stops at what is there

	pagesBeside = 8 // partitions that a scan reads beside each other: each holds a page, however many there are
)

// A Place is where a dead letter stands in the DLQ.
type Place struct {
	Partition int
	Offset    int64
}

// String returns partition:offset.
func (p Place) String() string { return fmt.Sprintf("%d:%d", p.Partition, p.Offset) }

// A Reader reads the DLQ and audit topics. It is safe for concurrent use, and holds nothing to close.
type Reader struct {
	log    *partlog.Log
	topics Topics
}

// NewReader returns a reader of the topics through the client's address and transport.
func NewReader(client *kafka.Client, topics Topics) *Reader {
	return &Reader{log: partlog.New(client, pageBytes, pageWait), topics: topics}
}

// A Query says which items are wanted. Zero values want all.
type Query struct {
	Reasons      []Reason
	Stage        Stage
	Code         string // the CRM's errorCode
	Employee     string
	Since, Until time.Time // of the latest death: from, and before
	States       []State
	IDs          []string // these items alone
}

// A Loss says what a scan could not take into account.
type Loss struct {
	Gone       int64 // offsets that retention removed while they were read
	Unreadable int64 // records of the DLQ that are no dead letters
	Foreign    int64 // records of the audit topic that are no audit records
}

// scanAll visits a topic up to its end now, the partitions beside each other. The visits come one at a time.
// It returns where it stopped in each partition, and how many offsets were gone.
func (r *Reader) scanAll(ctx context.Context, topic string, visit partlog.Visit) (ends map[int]int64, gone int64, err error) {
	spans, err := r.spans(ctx, topic)
	if err != nil {
		return nil, 0, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(context.Canceled)
	var (
		all  sync.WaitGroup
		mu   sync.Mutex
		lost error
	)
	ends = make(map[int]int64, len(spans))
	slots := make(chan struct{}, pagesBeside)
	for partition, span := range spans {
		ends[partition] = span.End
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			n, err := r.log.Read(ctx, topic, partition, span, func(rec *partlog.Record) error {
				mu.Lock()
				defer mu.Unlock()
				return visit(rec)
			})
			mu.Lock()
			defer mu.Unlock()
			gone += n
			if err != nil && lost == nil {
				lost = fmt.Errorf("dlq: reading %s: %w", topic, err)
				cancel(lost)
			}
		})
	}
	all.Wait()
	return ends, gone, lost
}

func (r *Reader) spans(ctx context.Context, topic string) (map[int]partlog.Range, error) {
	spans, err := r.log.Ranges(ctx, topic)
	if errors.Is(err, kafka.UnknownTopicOrPartition) {
		return nil, &MissingTopicError{Topic: topic}
	}
	if err != nil {
		return nil, fmt.Errorf("dlq: %w", err)
	}
	return spans, nil
}

// parseRecord reads the facts of a dead letter, and its key, but not its value.
func parseRecord(rec *partlog.Record) (DeadLetter, error) {
	key, err := rec.Key()
	if err != nil {
		return DeadLetter{}, err
	}
	return Parse(kafka.Message{Key: key, Headers: rec.Headers})
}

// Audit shows all records of the audit topic up to its end now, one at a time. Those of one subject come in their order.
func (r *Reader) Audit(ctx context.Context, show func(AuditRecord)) error {
	var loss Loss
	_, err := r.audits(ctx, &loss, show)
	return err
}

// audits visits all audit records. A topic that does not exist holds none.
func (r *Reader) audits(ctx context.Context, loss *Loss, visit func(AuditRecord)) (map[int]int64, error) {
	ends, gone, err := r.scanAll(ctx, r.topics.Audit, func(rec *partlog.Record) error {
		value, err := rec.Value()
		if err != nil {
			return err
		}
		a, err := ParseAudit(value)
		if err != nil {
			loss.Foreign++
			return nil //nolint:nilerr // somebody else's record
		}
		visit(a)
		return nil
	})
	loss.Gone += gone
	if _, missing := errors.AsType[*MissingTopicError](err); missing {
		return nil, nil
	}
	return ends, err
}
