package dlq

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func said(action Action, number int, result string) AuditRecord {
	return AuditRecord{Action: action, Result: result, Detail: Detail{Number: number}}
}

func TestState(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		death int32
		audit []AuditRecord
		want  State
	}{
		"nobody has looked":             {0, nil, StateOpen},
		"sent":                          {0, []AuditRecord{said(ActionRedrive, 1, "")}, StateRedriving},
		"sent and applied":              {0, []AuditRecord{said(ActionRedrive, 1, ""), said(ActionRedriveResult, 1, "applied")}, StateApplied},
		"the CRM held it":               {0, []AuditRecord{said(ActionRedriveResult, 1, "unchanged")}, StateApplied},
		"superseded":                    {0, []AuditRecord{said(ActionRedriveResult, 1, "superseded")}, StateSuperseded},
		"a rule ignores it now":         {0, []AuditRecord{said(ActionRedriveResult, 1, "ignored")}, StateDiscarded},
		"dead again":                    {1, []AuditRecord{said(ActionRedrive, 1, ""), said(ActionRedriveResult, 1, "dead_lettered")}, StateOpen},
		"dead again, letter not seen":   {0, []AuditRecord{said(ActionRedrive, 1, ""), said(ActionRedriveResult, 1, "dead_lettered")}, StateOpen},
		"dead again, result not yet":    {1, []AuditRecord{said(ActionRedrive, 1, "")}, StateOpen},
		"dead again and sent again":     {1, []AuditRecord{said(ActionRedrive, 1, ""), said(ActionRedrive, 2, "")}, StateRedriving},
		"refused":                       {0, []AuditRecord{said(ActionRedrive, 1, ""), said(ActionRedriveResult, 1, "refused")}, StateOpen},
		"refused again":                 {1, []AuditRecord{said(ActionRedriveResult, 1, "dead_lettered"), said(ActionRedrive, 2, ""), said(ActionRedriveResult, 2, "refused")}, StateOpen},
		"discarded, a copy refused":     {0, []AuditRecord{said(ActionDiscard, 0, ""), said(ActionRedriveResult, 1, "refused")}, StateDiscarded},
		"applied, a copy refused":       {0, []AuditRecord{said(ActionRedrive, 1, ""), said(ActionRedriveResult, 1, "applied"), said(ActionRedriveResult, 2, "refused")}, StateApplied},
		"a repeat says duplicate":       {0, []AuditRecord{said(ActionRedriveResult, 1, "applied"), said(ActionRedriveResult, 1, "duplicate")}, StateApplied},
		"only the repeat is heard":      {0, []AuditRecord{said(ActionRedrive, 1, ""), said(ActionRedriveResult, 1, "duplicate")}, StateRedriving},
		"a crash let it die and apply":  {1, []AuditRecord{said(ActionRedriveResult, 1, "dead_lettered"), said(ActionRedriveResult, 1, "applied")}, StateApplied},
		"discarded":                     {0, []AuditRecord{said(ActionDiscard, 0, "")}, StateDiscarded},
		"discarded, then dead again":    {1, []AuditRecord{said(ActionDiscard, 0, "")}, StateOpen},
		"discarded, then sent":          {0, []AuditRecord{said(ActionDiscard, 0, ""), said(ActionRedrive, 1, "")}, StateRedriving},
		"dead again, discarded":         {1, []AuditRecord{said(ActionRedrive, 1, ""), said(ActionDiscard, 1, "")}, StateDiscarded},
		"discarded on the way, applied": {0, []AuditRecord{said(ActionRedrive, 1, ""), said(ActionDiscard, 1, ""), said(ActionRedriveResult, 1, "applied")}, StateApplied},
		"applied once, dead later":      {2, []AuditRecord{said(ActionRedriveResult, 1, "applied")}, StateOpen},
		"of a later version":            {0, []AuditRecord{said(ActionRedriveResult, 1, "something new")}, StateOpen},
	} {
		var f fate
		for _, a := range c.audit {
			f.add(a)
		}
		if got := f.state(c.death); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// The audit topic's partitions are read beside each other, and a record may stand there twice.
func TestStateDoesNotDependOnTheOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		record := rapid.Custom(func(t *rapid.T) AuditRecord {
			a := rapid.SampledFrom([]Action{ActionRedrive, ActionRedriveResult, ActionDiscard, ActionReveal}).Draw(t, "action")
			// Two different final results of one number do not happen.
			result := rapid.SampledFrom([]string{"applied", "dead_lettered", "duplicate", "refused"}).Draw(t, "result")
			return said(a, rapid.IntRange(0, 3).Draw(t, "number"), result)
		})
		all := rapid.SliceOfN(record, 0, 8).Draw(t, "records")
		death := rapid.Int32Range(0, 3).Draw(t, "death")
		var straight, shuffled fate
		for _, a := range all {
			straight.add(a)
		}
		for _, a := range rapid.Permutation(all).Draw(t, "order") {
			shuffled.add(a)
			shuffled.add(a)
		}
		if straight.state(death) != shuffled.state(death) {
			t.Fatalf("%s in one order, %s in another", straight.state(death), shuffled.state(death))
		}
	})
}

func TestItemID(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"0:0", "3:1042:0", "redrive:3:1042", "2147483647:9223372036854775807:1000"} {
		id, ok := parseItemID(text)
		if !ok || formatItemID(id) != text {
			t.Errorf("%q came back as %q, %v", text, formatItemID(id), ok)
		}
	}
	for _, text := range []string{"", "1", "a:1", "1:b", "-1:0", "1:-2", "1:2:3:4", "1:2:", "redrive:", "2147483648:0"} {
		if IsID(text) {
			t.Errorf("%q is taken for an id", text)
		}
	}
}

func TestFateKeepsWhenItWasSent(t *testing.T) {
	t.Parallel()
	at := time.UnixMilli(1_700_000_000_000).UTC()
	s := &Index{fates: map[itemID]*fate{{}: {}}}
	a := said(ActionRedrive, 1, "")
	a.At = at
	s.fates[itemID{}].add(a)
	if i := s.item(&entry{}, DeadLetter{}); !i.RequestedAt.Equal(at) || i.Number != 1 {
		t.Errorf("requested at %v as number %d", i.RequestedAt, i.Number)
	}
}
