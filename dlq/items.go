package dlq

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"membersync/dlq/partlog"
)

// An Item is a dead letter with its state. Copies of one failure and later failures of the same
// event are one item.
type Item struct {
	ID            string // the full form, see the type [ID]
	State         State
	DeadLetter    DeadLetter // of the latest failure; with its value only if requested
	Place         Place      // of that dead letter in the DLQ
	FirstFailedAt time.Time
	Number        int       // of its latest delivery: how often it was redriven
	Occurrences   int       // its dead letters in the DLQ, including copies and earlier failures
	RequestedAt   time.Time // if it is redriving: when the redrive was requested; else zero
	Request       Place     // likewise: of that request in the audit topic
}

func (e *entry) item(d DeadLetter) Item {
	a := e.audit
	i := Item{
		ID: e.id.String(), State: a.state(e.failure), DeadLetter: d, Place: e.at,
		FirstFailedAt: fromMillis(e.firstFailed), Number: int(a.number(e.failure)), Occurrences: int(e.occurrences),
	}
	if i.State == StateRedriving {
		i.RequestedAt, i.Request = fromMillis(a.requestedAt), a.request
	}
	return i
}

// errRemoved reports that a dead letter that was read before is no longer in the DLQ.
var errRemoved = errors.New("dlq: retention has removed the dead letter")

// Items reads the dead letters of the selected items, sorted by the time of their latest failures,
// and returns the last limit of them (0: all). With values, each item includes its value. Values
// are read page by page: at most about 16 MiB plus one page of them are in memory. An error belongs
// to one item if that item has an ID. After any other error the sequence ends.
func (r *Reader) Items(ctx context.Context, x *Index, limit int, values bool) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		chosen := x.selection(limit)
		b := newBuffer(r, chosen, values)
		for _, e := range chosen {
			d, err := b.get(ctx, e.at)
			item := e.item(d)
			if err != nil && !errors.Is(err, errRemoved) {
				item = Item{}
			}
			if !yield(item, err) || err != nil && item.ID == "" {
				return
			}
		}
	}
}

// The limits of a buffer. When one is exceeded, the buffer drops all that it has fetched.
const (
	bufferBytes       = 16 << 20 // of values
	bufferDeadLetters = 10_000
)

// A buffer fetches dead letters one after the other and keeps the other wanted ones of a fetched
// page. A page that holds one dead letter usually holds the next ones of its partition too.
type buffer struct {
	r       *Reader
	values  bool
	wanted  map[int][]int64 // the wanted offsets by partition, in ascending order
	fetched map[Place]DeadLetter
	bytes   int // size of the fetched values
}

func newBuffer(r *Reader, chosen []*entry, values bool) *buffer {
	b := &buffer{r: r, values: values, wanted: map[int][]int64{}, fetched: map[Place]DeadLetter{}}
	for _, e := range chosen {
		b.wanted[e.at.Partition] = append(b.wanted[e.at.Partition], e.at.Offset)
	}
	for _, offsets := range b.wanted {
		slices.Sort(offsets)
	}
	return b
}

func (b *buffer) get(ctx context.Context, at Place) (DeadLetter, error) {
	if _, ok := b.fetched[at]; !ok {
		if b.bytes > bufferBytes || len(b.fetched) > bufferDeadLetters {
			clear(b.fetched)
			b.bytes = 0
		}
		if err := b.fill(ctx, at); err != nil {
			return DeadLetter{}, err
		}
	}
	d, ok := b.fetched[at]
	if !ok {
		return DeadLetter{}, errRemoved
	}
	delete(b.fetched, at)
	b.bytes -= len(d.Value)
	return d, nil
}

// fill fetches the page that starts at a dead letter, and keeps its wanted dead letters.
func (b *buffer) fill(ctx context.Context, at Place) error {
	_, err := b.r.log.Page(ctx, b.r.topics.DLQ, at.Partition, at.Offset, func(rec *partlog.Record) error {
		place := Place{at.Partition, rec.Offset}
		_, fetched := b.fetched[place]
		if _, ok := slices.BinarySearch(b.wanted[at.Partition], rec.Offset); !ok || fetched {
			return nil
		}
		d, err := parseRecord(rec)
		if err != nil {
			return err
		}
		if b.values {
			if d.Value, err = rec.Value(); err != nil {
				return err
			}
			b.bytes += len(d.Value)
		}
		b.fetched[place] = d
		return nil
	})
	if outOfRange, ok := errors.AsType[*partlog.OutOfRangeError](err); ok && outOfRange != nil {
		return errRemoved
	}
	if err != nil {
		return fmt.Errorf("dlq: reading %s: %w", b.r.topics.DLQ, err)
	}
	return nil
}
