package chaos

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"membersync/cmd/internal/test/oracle/outcome"
)

// A Result lists the promises that were broken, with one text for each case. No text holds a value
// of a member field. A list whose name begins with Excused holds cases that the README names as
// exceptions, by the rules of [Judge].
type Result struct {
	Calls, Applied, Records, Duplicates, Poison int

	Lost             []string // fields whose final value is not the newest, missing dead letters, uncommitted offsets
	Back             []string // fields that took a value older than the one before
	Overlap          []string // calls of one member at the same time
	ExcusedOverlap   []string
	Unexplained      []string // fields sent that no event states, dead letters without poison
	Repeated         int      // calls that change nothing
	DeadLetterCopies int      // additional dead letters of one event
}

// Repeats returns the share of the calls that were repeated.
func (v Result) Repeats() float64 {
	if v.Calls == 0 {
		return 0
	}
	return float64(v.Repeated) / float64(v.Calls)
}

// Judge compares the evidence with the outcome that the records require.
//
// Two overlapping calls are excused if the client of the first was gone before the second arrived,
// so that only the CRM was still working on it: its instance was killed or its connections were cut
// before that, or the CRM itself noticed. Both must be exactly the same update, since nothing else
// may be sent while the lease of an unacknowledged call lives.
func Judge(e Evidence) Result {
	expect := outcome.Expect(e.World, e.Records)
	j := &judge{
		evidence: &e, expect: &expect, last: make(map[key]position),
		v: Result{
			Calls: len(e.Calls), Records: len(e.Records), Duplicates: expect.Duplicates, Poison: len(expect.DeadLetters),
		},
	}
	j.follow()
	j.overlaps()
	j.final()
	j.deadLetters()
	return j.v
}

type key struct{ member, field string }

// A position is the order of a field's current value and the latest call that carried it.
type position struct {
	order uint64
	call  Call
}

type judge struct {
	evidence *Evidence
	expect   *outcome.Expectation
	last     map[key]position
	v        Result
}

// follow checks each field of each member through all calls.
func (j *judge) follow() {
	for _, c := range j.evidence.Calls {
		user := make(map[string]json.RawMessage)
		if json.Unmarshal(c.User, &user) != nil {
			j.v.Unexplained = append(j.v.Unexplained, fmt.Sprintf("call %d: no user object", c.N))
			continue
		}
		delete(user, "openUserId")
		if c.Applied {
			j.v.Applied++
		}
		news := false
		for _, field := range slices.Sorted(maps.Keys(user)) {
			news = j.step(c, key{c.Member, field}, outcome.Canonical(user[field])) || news
		}
		if !news {
			j.v.Repeated++
		}
	}
}

// step applies one field of a call and reports whether it changed the value.
func (j *judge) step(c Call, k key, value string) (news bool) {
	orders := j.expect.Orders(k.member, k.field, value, !c.Applied)
	if len(orders) == 0 {
		j.v.Unexplained = append(j.v.Unexplained, fmt.Sprintf("call %d: %s of %s", c.N, k.field, k.member))
		return true
	}
	last, order := j.last[k], orders[len(orders)-1]
	if order == last.order { // sent again or tried before: from now on this call's completion counts
		j.last[k] = position{order, c}
		return false
	}
	if !c.Applied {
		return true
	}
	if order < last.order {
		j.v.Back = append(j.v.Back, fmt.Sprintf("%s of %s: order %d by call %d (instance %d, %s) after %d by call %d (instance %d, %s to %s)",
			k.field, k.member, order, c.N, c.Instance, clock(c.Arrived),
			last.order, last.call.N, last.call.Instance, clock(last.call.Arrived), clock(last.call.Finished)))
	}
	j.last[k] = position{order, c}
	return true
}

// overlaps finds calls of one member that were open at the same time.
func (j *judge) overlaps() {
	open := make(map[string][]Call)
	for _, c := range j.evidence.Calls {
		still := slices.DeleteFunc(open[c.Member], func(o Call) bool { return !o.Finished.After(c.Arrived) })
		for _, o := range still {
			text := fmt.Sprintf("%s: call %d (instance %d, %s to %s) and call %d (instance %d, %s)", c.Member,
				o.N, o.Instance, clock(o.Arrived), clock(o.Finished), c.N, c.Instance, clock(c.Arrived))
			if j.abandoned(o, c) && o.same(c) {
				j.v.ExcusedOverlap = append(j.v.ExcusedOverlap, text)
				continue
			}
			j.v.Overlap = append(j.v.Overlap, text)
		}
		open[c.Member] = append(still, c)
	}
}

// abandoned reports whether the client of a call was gone before another arrived.
func (j *judge) abandoned(c, next Call) bool {
	between := Span{c.Arrived, next.Arrived}
	return c.Gone || j.evidence.crashed(c.Instance, between) || j.evidence.lost(c.Instance, between, func(l Loss) bool { return l.CRM })
}

// final checks the state at the end.
func (j *judge) final() {
	for _, member := range slices.Sorted(maps.Keys(j.expect.States)) {
		want, got := j.expect.States[member], j.evidence.State[member]
		for _, field := range slices.Sorted(maps.Keys(want)) {
			if got[field] != want[field] {
				j.v.Lost = append(j.v.Lost, j.stale(key{member, field}, got[field]))
			}
		}
		for _, field := range slices.Sorted(maps.Keys(got)) {
			if _, stated := want[field]; !stated {
				j.v.Unexplained = append(j.v.Unexplained, fmt.Sprintf("%s of %s has a value at the end", field, member))
			}
		}
	}
	if j.evidence.Unfinished != 0 {
		j.v.Lost = append(j.v.Lost, fmt.Sprintf("%d offsets are not committed", j.evidence.Unfinished))
	}
}

// stale says what a field holds at the end instead of its newest value, and which calls carried
// that.
func (j *judge) stale(k key, got string) string {
	newest, _ := j.expect.Newest(k.member, k.field)
	text := []string{fmt.Sprintf("%s of %s has order %v at the end, wanted %d of partition %d, offset %d", k.field, k.member,
		j.expect.Orders(k.member, k.field, got, true), newest.Order, newest.Partition, newest.Offset)}
	for _, c := range j.evidence.Calls {
		user := make(map[string]json.RawMessage)
		if c.Member != k.member || json.Unmarshal(c.User, &user) != nil || outcome.Canonical(user[k.field]) != newest.Value {
			continue
		}
		text = append(text, fmt.Sprintf("call %d carried it (instance %d, %s to %s, applied %t, answered %t)",
			c.N, c.Instance, clock(c.Arrived), clock(c.Finished), c.Applied, c.Answered))
	}
	return strings.Join(text, "; ")
}

// deadLetters compares the dead letters with the poison. A copy of an event that the CRM rejects
// may have one of its own, or be a duplicate of the one that has.
func (j *judge) deadLetters() {
	want, about, rejected := make(map[string]int), make(map[string]outcome.DeadLetter), make(map[string]bool)
	for _, l := range j.expect.DeadLetters {
		want[l.ID], about[l.ID] = 0, l
	}
	for _, id := range j.evidence.DeadLetters {
		n, planted := want[id]
		if !planted {
			j.v.Unexplained = append(j.v.Unexplained, "dead letter "+id)
			continue
		}
		want[id] = n + 1
		if l := about[id]; l.Code != "" {
			rejected[string(l.Record.Value)] = true
		}
		j.v.DeadLetterCopies += min(n, 1)
	}
	for _, id := range slices.Sorted(maps.Keys(want)) {
		if l := about[id]; want[id] == 0 && !rejected[string(l.Record.Value)] {
			j.v.Lost = append(j.v.Lost, fmt.Sprintf("no dead letter %s of event %q, %s", id, l.EventID, l.Reason))
		}
	}
}

func clock(t time.Time) string { return t.Format("15:04:05.000") }
