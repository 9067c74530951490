package texts

import (
	"strings"
	"testing"
	"time"

	"membersync/cmd/internal/ops"
)

// Each cause has one sentence and one line of advice of its own.
func TestStatus(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	left := int64(3600)
	seen := map[string]ops.StatusCause{}
	for _, c := range ops.StatusCauses() {
		st := ops.Status{
			At: ops.Time{Time: at}, Causes: []ops.CauseState{{
				Cause: c, Since: ops.Time{Time: at.Add(-10 * time.Minute)}, Next: ops.Time{Time: at.Add(3 * time.Second)},
			}},
			Lag: &ops.Lag{Records: 12, Seconds: 90, Headroom: &left}, CurrentAt: ops.Time{Time: at.Add(5 * time.Minute)},
			Paused: &ops.Pause{At: ops.Time{Time: at}, Actor: "sample@host", Note: "n"},
		}
		sentence, advice := Status(st)
		if strings.Count(sentence, ". ") > 0 || !strings.HasSuffix(sentence, ".") {
			t.Errorf("%s: not one sentence: %s", c, sentence)
		}
		if advice == "" || strings.Contains(advice, "\n") || strings.HasPrefix(sentence, "The service is paused:") {
			t.Errorf("%s: sentence %q, advice %q", c, sentence, advice)
		}
		if other, twice := seen[sentence]; twice {
			t.Errorf("%s and %s have the same sentence: %s", c, other, sentence)
		}
		seen[sentence] = c
	}
}

func TestDuration(t *testing.T) {
	t.Parallel()
	for want, d := range map[string]time.Duration{
		"0s": -time.Second, "45s": 45*time.Second + time.Millisecond, "12m": 12*time.Minute + time.Second, "2h": 2 * time.Hour,
		"2h5m": 2*time.Hour + 5*time.Minute, "47h59m": 48*time.Hour - time.Second, "3d4h": 76 * time.Hour, "3d": 72 * time.Hour,
	} {
		if got := Duration(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}
