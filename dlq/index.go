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

// An entry is what an index keeps of an item: about 100 bytes, regardless of the dead letter's
// size.
type entry struct {
	id          itemID
	at          Place // of the first dead letter of the latest failure
	failedAt    int64 // of that dead letter, in ms since 1970; 0: unknown
	firstFailed int64 // of the item, in ms since 1970; math.MaxInt64: unknown
	failure     int32 // the number of the latest failure; -1 before the first one is added
	occurrences int32 // dead letters, including copies and earlier failures
	matches     bool  // the latest failure matches the query, apart from states and ids
	group       string
}

// An Index is a snapshot of all items, with a query that selects some of them. It is not safe for
// concurrent use.
type Index struct {
	// Loss is what the scan could not take into account.
	Loss Loss

	query       Query
	groupBy     func(DeadLetter) string
	items       map[itemID]int32 // the position in entries
	entries     []entry
	auditStates map[itemID]*auditState
	texts       map[string]string // each group name once, so that entries share it
	wanted      map[itemID]bool   // the ids of the query; nil: all
	ends        map[int]int64     // where the scan of the DLQ stopped, by partition
	audited     map[int]int64     // where the scan of the audit topic stopped, by partition
}

// Index reads the DLQ and then the audit topic, up to their current ends. It keeps no values and
// little of each item: about 200 bytes. GroupBy returns the name of an item's group from its latest
// failure; nil means no groups. It fails with a [*MissingTopicError] if the DLQ does not exist, and
// with an error that [IsUnavailable] recognizes while Kafka is unavailable.
func (r *Reader) Index(ctx context.Context, q Query, groupBy func(DeadLetter) string) (*Index, error) {
	x := &Index{
		query: q, groupBy: groupBy, items: map[itemID]int32{}, auditStates: map[itemID]*auditState{},
		texts: map[string]string{},
	}
	if len(q.IDs) > 0 {
		x.wanted = make(map[itemID]bool, len(q.IDs))
		for _, text := range q.IDs {
			if id, ok := parseItemID(text); ok {
				x.wanted[id] = true
			}
		}
	}
	var err error
	// The audit topic is read last, so that no audit record of a dead letter already read is
	// missed.
	if x.ends, err = x.readDeadLetters(ctx, r); err != nil {
		return nil, err
	}
	if x.audited, err = r.audits(ctx, &x.Loss, x.addAudit); err != nil {
		return nil, err
	}
	return x, nil
}

func (x *Index) readDeadLetters(ctx context.Context, r *Reader) (map[int]int64, error) {
	ends, gone, err := r.scanAll(ctx, r.topics.DLQ, func(rec *partlog.Record) error {
		d, err := parseRecord(rec)
		if err != nil {
			x.Loss.Unreadable++
			return nil //nolint:nilerr // not written by this service
		}
		x.addDeadLetter(d, Place{rec.Partition, rec.Offset})
		return nil
	})
	x.Loss.Gone += gone
	return ends, err
}

func (x *Index) addAudit(r AuditRecord) {
	switch r.Action {
	case ActionRedrive, ActionRedriveResult, ActionDiscard:
	case ActionReveal, ActionOffsetsReset, ActionReplay, ActionPause, ActionResume, ActionStateForget, ActionStateRebuild:
		return
	default:
		return
	}
	id, ok := parseItemID(r.Subject)
	if _, known := x.items[id]; !ok || !known {
		return
	}
	a := x.auditStates[id]
	if a == nil {
		a = &auditState{}
		x.auditStates[id] = a
	}
	a.add(r)
}

// addDeadLetter adds a dead letter to its item, and reports whether the item or the failure is new.
// The entry is nil if the query's ids do not include the item.
func (x *Index) addDeadLetter(d DeadLetter, at Place) (e *entry, isNew bool) {
	id, ok := parseItemID(d.ID())
	if !ok || x.wanted != nil && !x.wanted[id] {
		return nil, false
	}
	i, known := x.items[id]
	if !known {
		i = int32(len(x.entries)) //nolint:gosec // memory runs out earlier
		x.items[id] = i
		x.entries = append(x.entries, entry{id: id, failure: -1, firstFailed: math.MaxInt64})
	}
	e = &x.entries[i]
	e.occurrences++
	if first := millis(cmp.Or(d.FirstFailedAt, d.FailedAt)); first != 0 {
		e.firstFailed = min(e.firstFailed, first)
	}
	if number := int32(d.Redrives); number > e.failure { //nolint:gosec // Parse bounds it
		e.failure, e.at, e.failedAt = number, at, millis(d.FailedAt)
		e.matches = x.query.matches(d)
		if x.groupBy != nil {
			e.group = x.intern(x.groupBy(d))
		}
		return e, true
	}
	return e, false
}

func (x *Index) intern(text string) string {
	if kept, ok := x.texts[text]; ok {
		return kept
	}
	x.texts[text] = text
	return text
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// matches reports whether a dead letter matches the query, apart from its states and ids.
func (q *Query) matches(d DeadLetter) bool {
	switch {
	case len(q.Reasons) > 0 && !slices.Contains(q.Reasons, d.Reason),
		q.Stage != "" && q.Stage != d.stage(),
		q.Code != "" && q.Code != d.CRMCode,
		q.Employee != "" && q.Employee != d.EmployeeID,
		!q.Since.IsZero() && d.FailedAt.Before(q.Since),
		!q.Until.IsZero() && !d.FailedAt.Before(q.Until):
		return false
	}
	return true
}

func (x *Index) state(e *entry) State { return x.auditStates[e.id].state(e.failure) }

func (x *Index) selects(e *entry) bool {
	return e.matches && (len(x.query.States) == 0 || slices.Contains(x.query.States, x.state(e)))
}

// A Group counts the selected items that share a group name.
type Group struct {
	Name           string
	Count          int
	Oldest, Newest time.Time // of the items' latest failures
}

// Groups returns the groups of the selected items, largest first, groups of equal size by name.
func (x *Index) Groups() []Group {
	byName := map[string]*Group{}
	for i := range x.entries {
		e := &x.entries[i]
		if !x.selects(e) {
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

// Selected returns the number of items that the query selects.
func (x *Index) Selected() (n int) {
	for i := range x.entries {
		if x.selects(&x.entries[i]) {
			n++
		}
	}
	return n
}

// Has reports whether an item with the id exists, selected or not.
func (x *Index) Has(id string) bool {
	key, ok := parseItemID(id)
	_, known := x.items[key]
	return ok && known
}

// An ItemState is the state of an item and the numbers of its latest deliveries.
type ItemState struct {
	State    State
	Failed   int // the number of the latest delivery that failed
	Resulted int // the highest number of a redrive with a result; 0: none
}

// ItemState looks up an event of a source record by its coordinates and index. If no item has them,
// it looks for a record that failed whole. It reports false if it finds neither.
func (x *Index) ItemState(partition int, offset int64, index int) (v ItemState, ok bool) {
	for _, one := range []int{index, -1} {
		id := itemID{offset: offset, partition: int32(partition), index: int32(one)} //nolint:gosec // from broker and mapper
		if i, known := x.items[id]; known {
			e, a := &x.entries[i], x.auditStates[id]
			v = ItemState{State: a.state(e.failure), Failed: int(e.failure)}
			if a != nil {
				v.Resulted = int(a.resulted)
			}
			return v, true
		}
	}
	return ItemState{}, false
}

// Requested returns the redrives of the selected items that are redriving, each with the time of
// its request.
func (x *Index) Requested() iter.Seq2[Sent, time.Time] {
	return func(yield func(Sent, time.Time) bool) {
		for i := range x.entries {
			e := &x.entries[i]
			a := x.auditStates[e.id]
			if x.selects(e) && a.state(e.failure) == StateRedriving &&
				!yield(Sent{formatItemID(e.id), int(a.requested)}, fromMillis(a.requestedAt)) {
				return
			}
		}
	}
}

// selection returns the entries of the selected items, sorted by the time of their latest failures,
// and of these the last limit (0: all).
func (x *Index) selection(limit int) []*entry {
	var selected []*entry
	for i := range x.entries {
		if e := &x.entries[i]; x.selects(e) {
			selected = append(selected, e)
		}
	}
	slices.SortFunc(selected, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(a.failedAt, b.failedAt), cmp.Compare(a.at.Partition, b.at.Partition), cmp.Compare(a.at.Offset, b.at.Offset))
	})
	if limit > 0 && len(selected) > limit {
		selected = selected[len(selected)-limit:]
	}
	return selected
}
