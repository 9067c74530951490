package dlq

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func recordOf(action Action, number int, result string) AuditRecord {
	return AuditRecord{Action: action, Result: result, Detail: Detail{Number: number}}
}

func TestState(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		failure int32
		audit   []AuditRecord
		want    State
	}{
		"no audit records":                   {0, nil, StateOpen},
		"sent":                               {0, []AuditRecord{recordOf(ActionRedrive, 1, "")}, StateRedriving},
		"sent and applied":                   {0, []AuditRecord{recordOf(ActionRedrive, 1, ""), recordOf(ActionRedriveResult, 1, "applied")}, StateApplied},
		"unchanged":                          {0, []AuditRecord{recordOf(ActionRedriveResult, 1, "unchanged")}, StateApplied},
		"superseded":                         {0, []AuditRecord{recordOf(ActionRedriveResult, 1, "superseded")}, StateSuperseded},
		"a rule ignores it now":              {0, []AuditRecord{recordOf(ActionRedriveResult, 1, "ignored")}, StateDiscarded},
		"failed again":                       {1, []AuditRecord{recordOf(ActionRedrive, 1, ""), recordOf(ActionRedriveResult, 1, "dead_lettered")}, StateOpen},
		"failed again, not in the DLQ yet":   {0, []AuditRecord{recordOf(ActionRedrive, 1, ""), recordOf(ActionRedriveResult, 1, "dead_lettered")}, StateOpen},
		"failed again, no result yet":        {1, []AuditRecord{recordOf(ActionRedrive, 1, "")}, StateOpen},
		"failed again and sent again":        {1, []AuditRecord{recordOf(ActionRedrive, 1, ""), recordOf(ActionRedrive, 2, "")}, StateRedriving},
		"refused":                            {0, []AuditRecord{recordOf(ActionRedrive, 1, ""), recordOf(ActionRedriveResult, 1, "refused")}, StateOpen},
		"refused again":                      {1, []AuditRecord{recordOf(ActionRedriveResult, 1, "dead_lettered"), recordOf(ActionRedrive, 2, ""), recordOf(ActionRedriveResult, 2, "refused")}, StateOpen},
		"discarded, a copy refused":          {0, []AuditRecord{recordOf(ActionDiscard, 0, ""), recordOf(ActionRedriveResult, 1, "refused")}, StateDiscarded},
		"applied, a copy refused":            {0, []AuditRecord{recordOf(ActionRedrive, 1, ""), recordOf(ActionRedriveResult, 1, "applied"), recordOf(ActionRedriveResult, 2, "refused")}, StateApplied},
		"applied, a repeat is duplicate":     {0, []AuditRecord{recordOf(ActionRedriveResult, 1, "applied"), recordOf(ActionRedriveResult, 1, "duplicate")}, StateApplied},
		"only the repeat has a result":       {0, []AuditRecord{recordOf(ActionRedrive, 1, ""), recordOf(ActionRedriveResult, 1, "duplicate")}, StateRedriving},
		"failed and applied by a crash":      {1, []AuditRecord{recordOf(ActionRedriveResult, 1, "dead_lettered"), recordOf(ActionRedriveResult, 1, "applied")}, StateApplied},
		"discarded":                          {0, []AuditRecord{recordOf(ActionDiscard, 0, "")}, StateDiscarded},
		"discarded, then failed again":       {1, []AuditRecord{recordOf(ActionDiscard, 0, "")}, StateOpen},
		"discarded, then sent":               {0, []AuditRecord{recordOf(ActionDiscard, 0, ""), recordOf(ActionRedrive, 1, "")}, StateRedriving},
		"failed again, discarded":            {1, []AuditRecord{recordOf(ActionRedrive, 1, ""), recordOf(ActionDiscard, 1, "")}, StateDiscarded},
		"discarded while redriving, applied": {0, []AuditRecord{recordOf(ActionRedrive, 1, ""), recordOf(ActionDiscard, 1, ""), recordOf(ActionRedriveResult, 1, "applied")}, StateApplied},
		"applied once, failed later":         {2, []AuditRecord{recordOf(ActionRedriveResult, 1, "applied")}, StateOpen},
		"result of a later version":          {0, []AuditRecord{recordOf(ActionRedriveResult, 1, "something new")}, StateOpen},
	} {
		var a auditState
		for _, r := range c.audit {
			a.add(r)
		}
		if got := a.state(c.failure); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// What a replay leaves out, by the deliveries of one event: the number of the redrive, and that of
// the redrive that edited the value.
func TestReplaySkips(t *testing.T) {
	t.Parallel()
	type delivery struct{ number, edited int }
	original, plain, first, again, second := delivery{}, delivery{1, 0}, delivery{1, 1}, delivery{2, 1}, delivery{2, 2}
	result := func(number int, result string, edited bool) AuditRecord {
		r := recordOf(ActionRedriveResult, number, result)
		r.Detail.Edited = edited
		return r
	}
	for name, c := range map[string]struct {
		failure, edited int32 // of the latest dead letter
		audit           []AuditRecord
		runs, skips     []delivery
	}{
		"open":                   {0, 0, nil, nil, []delivery{original, plain, first}},
		"discarded":              {0, 0, []AuditRecord{recordOf(ActionDiscard, 0, "")}, nil, []delivery{original, plain}},
		"redriving":              {0, 0, []AuditRecord{recordOf(ActionRedrive, 1, "")}, []delivery{plain}, []delivery{original}},
		"redriving again":        {1, 1, []AuditRecord{recordOf(ActionRedrive, 2, "")}, []delivery{again, second}, []delivery{original, first}},
		"applied as it was":      {0, 0, []AuditRecord{result(1, "applied", false)}, []delivery{original, plain}, []delivery{second}},
		"applied, edited":        {0, 0, []AuditRecord{result(1, "applied", true)}, []delivery{first, again}, []delivery{original, plain, second}},
		"edited, then found so":  {0, 0, []AuditRecord{result(1, "applied", true), result(1, "applied", false)}, []delivery{first, again}, []delivery{original, plain, second}},
		"plain, then found so":   {0, 0, []AuditRecord{result(1, "applied", false), result(1, "applied", true)}, []delivery{original, plain}, []delivery{second}},
		"superseded, edited":     {0, 0, []AuditRecord{result(1, "superseded", true)}, []delivery{first}, []delivery{original}},
		"edited, failed, edited": {1, 1, []AuditRecord{result(1, "dead_lettered", true), result(2, "applied", true)}, []delivery{second}, []delivery{original, first, again}},
		"edited, failed, again":  {1, 1, []AuditRecord{result(1, "dead_lettered", true), result(2, "applied", false)}, []delivery{first, again}, []delivery{original, plain, second}},
		"ignored by a rule now":  {0, 0, []AuditRecord{result(1, "ignored", false)}, nil, []delivery{original, plain}},
	} {
		var a auditState
		for _, r := range c.audit {
			a.add(r)
		}
		v := (&entry{failure: c.failure, edited: c.edited, audit: &a}).itemState()
		for want, deliveries := range map[bool][]delivery{false: c.runs, true: c.skips} {
			for _, d := range deliveries {
				if got := v.ReplaySkips(d.number, d.edited); got != want {
					t.Errorf("%s: redrive %d with the value of edit %d is skipped: %v, want %v", name, d.number, d.edited, got, want)
				}
			}
		}
	}
}

// The audit topic's partitions are read in parallel, and the topic may hold a record twice.
func TestStateDoesNotDependOnTheOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		record := rapid.Custom(func(t *rapid.T) AuditRecord {
			action := rapid.SampledFrom([]Action{ActionRedrive, ActionRedriveResult, ActionDiscard, ActionReveal}).Draw(t, "action")
			// One number never has two different final results.
			result := rapid.SampledFrom([]string{"applied", "dead_lettered", "duplicate", "refused"}).Draw(t, "result")
			return recordOf(action, rapid.IntRange(0, 3).Draw(t, "number"), result)
		})
		all := rapid.SliceOfN(record, 0, 8).Draw(t, "records")
		failure := rapid.Int32Range(0, 3).Draw(t, "failure")
		var inOrder, shuffled auditState
		for _, r := range all {
			inOrder.add(r)
		}
		for _, r := range rapid.Permutation(all).Draw(t, "order") {
			shuffled.add(r)
			shuffled.add(r)
		}
		if inOrder.state(failure) != shuffled.state(failure) {
			t.Fatalf("%s in one order, %s in another", inOrder.state(failure), shuffled.state(failure))
		}
	})
}

func TestAuditStateKeepsTheTimeOfTheRequest(t *testing.T) {
	t.Parallel()
	at := time.UnixMilli(1_700_000_000_000).UTC()
	var a auditState
	r := recordOf(ActionRedrive, 1, "")
	r.At = at
	a.add(r)
	if i := (&entry{audit: &a}).item(DeadLetter{}); !i.RequestedAt.Equal(at) || i.Number != 1 {
		t.Errorf("requested at %v as number %d", i.RequestedAt, i.Number)
	}
}
