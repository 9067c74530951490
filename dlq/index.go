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
	sourceAt    int64 // timestamp of the source record, in ms since 1970
	failure     int32 // the number of the latest failure; -1 before the first one is added
	edited      int32 // the number of the redrive that edited the value of that failure; 0: none
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

func (x *Index) addAudit(r AuditRecord, at Place) {
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
	a.addAt(r, at)
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
		e.edited, e.sourceAt = int32(d.Edited), d.Source.Timestamp.UnixMilli() //nolint:gosec // Parse bounds it
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
	Edited   int // the number of the redrive that edited the value delivered last; 0: it is the original
}

// ReplaySkips reports whether a replay leaves out a delivery of the event: that of the redrive with
// the number (0: the original), with a value that the redrive with the number edited has edited (0:
// the original value). A failure that is open or discarded is for a redrive to try again. Where an
// edited value was applied, no other value of the event may follow it: it may state a field that
// the edit has removed, so that versions could not decide.
func (v ItemState) ReplaySkips(number, edited int) bool {
	switch v.State {
	case StateOpen, StateDiscarded:
		return true
	case StateRedriving:
		return number <= v.Failed
	case StateApplied, StateSuperseded:
		return edited != v.Edited
	}
	return false
}

func (e *entry) itemState(a *auditState) ItemState {
	v := ItemState{State: a.state(e.failure), Failed: int(e.failure), Edited: int(e.edited)}
	if a != nil {
		v.Resulted = int(a.resulted)
		if a.edited && a.resulted > e.failure {
			v.Edited = int(a.resulted)
		}
	}
	return v
}

// A Delivery is one delivery of an event: of the source topic, or by a redrive.
type Delivery struct {
	Source  Source // of the source record; of an invalid redrive: of the record itself
	Index   int    // of the event in its record; -1: the record failed whole
	Number  int    // of the redrive; 0: the original
	Edited  int    // the number of the redrive that edited the value; 0: the original value
	Invalid bool   // it is an invalid redrive
}

// ReplaySkips reports whether a replay leaves out a delivery, see [ItemState.ReplaySkips].
func (x *Index) ReplaySkips(d Delivery) bool {
	v, ok := x.StateOf(d)
	return ok && v.ReplaySkips(d.Number, d.Edited)
}

// StateOf looks up the item of a delivery. If no item has its index, it looks for a record that
// failed whole. It reports false if it finds neither. An item of a record with another timestamp is
// that of an earlier topic of the same name.
func (x *Index) StateOf(d Delivery) (v ItemState, ok bool) {
	for _, index := range []int{d.Index, -1} {
		id := itemID{
			offset: d.Source.Offset, partition: int32(d.Source.Partition), index: int32(index), redrive: d.Invalid, //nolint:gosec // from broker and mapper
		}
		if i, known := x.items[id]; known && x.entries[i].sourceAt == d.Source.Timestamp.UnixMilli() {
			return x.entries[i].itemState(x.auditStates[id]), true
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
