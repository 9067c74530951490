package texts

import (
	"strings"
	"testing"
	"time"

	"membersync/cmd/internal/ops"
	"membersync/dedupe"
	"membersync/dlq"
)

// Each cause has one sentence of its own.
func TestSentences(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	item := &dlq.Item{ID: "1:7:0", State: dlq.StateOpen, Number: 1, DeadLetter: dlq.DeadLetter{Reason: dlq.ReasonCRMNotFound, FailedAt: at}}
	seen := map[string]ops.Cause{}
	for _, c := range ops.Causes() {
		e := ops.Evidence{
			Employee: "E1", Latest: &ops.Latest{EventID: "ev-1", Partition: 1, Offset: 7, Time: at}, DeadLetter: item, Earlier: item,
			Pending: []string{"qq"}, Paused: &ops.Pause{At: ops.Time{Time: at}, Actor: "sample@host", Note: "n"},
			Causes: []dedupe.PauseCause{{Cause: string(c), Since: at}},
		}
		if c == ops.CauseNoEvents {
			e.Latest = nil
		}
		text := Explain(c, e)
		if strings.Count(text, ". ") > 0 || !strings.HasSuffix(text, ".") {
			t.Errorf("%s: not one sentence: %s", c, text)
		}
		if other, twice := seen[text]; twice {
			t.Errorf("%s and %s have the same sentence: %s", c, other, text)
		}
		seen[text] = c
		if strings.Contains(text, "RUNBOOK") != strings.Contains(text, "dlq/RUNBOOK.md, section crm_not_found,") {
			t.Errorf("%s: the runbook without a section: %s", c, text)
		}
	}
}

// The sentence about a duplicate names the event that it repeats.
func TestSentenceAboutADuplicate(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	got := Explain(ops.CauseApplied, ops.Evidence{Latest: &ops.Latest{EventID: "mine-1", Partition: 4, Offset: 2, Time: at, Repeats: "4:1"}})
	want := "The latest event (mine-1 at 4:2, 2026-11-22T08:00:00Z) repeats the one at 4:1, which was applied; " +
		"if the CRM shows something else, it was changed there afterwards."
	if got != want {
		t.Error(got)
	}
}
