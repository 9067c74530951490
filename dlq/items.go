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

// An Item is a dead letter with what has become of it: copies of one death and later deaths of the event are one item.
type Item struct {
	ID            string
	State         State
	DeadLetter    DeadLetter // of the latest death; its value only where it was asked for
	Place         Place      // of that letter
	FirstFailedAt time.Time
	Number        int       // of its latest delivery: how often it was redriven
	Occurrences   int       // that it has in the DLQ: copies and earlier deaths included
	RequestedAt   time.Time // while it is redriving: since when
}

func (s *Index) item(e *entry, l DeadLetter) Item {
	f := s.fates[e.id]
	i := Item{
		ID: l.ID(), State: f.state(e.death), DeadLetter: l, Place: e.at,
		FirstFailedAt: fromMillis(e.firstFailed), Number: int(f.number(e.death)), Occurrences: int(e.letters),
	}
	if i.State == StateRedriving {
		i.RequestedAt = fromMillis(f.sentAt)
	}
	return i
}

// errChanged says that a letter is not where it was a moment ago.
var errChanged = errors.New("dlq: the letter is gone: retention has removed it")

// Items reads the letters of the selected items, by the time of their latest deaths, and of these the last limit (0: all).
// With values, each is in memory one after the other. An error is that of one item if the item has an ID; after any
// other the sequence ends.
func (r *Reader) Items(ctx context.Context, s *Index, limit int, values bool) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		chosen := s.selection(limit)
		b := newBuffer(r, chosen, values)
		for _, e := range chosen {
			l, err := b.letter(ctx, e.at)
			item := s.item(e, l)
			if errors.Is(err, errChanged) {
				item.ID = formatItemID(e.id)
			} else if err != nil {
				item = Item{}
			}
			if !yield(item, err) || err != nil && item.ID == "" {
				return
			}
		}
	}
}

func formatItemID(id itemID) string {
	l := DeadLetter{Source: Source{Partition: int(id.partition), Offset: id.offset}, Whole: id.index < 0, Index: int(id.index)}
	if id.redrive {
		return redrivePrefix + l.ID()
	}
	return l.ID()
}

// What is held because a page brought it along: bounds, beyond which all of it is dropped.
const (
	bufferBytes   = 16 << 20
	bufferLetters = 10_000
)

// A buffer fetches letters one after the other. A page that holds one mostly holds the next ones of its partition too.
type buffer struct {
	r      *Reader
	values bool
	wanted map[int][]int64 // the offsets still to come, by partition, in rising order
	held   map[Place]DeadLetter
	bytes  int
}

func newBuffer(r *Reader, chosen []*entry, values bool) *buffer {
	b := &buffer{r: r, values: values, wanted: map[int][]int64{}, held: map[Place]DeadLetter{}}
	for _, e := range chosen {
		b.wanted[e.at.Partition] = append(b.wanted[e.at.Partition], e.at.Offset)
	}
	for _, offsets := range b.wanted {
		slices.Sort(offsets)
	}
	return b
}

func (b *buffer) letter(ctx context.Context, at Place) (DeadLetter, error) {
	if _, ok := b.held[at]; !ok {
		if b.bytes > bufferBytes || len(b.held) > bufferLetters {
			clear(b.held)
			b.bytes = 0
		}
		if err := b.fill(ctx, at); err != nil {
			return DeadLetter{}, err
		}
	}
	l, ok := b.held[at]
	if !ok {
		return DeadLetter{}, errChanged
	}
	delete(b.held, at)
	b.bytes -= len(l.Value)
	return l, nil
}

// fill fetches the page that begins with a letter, and holds what is wanted of it.
func (b *buffer) fill(ctx context.Context, at Place) error {
	_, err := b.r.log.Page(ctx, b.r.topics.DLQ, at.Partition, at.Offset, func(rec *partlog.Record) error {
		place := Place{at.Partition, rec.Offset}
		_, held := b.held[place]
		if _, ok := slices.BinarySearch(b.wanted[at.Partition], rec.Offset); !ok || held {
			return nil
		}
		l, err := parseRecord(rec)
		if err != nil {
			return err
		}
		if b.values {
			if l.Value, err = rec.Value(); err != nil {
				return err
			}
			b.bytes += len(l.Value)
		}
		b.held[place] = l
		return nil
	})
	if lost, ok := errors.AsType[*partlog.OutOfRangeError](err); ok && lost != nil {
		return errChanged
	}
	if err != nil {
		return fmt.Errorf("dlq: reading %s: %w", b.r.topics.DLQ, err)
	}
	return nil
}
