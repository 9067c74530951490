package dlq

import (
	"cmp"
	"context"
	"iter"
	"math"
	"slices"
	"time"

	"membersync/dlq/partlog"
)

// An entry is what a survey keeps of an item: some 100 bytes, whatever the letter's size.
type entry struct {
	id          itemID
	at          Place // of the first letter of the latest death
	failedAt    int64 // of that letter, in ms
	firstFailed int64 // of the item
	death       int32 // its number
	letters     int32 // copies and earlier deaths included
	matches     bool  // the latest death is what the query wants
	group       string
}

// A Index is one look at all items. It is not safe for concurrent use.
type Index struct {
	Loss Loss

	query   Query
	groupBy func(DeadLetter) string
	items   map[itemID]int32 // the place in entries
	entries []entry
	fates   map[itemID]*fate
	texts   map[string]string // each group once
	wanted  map[itemID]bool
	ends    map[int]int64 // of the DLQ's partitions: where the look stopped
	audited map[int]int64 // of the audit topic's
}

// Index reads the DLQ and then the audit topic, up to their ends now. No value is kept, and of each item little,
// so it takes some 200 bytes an item. GroupBy names the group of an item, by its latest death; nil: none.
// It fails with a [*MissingTopicError] if there is no DLQ, and with what [IsUnavailable] recognises while Kafka is away.
func (r *Reader) Index(ctx context.Context, q Query, groupBy func(DeadLetter) string) (*Index, error) {
	s := &Index{
		query: q, groupBy: groupBy, items: map[itemID]int32{}, fates: map[itemID]*fate{}, texts: map[string]string{},
	}
	if len(q.IDs) > 0 {
		s.wanted = make(map[itemID]bool, len(q.IDs))
		for _, text := range q.IDs {
			if id, ok := parseItemID(text); ok {
				s.wanted[id] = true
			}
		}
	}
	var err error
	// The audit topic comes last: what it says of letters that have been read must not be missed.
	if s.ends, err = s.readLetters(ctx, r); err != nil {
		return nil, err
	}
	if s.audited, err = r.audits(ctx, &s.Loss, s.addAudit); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Index) readLetters(ctx context.Context, r *Reader) (map[int]int64, error) {
	ends, gone, err := r.scanAll(ctx, r.topics.DLQ, func(rec *partlog.Record) error {
		l, err := parseRecord(rec)
		if err != nil {
			s.Loss.Unreadable++
			return nil //nolint:nilerr // somebody else's record
		}
		s.addLetter(l, Place{rec.Partition, rec.Offset})
		return nil
	})
	s.Loss.Gone += gone
	return ends, err
}

func (s *Index) addAudit(a AuditRecord) {
	switch a.Action {
	case ActionRedrive, ActionRedriveResult, ActionDiscard:
	case ActionReveal, ActionOffsetsReset, ActionReplay, ActionPause, ActionResume, ActionStateForget, ActionStateRebuild:
		return
	default:
		return
	}
	id, ok := parseItemID(a.Subject)
	if _, known := s.items[id]; !ok || !known {
		return
	}
	f := s.fates[id]
	if f == nil {
		f = &fate{}
		s.fates[id] = f
	}
	f.add(a)
}

// addLetter takes a letter into account, and reports whether it is news: an item or a death not seen before.
func (s *Index) addLetter(l DeadLetter, at Place) (e *entry, news bool) {
	id, ok := parseItemID(l.ID())
	if !ok || s.wanted != nil && !s.wanted[id] {
		return nil, false
	}
	i, known := s.items[id]
	if !known {
		i = int32(len(s.entries)) //nolint:gosec // memory ends before
		s.items[id] = i
		s.entries = append(s.entries, entry{id: id, death: -1, firstFailed: math.MaxInt64})
	}
	e = &s.entries[i]
	e.letters++
	if first := millis(cmp.Or(l.FirstFailedAt, l.FailedAt)); first != 0 {
		e.firstFailed = min(e.firstFailed, first)
	}
	if number := int32(l.Redrives); number > e.death { //nolint:gosec // Parse bounds it
		e.death, e.at, e.failedAt = number, at, millis(l.FailedAt)
		e.matches = s.query.matches(l)
		if s.groupBy != nil {
			e.group = s.intern(s.groupBy(l))
		}
		return e, true
	}
	return e, false
}

func (s *Index) intern(text string) string {
	if kept, ok := s.texts[text]; ok {
		return kept
	}
	s.texts[text] = text
	return text
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// matches judges a letter by all but the item's state and id.
func (q *Query) matches(l DeadLetter) bool {
	switch {
	case len(q.Reasons) > 0 && !slices.Contains(q.Reasons, l.Reason),
		q.Stage != "" && q.Stage != l.stage(),
		q.Code != "" && q.Code != l.CRMCode,
		q.Employee != "" && q.Employee != l.EmployeeID,
		!q.Since.IsZero() && l.FailedAt.Before(q.Since),
		!q.Until.IsZero() && !l.FailedAt.Before(q.Until):
		return false
	}
	return true
}

func (s *Index) state(e *entry) State { return s.fates[e.id].state(e.death) }

func (s *Index) selects(e *entry) bool {
	return e.matches && (len(s.query.States) == 0 || slices.Contains(s.query.States, s.state(e)))
}

// A Group is the selected items that have one name in common.
type Group struct {
	Name           string
	Count          int
	Oldest, Newest time.Time // of their latest deaths
}

// Groups returns the groups of the selected items, the largest first.
func (s *Index) Groups() []Group {
	byName := map[string]*Group{}
	for i := range s.entries {
		e := &s.entries[i]
		if !s.selects(e) {
			continue
		}
		g, at := byName[e.group], fromMillis(e.failedAt)
		if g == nil {
			g = &Group{Name: e.group, Oldest: at, Newest: at}
			byName[e.group] = g
		}
		g.Count++
		if at.Before(g.Oldest) {
			g.Oldest = at
		}
		if at.After(g.Newest) {
			g.Newest = at
		}
	}
	groups := make([]Group, 0, len(byName))
	for _, g := range byName {
		groups = append(groups, *g)
	}
	slices.SortFunc(groups, func(a, b Group) int { return cmp.Or(b.Count-a.Count, cmp.Compare(a.Name, b.Name)) })
	return groups
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// Selected returns how many items the query selects.
func (s *Index) Selected() (n int) {
	for i := range s.entries {
		if s.selects(&s.entries[i]) {
			n++
		}
	}
	return n
}

// Has reports whether there is an item with the id, selected or not.
func (s *Index) Has(id string) bool {
	key, ok := parseItemID(id)
	_, known := s.items[key]
	return ok && known
}

// A ItemState is what is known of an item's latest delivery.
type ItemState struct {
	State    State
	Failed   int // number of the delivery that died last
	Resulted int // of the redrive whose result is known last; 0: none
}

// ItemState looks up an event of a source record, or, if there is no item of it, the record as one that failed whole.
func (s *Index) ItemState(partition int, offset int64, index int) (v ItemState, ok bool) {
	for _, one := range []int{index, -1} {
		id := itemID{offset: offset, partition: int32(partition), index: int32(one)} //nolint:gosec // from the broker and the mapper
		if i, known := s.items[id]; known {
			e, f := &s.entries[i], s.fates[id]
			v = ItemState{State: f.state(e.death), Failed: int(e.death)}
			if f != nil {
				v.Resulted = int(f.answered)
			}
			return v, true
		}
	}
	return ItemState{}, false
}

// Requested returns since when the selected items that are redriven are under way.
func (s *Index) Requested() iter.Seq2[Sent, time.Time] {
	return func(yield func(Sent, time.Time) bool) {
		for i := range s.entries {
			e := &s.entries[i]
			f := s.fates[e.id]
			if s.selects(e) && f.state(e.death) == StateRedriving && !yield(Sent{formatItemID(e.id), int(f.sent)}, fromMillis(f.sentAt)) {
				return
			}
		}
	}
}

// selection returns the places of the selected items, by the time of their latest deaths, and of these the last
// limit; 0: all.
func (s *Index) selection(limit int) []*entry {
	var some []*entry
	for i := range s.entries {
		if e := &s.entries[i]; s.selects(e) {
			some = append(some, e)
		}
	}
	slices.SortFunc(some, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(a.failedAt, b.failedAt), cmp.Compare(a.at.Partition, b.at.Partition), cmp.Compare(a.at.Offset, b.at.Offset))
	})
	if limit > 0 && len(some) > limit {
		some = some[len(some)-limit:]
	}
	return some
}
