package dlq

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"membersync/dlq/partlog"
)

// ErrNoItem says that the DLQ holds no letter of an item. Retention may have removed it.
var ErrNoItem = errors.New("dlq: there is no such dead letter")

// maxHistory bounds the letters and the audit records of one history.
const maxHistory = 1000

// A Occurrence is one letter of an item, without its value.
type Occurrence struct {
	Place      Place
	DeadLetter DeadLetter
}

// A History is all that the DLQ and audit topics hold of one item.
type History struct {
	Item        Item          // its letter with the value
	Occurrences []Occurrence  // copies included, by number and place
	Audit       []AuditRecord // by time
	Loss        Loss
}

// History reads everything about one item: both topics from start to end. At most 1,000 letters and as many audit
// records are kept. It fails with [ErrNoItem].
func (r *Reader) History(ctx context.Context, id string) (History, error) {
	var h History
	s := &Index{items: map[itemID]int32{}, fates: map[itemID]*fate{}}
	wanted, ok := parseItemID(id)
	if !ok {
		return h, ErrNoItem
	}
	s.wanted = map[itemID]bool{wanted: true}
	_, gone, err := r.scanAll(ctx, r.topics.DLQ, func(rec *partlog.Record) error {
		l, err := parseRecord(rec)
		if err != nil {
			h.Loss.Unreadable++
			return nil //nolint:nilerr // somebody else's record
		}
		at := Place{rec.Partition, rec.Offset}
		if e, _ := s.addLetter(l, at); e != nil && len(h.Occurrences) < maxHistory {
			h.Occurrences = append(h.Occurrences, Occurrence{at, l})
		}
		return nil
	})
	if h.Loss.Gone = gone; err != nil {
		return h, err
	}
	if len(h.Occurrences) == 0 {
		return h, ErrNoItem
	}
	_, err = r.audits(ctx, &h.Loss, func(a AuditRecord) {
		if a.Subject == id && len(h.Audit) < maxHistory {
			h.Audit = append(h.Audit, a)
		}
		s.addAudit(a)
	})
	if err != nil {
		return h, err
	}
	slices.SortFunc(h.Occurrences, func(a, b Occurrence) int {
		return cmp.Or(a.DeadLetter.Redrives-b.DeadLetter.Redrives, a.Place.Partition-b.Place.Partition, cmp.Compare(a.Place.Offset, b.Place.Offset))
	})
	slices.SortStableFunc(h.Audit, func(a, b AuditRecord) int { return a.At.Compare(b.At) })
	for item, err := range r.Items(ctx, s, 0, true) {
		if err != nil {
			return h, err
		}
		h.Item = item
	}
	return h, nil
}

// Follow shows each new item, and each new death of a known one, that the query of the survey selects, from
// where the survey stopped. It ends with the context, whose cause it returns, or with an error.
func (r *Reader) Follow(ctx context.Context, s *Index, show func(Item) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(context.Canceled)
	var (
		all sync.WaitGroup
		mu  sync.Mutex
	)
	visit := func(rec *partlog.Record) error {
		mu.Lock()
		defer mu.Unlock()
		l, err := parseRecord(rec)
		if err != nil {
			s.Loss.Unreadable++
			return nil
		}
		e, news := s.addLetter(l, Place{rec.Partition, rec.Offset})
		if !news || !s.selects(e) {
			return nil
		}
		return show(s.item(e, l))
	}
	for partition, at := range s.ends {
		all.Go(func() { cancel(r.follow(ctx, r.topics.DLQ, partition, at, visit)) })
	}
	all.Wait()
	return context.Cause(ctx)
}

func (r *Reader) follow(ctx context.Context, topic string, partition int, at int64, visit partlog.Visit) error {
	for ctx.Err() == nil {
		page, err := r.log.Page(ctx, topic, partition, at, visit)
		if err != nil {
			return err
		}
		at = page.Next
	}
	return context.Cause(ctx)
}
