package dlq

import (
	"cmp"
	"context"
	"errors"
	"hash/maphash"
	"iter"
	"slices"
	"strings"
	"time"

	"membersync/dlq/partlog"
)

// An entry is what an index keeps of an item: about 110 bytes, regardless of the dead letter's
// size.
type entry struct {
	id          ID
	audit       *auditState // nil: the audit topic has no records of it
	at          Place       // of the first dead letter of the latest failure
	failedAt    int64       // of that dead letter, in ms since 1970; 0: unknown
	firstFailed int64       // of the item, in ms since 1970; math.MaxInt64: unknown
	failure     int32       // the number of the latest failure; -1 before the first one is added
	edited      int32       // the number of the redrive that edited the value of that failure; 0: none
	occurrences int32       // dead letters, including copies and earlier failures
	next        int32       // the position of the next item with the same short id; 0: none
	employee    uint64      // a hash of the employee's id, to count distinct ones; 0: it is unknown
	matches     bool        // the id and the latest failure match the query, apart from states
	group       string
	facts       *catalogFacts // of a [Catalog]; nil in other indexes
}

// An Index is a snapshot of all items, with a query that selects some of them. It is not safe for
// concurrent use.
type Index struct {
	// Loss is what the scan could not take into account.
	Loss Loss

	seed    maphash.Seed
	query   Query
	groupBy func(DeadLetter) string
	items   map[ID]int32 // by short id: the position in entries of the first item that has it
	entries []entry
	texts   map[string]string // each group name once, so that entries share it
	asked   []ID              // the ids of the query
	wanted  map[ID]bool       // true: an id of the query; false: the short form of one; nil: all items
	ends    map[int]int64     // where the scan of the DLQ stopped, by partition
	audited map[int]int64     // where the scan of the audit topic stopped, by partition
}

// Index reads the DLQ and then the audit topic, up to their current ends. It keeps no values and
// little of each item: about 200 bytes. GroupBy returns the name of an item's group from its latest
// failure; nil means no groups. It fails with a [*MissingTopicError] if the DLQ does not exist,
// with an [*IDError] or [*AmbiguousIDError] because of an id of the query, and with an error that
// [IsUnavailable] recognizes while Kafka is unavailable.
func (r *Reader) Index(ctx context.Context, q Query, groupBy func(DeadLetter) string) (*Index, error) {
	x, err := newIndex(q, groupBy)
	if err != nil {
		return nil, err
	}
	// The audit topic is read last, so that no audit record of a dead letter already read is
	// missed.
	if x.ends, err = x.readDeadLetters(ctx, r); err != nil {
		return nil, err
	}
	if err := x.ambiguous(); err != nil {
		return nil, err
	}
	if x.audited, err = r.audits(ctx, &x.Loss, x.addAudit); err != nil {
		return nil, err
	}
	return x, nil
}

func newIndex(q Query, groupBy func(DeadLetter) string) (*Index, error) {
	x := &Index{seed: maphash.MakeSeed(), query: q, groupBy: groupBy, items: map[ID]int32{}, texts: map[string]string{}}
	if len(q.IDs) == 0 {
		return x, nil
	}
	x.wanted = make(map[ID]bool, 2*len(q.IDs))
	var errs []error
	for _, text := range q.IDs {
		id, err := ParseID(text)
		errs = append(errs, err)
		x.asked = append(x.asked, id)
		x.wanted[id] = true
		if _, ok := x.wanted[id.Short()]; !ok {
			x.wanted[id.Short()] = false
		}
	}
	return x, errors.Join(errs...)
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
	case ActionReveal, ActionOffsetsReset, ActionReplay, ActionPause, ActionResume, ActionStateForget, ActionStateRebuild,
		ActionReplayCancel:
		return
	default:
		return
	}
	id, err := ParseID(r.Subject)
	if err != nil {
		return
	}
	if e := x.find(id); e != nil {
		if e.audit == nil {
			e.audit = &auditState{}
		}
		e.audit.addAt(r, at)
	}
}

// addDeadLetter adds a dead letter to its item, and reports whether the item or the failure is new.
// The entry is nil if no id of the query has the item's short form.
func (x *Index) addDeadLetter(d DeadLetter, at Place) (e *entry, isNew bool) {
	id := d.itemID()
	if _, ok := x.wanted[id.Short()]; !ok && x.wanted != nil {
		return nil, false
	}
	if e = x.find(id); e == nil {
		e = x.addEntry(id)
	}
	e.occurrences++
	if first := millis(cmp.Or(d.FirstFailedAt, d.FailedAt)); first != 0 {
		e.firstFailed = min(e.firstFailed, first)
	}
	if number := int32(d.Redrives); number > e.failure { //nolint:gosec // Parse bounds it
		e.failure, e.at, e.failedAt = number, at, millis(d.FailedAt)
		e.edited = int32(d.Edited) //nolint:gosec // Parse bounds it
		e.matches = x.isWanted(id) && x.query.matches(d)
		if e.employee = 0; d.EmployeeID != "" {
			e.employee = maphash.String(x.seed, d.EmployeeID)
		}
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
		q.Cause != "" && q.Cause != d.Cause(),
		q.Employee != "" && q.Employee != d.EmployeeID,
		q.Text != "" && !strings.Contains(strings.ToLower(d.Error), strings.ToLower(q.Text)),
		!q.Since.IsZero() && d.FailedAt.Before(q.Since),
		!q.Until.IsZero() && !d.FailedAt.Before(q.Until):
		return false
	}
	return true
}

func (x *Index) selects(e *entry) bool {
	return e.matches && (len(x.query.States) == 0 || slices.Contains(x.query.States, e.audit.state(e.failure)))
}

// A Group counts the selected items that share a group name.
type Group struct {
	Name           string
	Count          int
	Oldest, Newest time.Time // of the items' latest failures
	Employees      int       // distinct ones; events that name none do not count
	Redriven       time.Time // when one of its items was last redriven; zero: none was
}

// A counted group is one while it is counted.
type countedGroup struct {
	Group
	employees map[uint64]struct{}
}

func (g *countedGroup) add(e *entry) {
	at := fromMillis(e.failedAt)
	if g.Count == 0 || at.Before(g.Oldest) {
		g.Oldest = at
	}
	if at.After(g.Newest) {
		g.Newest = at
	}
	g.Count++
	if e.employee != 0 {
		g.employees[e.employee] = struct{}{}
	}
	if e.audit == nil {
		return
	}
	if redriven := fromMillis(e.audit.requestedAt); redriven.After(g.Redriven) {
		g.Redriven = redriven
	}
}

// Groups returns the groups of the selected items, largest first, groups of equal size by name.
func (x *Index) Groups() []Group {
	byName := map[string]*countedGroup{}
	for i := range x.entries {
		e := &x.entries[i]
		if !x.selects(e) {
			continue
		}
		g := byName[e.group]
		if g == nil {
			g = &countedGroup{Group: Group{Name: e.group}, employees: map[uint64]struct{}{}}
			byName[e.group] = g
		}
		g.add(e)
	}
	groups := make([]Group, 0, len(byName))
	for _, g := range byName {
		g.Employees = len(g.employees)
		groups = append(groups, g.Group)
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

// Count returns the number of all items in a state, whether the query selects them or not.
func (x *Index) Count(s State) (n int) {
	for i := range x.entries {
		if e := &x.entries[i]; e.audit.state(e.failure) == s {
			n++
		}
	}
	return n
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

func (e *entry) itemState() ItemState {
	a := e.audit
	v := ItemState{State: a.state(e.failure), Failed: int(e.failure), Edited: int(e.edited)}
	if a != nil {
		v.Resulted = int(a.resulted)
		if a.edited && a.resulted > e.failure {
			v.Edited = int(a.resulted)
		}
	}
	return v
}

// Requested returns the redrives of the selected items that are redriving, each with the time of
// its request.
func (x *Index) Requested() iter.Seq2[Sent, time.Time] {
	return func(yield func(Sent, time.Time) bool) {
		for i := range x.entries {
			e := &x.entries[i]
			if x.selects(e) && e.audit.state(e.failure) == StateRedriving &&
				!yield(Sent{e.id.String(), int(e.audit.requested)}, fromMillis(e.audit.requestedAt)) {
				return
			}
		}
	}
}

// JobItems returns the selected items as they are now, the one that failed first before the others.
func (x *Index) JobItems() []JobItem {
	selected := x.selection(0)
	items := make([]JobItem, len(selected))
	for n, e := range selected {
		items[n] = JobItem{ID: e.id.String(), Number: int(e.audit.number(e.failure)), State: e.audit.state(e.failure)}
	}
	return items
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
