package incident

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"membersync/cmd/internal/test/oracle/outcome"
)

// How many fields of a dead letter have newer values.
const (
	All  = "all"
	Some = "some"
	None = "none"
)

// The outcomes of a redrive.
const (
	Applied    = "applied"
	Superseded = "superseded"
	Either     = "" // depends on which events run together
)

// An Item is a dead letter.
type Item struct {
	ID, EventID, EmployeeID string
	NewerValues             string
	Outcome                 string // of its redrive after the fix
}

// An Expectation is the required result of the records.
type Expectation struct {
	Items map[string]Item
	// Before and After hold the CRM's state before the redrives and after all of them, by member and
	// field.
	Before, After map[string]map[string]string

	byMember map[string][]*event // in rising order
}

// An event is what one record states.
type event struct {
	change
	id     string // of its dead letter
	order  string // compared as text: the newer is the larger
	states map[string]string
	at     time.Time
	dead   bool
	poison bool // rejected after the fix too
	copied bool // a copy of a good event
}

// Expect reads the records. known holds the departments of the table at first, fixed those of the
// fixed table.
func Expect(records []outcome.Record, known, fixed map[string]int64) (Expectation, error) {
	e := Expectation{Items: map[string]Item{}, byMember: map[string][]*event{}}
	seen := map[string]bool{}
	for _, r := range records {
		ev, err := read(r, known, fixed)
		if err != nil {
			return e, err
		}
		ev.copied = seen[ev.EventID] && !ev.dead
		seen[ev.EventID] = true
		e.byMember[ev.OpenUserID] = append(e.byMember[ev.OpenUserID], ev)
	}
	for _, events := range e.byMember {
		slices.SortFunc(events, func(a, b *event) int { return cmp.Compare(a.order, b.order) })
		for _, ev := range events {
			if ev.dead {
				e.Items[ev.id] = e.judge(ev)
			}
		}
	}
	e.Before = e.holds(func(ev *event) bool { return !ev.dead })
	e.After = e.holds(func(*event) bool { return true })
	return e, nil
}

func read(r outcome.Record, known, fixed map[string]int64) (*event, error) {
	ev := &event{id: fmt.Sprintf("%d:%d:0@%d", r.Partition, r.Offset, r.Time.UnixMilli()), states: map[string]string{}, at: r.Time}
	if err := json.Unmarshal(r.Value, &ev.change); err != nil {
		return nil, fmt.Errorf("record %s is not an event: %w", ev.id, err)
	}
	ev.order = fmt.Sprintf("%010d %020d %05d %020d", ev.Sequence, r.Time.UnixMilli(), r.Partition, r.Offset)
	if _, has := ev.After["gender"]; has { // good events never state a gender
		ev.poison = true
		return ev, nil
	}
	for name, value := range ev.After {
		if before, had := ev.Before[name]; had && before == value {
			continue
		}
		if name != "dept" {
			ev.states[name] = strconv.Quote(value)
			continue
		}
		ev.states["mainDepartmentId"] = strconv.FormatInt(fixed[value], 10)
		_, found := known[value]
		ev.dead = !found
	}
	return ev, nil
}

// holds returns the newest value of each field among the counted events.
func (e *Expectation) holds(count func(*event) bool) map[string]map[string]string {
	all := map[string]map[string]string{}
	for member, events := range e.byMember {
		all[member] = map[string]string{}
		for _, ev := range slices.DeleteFunc(slices.Clone(events), func(ev *event) bool { return !count(ev) }) {
			maps.Copy(all[member], ev.states)
		}
	}
	return all
}

// judge finds newer values than a dead letter's, field by field. A dead letter supersedes nothing
// before it is redriven.
func (e *Expectation) judge(ev *event) Item {
	item := Item{ID: ev.id, EventID: ev.EventID, EmployeeID: ev.EmployeeID, NewerValues: Some, Outcome: Either}
	newer, own := 0, false
	for name := range ev.states {
		byLive, byDead := e.newer(ev, name)
		if byLive {
			newer++
		}
		own = own || !byLive && !byDead
	}
	switch newer {
	case 0:
		item.NewerValues = None
	case len(ev.states):
		item.NewerValues = All
	}
	switch {
	case own:
		item.Outcome = Applied
	case item.NewerValues == All:
		item.Outcome = Superseded
	}
	return item
}

func (e *Expectation) newer(than *event, field string) (byLive, byDead bool) {
	for _, ev := range e.byMember[than.OpenUserID] {
		if _, states := ev.states[field]; states && ev.order > than.order && !ev.copied {
			byLive, byDead = byLive || !ev.dead, byDead || ev.dead
		}
	}
	return byLive, byDead
}

// NewerValues counts the items by how many of their fields have newer values.
func (e *Expectation) NewerValues() map[string]int {
	n := map[string]int{}
	for _, item := range e.Items {
		n[item.NewerValues]++
	}
	return n
}

// Back follows each field of each member through the calls that took effect, in their order. It
// returns a text for each older value after a newer one, and for each value that no event states.
// Where several events state a value, it counts as the oldest one that is not older than the
// previous value.
func (e *Expectation) Back(calls []outcome.Call) (problems []string) {
	last := map[[2]string]string{}
	for i, c := range calls {
		var user map[string]json.RawMessage
		if err := json.Unmarshal(c.User, &user); err != nil {
			problems = append(problems, fmt.Sprintf("call %d has no user object", i))
			continue
		}
		delete(user, "openUserId")
		for name, value := range user {
			key, order, stated := [2]string{c.Member, name}, "", false
			for _, ev := range e.byMember[c.Member] {
				if ev.states[name] == string(value) {
					stated = true
					if order == "" && ev.order >= last[key] {
						order = ev.order
					}
				}
			}
			switch {
			case !stated:
				problems = append(problems, fmt.Sprintf("call %d sets %s of %s to a value that no event states", i, name, c.Member))
			case order == "":
				problems = append(problems, fmt.Sprintf("call %d sets %s of %s to an older value", i, name, c.Member))
			default:
				last[key] = order
			}
		}
	}
	return problems
}

// Sent counts, for each item, the calls with a value that no other event of the employee states.
// Items without such a value are left out.
func (e *Expectation) Sent(calls []outcome.Call) map[string]int {
	own := map[[3]string]string{} // the item, by member, field and value
	for member, events := range e.byMember {
		for _, ev := range events {
			for name, value := range ev.states {
				key := [3]string{member, name, value}
				if _, twice := own[key]; twice || !ev.dead {
					own[key] = ""
				} else {
					own[key] = ev.id
				}
			}
		}
	}
	sent := map[string]int{}
	for _, id := range own {
		sent[id] = 0
	}
	for _, c := range calls {
		var user map[string]json.RawMessage
		_ = json.Unmarshal(c.User, &user) // Back reports invalid ones
		in := map[string]bool{}
		for name, value := range user {
			in[own[[3]string{c.Member, name, string(value)}]] = true
		}
		for id := range in {
			sent[id]++
		}
	}
	delete(sent, "")
	return sent
}
