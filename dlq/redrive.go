package dlq

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"membersync/dlq/partlog"
)

// The headers that a record of the redrive topic has in addition to those of its dead letter.
const (
	redriveHeaderPrefix = "redrive."

	headerRedriveDeadLetter = "redrive.dead_letter"
	headerRedriveNumber     = "redrive.number"
	headerRedriveBy         = "redrive.by"
	headerRedriveAt         = "redrive.at"
	headerRedriveNote       = "redrive.note"
	headerRedriveEdited     = "redrive.edited"
	headerRedriveAudit      = "redrive.audit"
)

// MaxRedrives is the highest number of a redrive: a version has four digits for that of an edit.
const MaxRedrives = 9999

// A Redrive is the request to process a dead letter again.
//
// It is requested first: [Redrive.Request] is the audit record, which [Auditor.Append] writes. Then
// [Redriver.Write] writes the redrive, which names that record.
type Redrive struct {
	DeadLetter DeadLetter // with the value to process
	Place      Place      // of the dead letter in the DLQ
	Audit      Place      // of the request in the audit topic
	// Number counts the event's redrives, including this one, from 1. A redrive runs only if its
	// number is higher than that of the last delivery that was done.
	Number int
	By     string // who requested it
	At     time.Time
	Note   string
	Edited bool // the value is not that of the dead letter
}

// Message encodes the redrive: the dead letter as it is in the DLQ, then the redrive's own headers.
func (r Redrive) Message() kafka.Message {
	m := r.DeadLetter.Message()
	add := func(key, value string) {
		m.Headers = append(m.Headers, kafka.Header{Key: key, Value: []byte(errorText(value))})
	}
	add(headerRedriveDeadLetter, r.Place.String())
	add(headerRedriveNumber, strconv.Itoa(r.Number))
	add(headerRedriveBy, r.By)
	add(headerRedriveAt, formatTime(r.At))
	add(headerRedriveNote, r.Note)
	edited := ""
	if r.Edited {
		edited = editedValue
	}
	add(headerRedriveEdited, edited)
	add(headerRedriveAudit, r.Audit.String())
	return m
}

func redriveHeaders() []string {
	return []string{
		headerRedriveDeadLetter, headerRedriveNumber, headerRedriveBy, headerRedriveAt, headerRedriveNote, headerRedriveEdited,
		headerRedriveAudit,
	}
}

// ParseRedrive decodes a record of the redrive topic. It must have all headers of a redrive, each
// once. The error is a [*FormatError]; the parts that could be decoded are returned with it.
func ParseRedrive(m kafka.Message) (Redrive, error) {
	d, deadLetterErr := Parse(m)
	r := Redrive{DeadLetter: d}
	f := facts{values: map[string]string{}}
	for _, h := range m.Headers {
		if isOfRedrive(h.Key) {
			f.add(h)
		}
	}
	for _, key := range redriveHeaders() {
		f.require(key)
	}
	r.Place, r.Audit = f.place(headerRedriveDeadLetter), f.place(headerRedriveAudit)
	r.Number = int(f.number(headerRedriveNumber, MaxRedrives))
	if r.Number < 1 {
		f.fail(headerRedriveNumber, "is not a number in its range")
	}
	r.By, r.Note = f.values[headerRedriveBy], f.values[headerRedriveNote]
	if f.values[headerRedriveAt] != "" {
		r.At = f.time(headerRedriveAt)
	}
	edited := f.values[headerRedriveEdited]
	if r.Edited = edited == editedValue; !r.Edited && edited != "" {
		f.fail(headerRedriveEdited, "is neither empty nor "+editedValue)
	}
	if f.err != nil {
		return r, f.err
	}
	return r, deadLetterErr
}

// editedValue is the header's value where the value was replaced.
const editedValue = "true"

func (f *facts) place(key string) Place {
	place, ok := parsePlace(f.values[key])
	if !ok {
		f.fail(key, "is not partition:offset of a record")
		return Place{}
	}
	return place
}

func parsePlace(text string) (Place, bool) {
	first, second, ok := strings.Cut(text, ":")
	partition, err1 := strconv.ParseInt(first, 10, 32)
	offset, err2 := strconv.ParseInt(second, 10, 64)
	return Place{int(partition), offset}, ok && err1 == nil && err2 == nil && partition >= 0 && offset >= 0
}

// EditedBy is the number of the redrive that edited the value to process; 0: it is the original
// value. Named is the dead letter that the redrive names.
func (r Redrive) EditedBy(named DeadLetter) int {
	if r.Edited {
		return r.Number
	}
	return named.Edited
}

// A Redriver writes redrives, each acknowledged by all in-sync replicas. It is safe for concurrent
// use.
type Redriver struct{ to *producer }

// NewRedriver returns a writer to the redrive topic.
func NewRedriver(client *kafka.Client, topic string, opts ...Option) *Redriver {
	return &Redriver{newProducer(client, topic, opts)}
}

// Write writes one redrive. The errors are those of [Writer.Write].
func (w *Redriver) Write(ctx context.Context, r Redrive) error {
	_, err := w.to.write(ctx, r.Message(), r.DeadLetter.ID())
	return err
}

// A Sent identifies one redrive of an item by the item's id and the redrive's number.
type Sent struct {
	ID     string
	Number int
}

// Sent returns the redrives that the redrive topic holds since a time. It skips records that are
// not redrives.
func (r *Reader) Sent(ctx context.Context, since time.Time) (map[Sent]bool, error) {
	ranges, err := r.ranges(ctx, r.topics.Redrive)
	if err != nil {
		return nil, err
	}
	from, err := r.log.Since(ctx, r.topics.Redrive, since)
	if err != nil {
		return nil, fmt.Errorf("dlq: %w", err)
	}
	found := map[Sent]bool{}
	for partition, within := range ranges {
		first, hasRecent := from[partition]
		if !hasRecent {
			continue
		}
		within.First = max(within.First, first)
		_, err := r.log.Read(ctx, r.topics.Redrive, partition, within, func(rec *partlog.Record) error {
			redrive, err := ParseRedrive(kafka.Message{Headers: rec.Headers})
			if err == nil {
				found[Sent{redrive.DeadLetter.ID(), redrive.Number}] = true
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("dlq: reading %s: %w", r.topics.Redrive, err)
		}
	}
	return found, nil
}

// A Tail reads the audit topic from the end that it had when the tail was created.
type Tail struct {
	r    *Reader
	next map[int]int64
}

// Tail returns a tail that starts at the current end of the audit topic.
func (r *Reader) Tail(ctx context.Context) (*Tail, error) {
	ranges, err := r.ranges(ctx, r.topics.Audit)
	if err != nil {
		return nil, err
	}
	t := &Tail{r: r, next: map[int]int64{}}
	for partition, within := range ranges {
		t.next[partition] = within.End
	}
	return t, nil
}

// CatchUp calls show for each audit record up to the current end, one at a time. [Tail.Follow] goes
// on from there.
func (t *Tail) CatchUp(ctx context.Context, show func(AuditRecord) error) error {
	ranges, err := t.r.ranges(ctx, t.r.topics.Audit)
	if err != nil {
		return err
	}
	fresh := make(map[int]partlog.Range, len(t.next))
	for partition, at := range t.next {
		if end := ranges[partition].End; end > at {
			fresh[partition] = partlog.Range{First: at, End: end}
		}
	}
	ends, _, err := t.r.scanRanges(ctx, t.r.topics.Audit, fresh, showAudit(show))
	if err == nil {
		maps.Copy(t.next, ends)
	}
	return err
}

// showAudit calls show for the audit records among those visited.
func showAudit(show func(AuditRecord) error) partlog.Visit {
	return func(rec *partlog.Record) error {
		value, err := rec.Value()
		if err != nil {
			return err
		}
		a, err := ParseAudit(value)
		if err != nil {
			return nil //nolint:nilerr // not written by this service
		}
		return show(a)
	}
}

// Follow calls show for each new audit record, one at a time. It runs until the context ends, and
// then returns its cause, or until a read or show fails.
func (t *Tail) Follow(ctx context.Context, show func(AuditRecord) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(context.Canceled)
	var (
		all sync.WaitGroup
		mu  sync.Mutex
	)
	visit := showAudit(func(a AuditRecord) error {
		mu.Lock()
		defer mu.Unlock()
		return show(a)
	})
	for partition, at := range t.next {
		all.Go(func() { cancel(t.r.follow(ctx, t.r.topics.Audit, partition, at, visit)) })
	}
	all.Wait()
	return context.Cause(ctx)
}
