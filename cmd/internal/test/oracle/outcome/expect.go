package outcome

import (
	"cmp"
	"slices"
)

// A Statement is what one event says of one field.
type Statement struct {
	Value  string // as the CRM gets it, spelt by Canonical
	Order  uint64
	Poison bool // of an event that the CRM has to refuse
}

// An Expectation is what has to be true when all records have been dealt with.
type Expectation struct {
	States     map[string]map[string]string // of every member, by field; spelt by Canonical
	Letters    []Letter
	Duplicates int // further deliveries of an event
	Stating    int // events, without poison and duplicates, that state a field
	Empty      int // and those that state none

	statements map[string]map[string][]Statement // by member and field, in rising order
}

// Expect works out what has to come of the records. For each field of each member the newest event that states
// it counts. Poison contributes nothing. Which of two deliveries of an event comes first does not matter.
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
		if j.letter == nil && seen[id] {
			e.Duplicates++
			continue
		}
		seen[id] = true
		e.add(j)
	}
	e.conclude()
	return e
}

func (e *Expectation) add(j judgement) {
	switch {
	case j.letter != nil:
		e.Letters = append(e.Letters, *j.letter)
		if j.letter.Code == "" {
			return // it never comes as far as the CRM
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
		s := Statement{Value: value, Order: j.order, Poison: j.letter != nil}
		e.statements[j.member][field] = append(e.statements[j.member][field], s)
	}
}

// conclude sorts the statements and takes the newest of each field.
func (e *Expectation) conclude() {
	for member, byField := range e.statements {
		for field, all := range byField {
			slices.SortFunc(all, func(a, b Statement) int { return cmp.Compare(a.Order, b.Order) })
			for _, s := range all {
				if !s.Poison {
					e.States[member][field] = s.Value
				}
			}
		}
	}
}
