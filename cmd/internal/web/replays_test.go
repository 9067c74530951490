package web

import (
	"strings"
	"testing"
	"time"

	"membersync/cmd/internal/ops"
)

// Each offset is a flag of its own, as the command wants it.
func TestRangeFlags(t *testing.T) {
	t.Parallel()
	got := command(append([]string{"replay"}, rangeFlags("0:5  1:7", "2026-11-22T08:00:00Z")...)...)
	if want := "membersync replay --from 0:5 --from 1:7 --to 2026-11-22T08:00:00Z"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := rangeFlags("earliest", ""); strings.Join(got, " ") != "--from earliest" {
		t.Errorf("got %v", got)
	}
}

func TestLabelOfTheLagChart(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	for most, want := range map[int64]string{1: "at most 1 record", 1200: "at most 1,200 records"} {
		c := newRangeChart([]ops.Sample{{At: at}, {At: at.Add(time.Minute), Lag: most}})
		if want := "Lag from 08:00:00 UTC to 08:01:00 UTC, " + want; c.Label != want {
			t.Errorf("got %q, want %q", c.Label, want)
		}
	}
}
