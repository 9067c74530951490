package main

import (
	"slices"
	"testing"
	"time"

	"membersync/cmd/bench/internal/chaos"
	"membersync/cmd/internal/test/oracle/outcome"
)

func moment(seconds float64) time.Time {
	return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Add(time.Duration(seconds * float64(time.Second)))
}

// called returns a call that took a tenth of a second and ended at the given second.
func called(member string, finished float64, answered bool) chaos.Call {
	return chaos.Call{Member: member, Arrived: moment(finished - 0.1), Finished: moment(finished), Answered: answered}
}

// The CRM is away from second 10 to second 20. Member a fails (sick), b does not.
func TestOutageCounts(t *testing.T) {
	t.Parallel()
	calls := []chaos.Call{
		called("b", 0.1, true), called("a", 1, true), called("b", 5, true), called("a", 11, false), called("b", 12, true),
		called("b", 13, true), called("b", 14, true), called("b", 21, true), called("c", 22, true), called("a", 23, true), called("a", 29, true),
	}
	var a outageResult
	a.count(calls, moment(10), moment(20), map[string]bool{"a": true, "c": true}, map[string]bool{"a": true})
	if a.failedCalls != 1 || a.failedMembers != 2 || a.first != time.Second || a.firstFailed != 2*time.Second || a.allBack != 3*time.Second {
		t.Errorf("%+v", a)
	}
	if a.othersBefore != 0.2 || a.othersDuring != 0.3 {
		t.Errorf("others: %v before, %v during", a.othersBefore, a.othersDuring)
	}
	var never outageResult
	never.count(calls[:5], moment(10), moment(20), map[string]bool{"a": true}, nil)
	if never.firstFailed < time.Hour {
		t.Errorf("served after %v, but it was not", never.firstFailed)
	}
}

// The records of a do not count, since a fails, and neither does a record without a later call.
func TestDelays(t *testing.T) {
	t.Parallel()
	record := func(member string) outcome.Record {
		return outcome.Record{Value: []byte(`{"openUserId":"` + member + `"}`)}
	}
	records := []outcome.Record{record("a"), record("b"), record("b"), record("b"), record("b"), {Value: []byte("{")}}
	written := []time.Time{moment(1), moment(2), moment(11), moment(16), moment(21), moment(12)}
	calls := []chaos.Call{called("a", 2, true), called("b", 2.5, true), called("b", 12, false), called("b", 14, true)}
	before, during := delays(records, written, calls, moment(10), moment(20), map[string]bool{"a": true})
	if !slices.Equal(before, []time.Duration{time.Second / 2}) || !slices.Equal(during, []time.Duration{3 * time.Second}) {
		t.Errorf("before %v, during %v", before, during)
	}
}

func TestWhoHadFailed(t *testing.T) {
	t.Parallel()
	calls := []chaos.Call{called("a", 9, false), called("b", 12, false), called("c", 13, true), called("d", 21, false)}
	o := outage{employees: 3, partitions: 1}
	workload := chaos.NewWorkload(chaos.Spec{Employees: 3, Partitions: 1})
	busy := outageTrial{outage: o, mode: modeBusy, workload: workload}
	if got := busy.waitingAt(calls, moment(10), moment(20)); len(got) != 1 || !got["b"] {
		t.Errorf("%v", got)
	}
	refused := outageTrial{outage: o, mode: modeRefused, workload: workload}
	if got := refused.waitingAt(nil, moment(10), moment(20)); len(got) != 3 {
		t.Errorf("%v", got)
	}
}
