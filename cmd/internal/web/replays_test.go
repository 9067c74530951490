package web

import (
	"strings"
	"testing"
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
