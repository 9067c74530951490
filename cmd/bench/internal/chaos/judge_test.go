package chaos_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"membersync/cmd/bench/internal/chaos"
	"membersync/cmd/internal/test/oracle/outcome"
)

const member = "FSUID_TEST0001"

// A counted holds the number of cases of each kind in a result.
type counted struct {
	Lost, Back, Overlap, ExcusedOverlap, Unexplained, Repeated, Copies int
}

func count(v chaos.Result) counted {
	return counted{
		len(v.Lost), len(v.Back), len(v.Overlap), len(v.ExcusedOverlap), len(v.Unexplained), v.Repeated, v.DeadLetterCopies,
	}
}

// record returns change number n of the member. It states the position.
func record(n int) outcome.Record {
	return outcome.Record{Offset: int64(n), Value: fmt.Appendf(nil,
		`{"eventId":"ev-%d","sequence":%d,"employeeId":"E1","openUserId":%q,"after":{"position":"p%d"}}`, n, n, member, n)}
}

// call sends the position of change n between two seconds. It took effect and was acknowledged.
func call(n int, from, to float64) chaos.Call {
	return chaos.Call{
		N: int(from * 10), Member: member, User: json.RawMessage(fmt.Sprintf(`{"openUserId":%q,"position":"p%d"}`, member, n)),
		Arrived: second(from), Finished: second(to), Applied: true, Answered: true,
	}
}

func crash(instance int, at float64) chaos.Crash {
	return chaos.Crash{Instance: instance, Signal: second(at), Dead: second(at + 0.02)}
}

func lost(c chaos.Call) chaos.Call { c.Answered, c.Gone = false, true; return c }

func unapplied(c chaos.Call) chaos.Call { c.Applied = false; return lost(c) }

func by(instance int, c chaos.Call) chaos.Call { c.Instance = instance; return c }

// flawless is a flawless trial of three changes, with poison at offset 9.
func flawless() chaos.Evidence {
	return chaos.Evidence{
		World:       outcome.World{Members: []string{member}, MaxRecordBytes: 1000},
		Records:     []outcome.Record{record(1), record(2), record(3), {Offset: 9, Value: []byte("{"), Time: time.UnixMilli(1)}},
		Calls:       []chaos.Call{call(1, 1, 1.1), call(2, 2, 2.1), call(3, 3, 3.1)},
		State:       map[string]map[string]string{member: {"position": `"p3"`}},
		DeadLetters: []string{"0:9@1"},
	}
}

// TestJudge adds a violation of each kind to a flawless trial.
func TestJudge(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		plant func(*chaos.Evidence)
		want  counted
	}{
		"flawless":              {func(*chaos.Evidence) {}, counted{}},
		"state old":             {func(e *chaos.Evidence) { e.State[member]["position"] = `"p2"` }, counted{Lost: 1}},
		"state empty":           {func(e *chaos.Evidence) { e.State = nil }, counted{Lost: 1}},
		"unknown field state":   {func(e *chaos.Evidence) { e.State[member]["qq"] = `"x"` }, counted{Unexplained: 1}},
		"offsets left":          {func(e *chaos.Evidence) { e.Unfinished = 2 }, counted{Lost: 1}},
		"no dead letter":        {func(e *chaos.Evidence) { e.DeadLetters = nil }, counted{Lost: 1}},
		"dead letter of good":   {func(e *chaos.Evidence) { e.DeadLetters = append(e.DeadLetters, "0:2:0@1") }, counted{Unexplained: 1}},
		"dead letter again":     {func(e *chaos.Evidence) { e.DeadLetters = append(e.DeadLetters, "0:9@1") }, counted{Copies: 1}},
		"a value of no event":   {func(e *chaos.Evidence) { e.Calls = append(e.Calls, call(8, 4, 4.1)) }, counted{Unexplained: 1}},
		"no user":               {func(e *chaos.Evidence) { e.Calls[0].User = nil }, counted{Unexplained: 1}},
		"repeated":              {func(e *chaos.Evidence) { e.Calls = append(e.Calls, call(3, 4, 4.1)) }, counted{Repeated: 1}},
		"repeated, no effect":   {func(e *chaos.Evidence) { e.Calls = append(e.Calls, unapplied(call(3, 4, 4.1))) }, counted{Repeated: 1}},
		"tried before":          {func(e *chaos.Evidence) { e.Calls = slices.Insert(e.Calls, 2, unapplied(call(3, 2.5, 2.6))) }, counted{}},
		"older afterwards":      {func(e *chaos.Evidence) { e.Calls = append(e.Calls, call(2, 4, 4.1)) }, counted{Back: 1}},
		"older and newer again": {func(e *chaos.Evidence) { e.Calls = append(e.Calls, call(2, 4, 4.1), call(3, 5, 5.1)) }, counted{Back: 1}},
		"older, no effect":      {func(e *chaos.Evidence) { e.Calls = append(e.Calls, unapplied(call(2, 4, 4.1))) }, counted{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := flawless()
			tc.plant(&e)
			v := chaos.Judge(e)
			if diff := cmp.Diff(tc.want, count(v)); diff != "" {
				t.Errorf("%s\n%+v", diff, v)
			}
		})
	}
}

// A producer that got no response to a batch writes it once more. What the CRM has rejected is a
// duplicate in the copy. What could not be read has no identity, so each copy is an event of its
// own.
func TestCopiesOfPoison(t *testing.T) {
	t.Parallel()
	stranger := bytes.ReplaceAll(record(5).Value, []byte(member), []byte("FSUID_TEST_UNKNOWN"))
	for name, tc := range map[string]struct {
		value       string
		deadLetters []string
		want        counted
	}{
		"rejected, the first":  {string(stranger), []string{"0:5:0@1"}, counted{}},
		"rejected, the second": {string(stranger), []string{"0:6:0@1"}, counted{}},
		"rejected, both":       {string(stranger), []string{"0:5:0@1", "0:6:0@1"}, counted{}},
		"rejected, neither":    {string(stranger), nil, counted{Lost: 2}},
		"unreadable, one":      {"{", []string{"0:5@1"}, counted{Lost: 1}},
		"unreadable, both":     {"{", []string{"0:5@1", "0:6@1"}, counted{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := flawless()
			for offset := range int64(2) {
				e.Records = append(e.Records, outcome.Record{Offset: 5 + offset, Value: []byte(tc.value), Time: time.UnixMilli(1)})
			}
			e.DeadLetters = append(e.DeadLetters, tc.deadLetters...)
			v := chaos.Judge(e)
			if diff := cmp.Diff(tc.want, count(v)); diff != "" {
				t.Errorf("%s\n%+v", diff, v)
			}
		})
	}
}

// What is lost is told with what is known of it: nothing else of a trial is left.
func TestLostIsTold(t *testing.T) {
	t.Parallel()
	e := flawless()
	e.Calls[2] = unapplied(e.Calls[2])
	e.State[member]["position"], e.DeadLetters, e.Unfinished = `"p2"`, nil, 2
	want := []string{
		"position of FSUID_TEST0001 has order [2] at the end, wanted 3 of partition 0, offset 3; " +
			"call 30 carried it (instance 0, " + second(3).Format("15:04:05.000") + " to " + second(3.1).Format("15:04:05.000") +
			", applied false, answered false)",
		"2 offsets are not committed",
		`no dead letter 0:9@1 of event "", malformed`,
	}
	if diff := cmp.Diff(want, chaos.Judge(e).Lost); diff != "" {
		t.Error(diff)
	}
}

// Overlapping calls are excused only if the client of the first was gone and both are the same.
func TestOverlap(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		calls   []chaos.Call
		crashes []chaos.Crash
		losses  []chaos.Loss
		overlap bool
		excused bool
	}{
		"one after the other":       {calls: []chaos.Call{call(1, 1, 2), call(3, 2, 3)}},
		"at once":                   {calls: []chaos.Call{call(1, 1, 2), call(3, 1.9, 3)}, overlap: true},
		"the same at once":          {calls: []chaos.Call{call(3, 1, 2), call(3, 1.9, 3)}, overlap: true},
		"one that takes long":       {calls: []chaos.Call{call(1, 1, 9), call(2, 3, 4), call(3, 10, 11)}, overlap: true},
		"of others":                 {calls: []chaos.Call{call(1, 1, 2), call(3, 1.9, 3)}, crashes: []chaos.Crash{crash(1, 1.5)}, overlap: true},
		"another after a cut":       {calls: []chaos.Call{call(1, 1, 2), call(3, 1.9, 3)}, losses: []chaos.Loss{{Span: span(1.5, 1.6), Instance: -1, CRM: true}}, overlap: true},
		"the same after a cut":      {calls: []chaos.Call{call(3, 1, 2), call(3, 1.9, 3)}, losses: []chaos.Loss{{Span: span(1.5, 1.6), Instance: -1, CRM: true}}, overlap: true, excused: true},
		"the same, cut from Redis":  {calls: []chaos.Call{call(3, 1, 2), call(3, 1.9, 3)}, losses: []chaos.Loss{{Span: span(1.5, 1.6), Instance: -1, Redis: true}}, overlap: true},
		"the same after a kill":     {calls: []chaos.Call{call(3, 1, 2), by(1, call(3, 1.9, 3))}, crashes: []chaos.Crash{crash(0, 1.5)}, overlap: true, excused: true},
		"the same before a kill":    {calls: []chaos.Call{call(3, 1, 2), by(1, call(3, 1.4, 3))}, crashes: []chaos.Crash{crash(0, 1.5)}, overlap: true},
		"its client had gone":       {calls: []chaos.Call{lost(call(3, 1, 2)), call(3, 1.9, 3)}, overlap: true, excused: true},
		"another; its client had":   {calls: []chaos.Call{lost(call(1, 1, 2)), call(3, 1.9, 3)}, overlap: true},
		"the later one's client is": {calls: []chaos.Call{call(3, 1, 2), lost(call(3, 1.9, 3))}, overlap: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := flawless()
			e.Calls, e.Crashes, e.Losses = tc.calls, tc.crashes, tc.losses
			v := chaos.Judge(e)
			if (len(v.Overlap)+len(v.ExcusedOverlap) == 1) != tc.overlap || (len(v.ExcusedOverlap) == 1) != tc.excused {
				t.Errorf("%q, excused %q", v.Overlap, v.ExcusedOverlap)
			}
		})
	}
}

// A trial without calls has no cases.
func TestNoCalls(t *testing.T) {
	t.Parallel()
	if v := chaos.Judge(chaos.Evidence{}); v.Repeats() != 0 || count(v) != (counted{}) {
		t.Errorf("%+v", v)
	}
	if v := (chaos.Result{Calls: 50, Repeated: 1}); v.Repeats() != 0.02 {
		t.Errorf("share %v", v.Repeats())
	}
}
