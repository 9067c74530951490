package dlq

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"membersync/dlq/partlog"
)

// ErrNoItem is returned when the DLQ holds no dead letter with an id. Retention may have removed
// it.
var ErrNoItem = errors.New("dlq: unknown dead letter")

// maxHistory limits the dead letters and the audit records of one history.
const maxHistory = 1000

// An Occurrence is one dead letter of an item, without its value.
type Occurrence struct {
	Place      Place
	DeadLetter DeadLetter
}

// A History holds what the DLQ and audit topics contain about one item.
type History struct {
	Item        Item          // its dead letter includes the value
	Occurrences []Occurrence  // including copies, sorted by failure number and place
	Audit       []AuditRecord // sorted by time
	Loss        Loss
}

// History reads everything about one item. It scans the DLQ and audit topics from start to end and
// keeps at most 1,000 dead letters and 1,000 audit records. The id is in full or short form, see
// the type [ID]. It returns [ErrNoItem] if the DLQ does not hold the item, an [*IDError] if the id
// is invalid, and an [*AmbiguousIDError] if several items have it.
func (r *Reader) History(ctx context.Context, id string) (History, error) {
	var h History
	x, err := newIndex(Query{IDs: []string{id}}, nil)
	if err != nil {
		return h, err
	}
	_, gone, err := r.scanAll(ctx, r.topics.DLQ, func(rec *partlog.Record) error {
		d, err := parseRecord(rec)
		if err != nil {
			h.Loss.Unreadable++
			return nil //nolint:nilerr // not written by this service
		}
		at := Place{rec.Partition, rec.Offset}
		if e, _ := x.addDeadLetter(d, at); e != nil && e.matches && len(h.Occurrences) < maxHistory {
			h.Occurrences = append(h.Occurrences, Occurrence{at, d})
		}
		return nil
	})
	if h.Loss.Gone = gone; err != nil {
		return h, err
	}
	if len(h.Occurrences) == 0 {
		return h, ErrNoItem
	}
	if err := x.ambiguous(); err != nil {
		return h, err
	}
	id = h.Occurrences[0].DeadLetter.ID() // in full form
	_, err = r.audits(ctx, &h.Loss, func(a AuditRecord, at Place) {
		if a.Subject == id && len(h.Audit) < maxHistory {
			h.Audit = append(h.Audit, a)
		}
		x.addAudit(a, at)
	})
	if err != nil {
		return h, err
	}
	h.sort()
	for item, err := range r.Items(ctx, x, 0, true) {
		if err != nil {
			return h, err
		}
		h.Item = item
	}
	return h, nil
}

func (h *History) sort() {
	slices.SortFunc(h.Occurrences, func(a, b Occurrence) int {
		return cmp.Or(a.DeadLetter.Redrives-b.DeadLetter.Redrives, a.Place.Partition-b.Place.Partition, cmp.Compare(a.Place.Offset, b.Place.Offset))
	})
	slices.SortStableFunc(h.Audit, func(a, b AuditRecord) int { return a.At.Compare(b.At) })
}

// Follow calls show for each new item, and for each new failure of a known item, that the index's
// query selects. It starts where the index stopped reading and updates the index. One call of show
// runs at a time. Follow runs until the context ends, and then returns its cause, or until a read
// or show fails.
func (r *Reader) Follow(ctx context.Context, x *Index, show func(Item) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(context.Canceled)
	var (
		all sync.WaitGroup
		mu  sync.Mutex
	)
	visit := func(rec *partlog.Record) error {
		mu.Lock()
		defer mu.Unlock()
		d, err := parseRecord(rec)
		if err != nil {
			x.Loss.Unreadable++
			return nil
		}
		e, isNew := x.addDeadLetter(d, Place{rec.Partition, rec.Offset})
		if !isNew || !x.selects(e) {
			return nil
		}
		return show(e.item(d))
	}
	for partition, at := range x.ends {
		all.Go(func() { cancel(r.follow(ctx, r.topics.DLQ, partition, at, visit)) })
	}
	all.Wait()
	return context.Cause(ctx)
}

func (r *Reader) follow(ctx context.Context, topic string, partition int, at int64, visit partlog.Visit) error {
	for ctx.Err() == nil {
		page, err := r.tail.Page(ctx, topic, partition, at, visit)
		if err != nil {
			return err
		}
		at = page.Next
	}
	return context.Cause(ctx)
}
