package outcome

import (
	"cmp"
	"slices"
)

// A Statement is what one event states about one field.
type Statement struct {
	Value  string // as the CRM receives it, in the form of Canonical
	Order  uint64
	Poison bool // of an event that the CRM must reject
	// Partition and Offset are those of the event's first record.
	Partition int
	Offset    int64
}

// An Expectation is the result after all records have been processed.
type Expectation struct {
	States      map[string]map[string]string // of every member, by field; in the form of Canonical
	DeadLetters []DeadLetter
	Duplicates  int // further deliveries of an event
	Stating     int // events without poison and duplicates that state a field
	Empty       int // and those that state none

	statements map[string]map[string][]Statement // by member and field, in rising order
}

// Expect computes the result of the records. For each field of each member the newest event that
// states it counts. Poison contributes nothing. The order of two deliveries of an event does not
// matter.
func Expect(w World, records []Record) Expectation {
	e := Expectation{
		States:     make(map[string]map[string]string, len(w.Members)),
		statements: make(map[string]map[string][]Statement),
	}
	for _, m := range w.Members {
		e.States[m] = make(map[string]string)
	}
	type identity struct {
		id    string
		order uint64
	}
	seen := make(map[identity]bool)
	for _, r := range records {
		j := w.judge(r)
		id := identity{j.eventID, j.order}
		if j.deadLetter == nil && seen[id] {
			e.Duplicates++
			continue
		}
		seen[id] = true
		e.add(j, r)
	}
	e.conclude()
	return e
}

func (e *Expectation) add(j decision, r Record) {
	switch {
	case j.deadLetter != nil:
		e.DeadLetters = append(e.DeadLetters, *j.deadLetter)
		if j.deadLetter.Code == "" {
			return // it never reaches the CRM
		}
	case len(j.changes) == 0:
		e.Empty++
	default:
		e.Stating++
	}
	if e.statements[j.member] == nil {
		e.statements[j.member] = make(map[string][]Statement)
	}
	for field, value := range j.changes {
		s := Statement{Value: value, Order: j.order, Poison: j.deadLetter != nil, Partition: r.Partition, Offset: r.Offset}
		e.statements[j.member][field] = append(e.statements[j.member][field], s)
	}
}

// Newest returns what the newest event without poison states about a field of a member, and false
// if none does.
func (e *Expectation) Newest(member, field string) (newest Statement, ok bool) {
	for _, s := range e.statements[member][field] {
		if !s.Poison {
			newest, ok = s, true
		}
	}
	return newest, ok
}

// conclude sorts the statements and takes the newest one of each field.
func (e *Expectation) conclude() {
	for member, byField := range e.statements {
		for field, all := range byField {
			slices.SortFunc(all, func(a, b Statement) int { return cmp.Compare(a.Order, b.Order) })
			if newest, ok := e.Newest(member, field); ok {
				e.States[member][field] = newest.Value
			}
		}
	}
}
