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
	}
}
