package dlq

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"membersync/dlq/partlog"
)

// The headers that a record of the redrive topic has in addition to those of its dead letter.
const (
	headerRedriveDeadLetter = "redrive.dead_letter"
	headerRedriveNumber     = "redrive.number"
	headerRedriveBy         = "redrive.by"
	headerRedriveAt         = "redrive.at"
	headerRedriveNote       = "redrive.note"
	headerRedriveEdited     = "redrive.edited"
)

// MaxRedrives is the highest number of a redrive: a version has four digits for that of an edit.
const MaxRedrives = 9999

// A Redrive is the request to process a dead letter again.
type Redrive struct {
	DeadLetter DeadLetter // with the value to process
	Place      Place      // of the dead letter in the DLQ
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
	// All of them always: a header of the source record with the same name must not count instead.
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
		edited = "true"
	}
	add(headerRedriveEdited, edited)
	return m
}

// ParseRedrive decodes a record of the redrive topic. A source header can have the name of one of
// the redrive's headers. It comes earlier, so the last header of a name counts. The error is a
// [*FormatError]; the parts that could be decoded are returned with it.
func ParseRedrive(m kafka.Message) (Redrive, error) {
	d, deadLetterErr := Parse(m)
	r := Redrive{DeadLetter: d}
	f := facts{values: map[string]string{}}
	for _, h := range m.Headers {
		f.values[h.Key] = string(h.Value)
	}
	f.require(headerRedriveDeadLetter)
	f.require(headerRedriveNumber)
	r.Number = int(f.number(headerRedriveNumber, MaxRedrives))
	if f.err == nil && r.Number < 1 {
		f.fail(headerRedriveNumber, "is not a number in its range")
	}
	place, ok := parsePlace(f.values[headerRedriveDeadLetter])
	if r.Place = place; f.err == nil && !ok {
		f.fail(headerRedriveDeadLetter, "is not partition:offset of a dead letter")
	}
	r.By, r.Note = f.values[headerRedriveBy], f.values[headerRedriveNote]
	if f.err == nil && f.values[headerRedriveAt] != "" {
		r.At = f.time(headerRedriveAt)
	}
	r.Edited = f.values[headerRedriveEdited] == "true"
	if f.err != nil {
		return r, f.err
	}
	return r, deadLetterErr
}

func parsePlace(text string) (Place, bool) {
	first, second, ok := strings.Cut(text, ":")
	partition, err1 := strconv.ParseInt(first, 10, 32)
	offset, err2 := strconv.ParseInt(second, 10, 64)
	return Place{int(partition), offset}, ok && err1 == nil && err2 == nil && partition >= 0 && offset >= 0
}

// A MismatchError reports in which part a redrive differs from the dead letter that it names.
type MismatchError struct {
	Place Place
	What  string
}

// Error names the dead letter and the part.
func (e *MismatchError) Error() string {
	return "the redrive differs from dead letter " + e.Place.String() + " in its " + e.What
}

// EditedBy is the number of the redrive that edited the value to process; 0: it is the original
// value. Named is the dead letter that the redrive names.
func (r Redrive) EditedBy(named DeadLetter) int {
	if r.Edited {
		return r.Number
	}
	return named.Edited
}

// Check compares the redrive with the dead letter that it names. The error is a [*MismatchError].
func (r Redrive) Check(named DeadLetter) error {
	differs := func(what string) error { return &MismatchError{r.Place, what} }
	own := r.DeadLetter
	switch {
	case own.ID() != named.ID() || own.Source.Topic != named.Source.Topic || !own.Source.Timestamp.Equal(named.Source.Timestamp):
		return differs("source coordinates")
	case !bytes.Equal(own.Key, named.Key):
		return differs("key")
	case !r.Edited && !bytes.Equal(own.Value, named.Value):
		return differs("value, and has no header " + headerRedriveEdited)
	case r.Number <= named.Redrives:
		return differs("number: it is redrive " + strconv.Itoa(r.Number) + ", the dead letter is the failure of number " + strconv.Itoa(named.Redrives))
	}
	return nil
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
	return w.to.write(ctx, r.Message(), r.DeadLetter.ID())
}

// ErrNoDeadLetter is returned when the DLQ holds no dead letter at a place.
var ErrNoDeadLetter = errors.New("dlq: there is no dead letter at this place: retention has removed it, or it never existed")

// DeadLetter reads the dead letter at a place, with its value. It fails with [ErrNoDeadLetter], or
// with an error that [IsUnavailable] recognizes while Kafka is unavailable.
func (r *Reader) DeadLetter(ctx context.Context, at Place) (DeadLetter, error) {
	ranges, err := r.ranges(ctx, r.topics.DLQ)
	if err != nil {
		return DeadLetter{}, err
	}
	if within, ok := ranges[at.Partition]; !ok || at.Offset < within.First || at.Offset >= within.End {
		return DeadLetter{}, ErrNoDeadLetter
	}
	b := newBuffer(r, []*entry{{at: at}}, true)
	d, err := b.get(ctx, at)
	_, foreign := errors.AsType[*FormatError](err)
	if foreign || errors.Is(err, errRemoved) {
		return DeadLetter{}, ErrNoDeadLetter
	}
	return d, err
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

// Follow calls show for each new audit record, one at a time. It runs until the context ends, and
// then returns its cause, or until a read or show fails.
func (t *Tail) Follow(ctx context.Context, show func(AuditRecord) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(context.Canceled)
	var (
		all sync.WaitGroup
		mu  sync.Mutex
	)
	visit := func(rec *partlog.Record) error {
		value, err := rec.Value()
		if err != nil {
			return err
		}
		a, err := ParseAudit(value)
		if err != nil {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		return show(a)
	}
	for partition, at := range t.next {
		all.Go(func() { cancel(t.r.follow(ctx, t.r.topics.Audit, partition, at, visit)) })
	}
	all.Wait()
	return context.Cause(ctx)
}
