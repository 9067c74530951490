package consumer

import (
	"testing"
	"time"

	"membersync/dedupe"
)

// The rates are those of the last minute, or of the time since the start.
func TestRateMeter(t *testing.T) {
	t.Parallel()
	var (
		m rateMeter
		a activity
	)
	start := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	if got := m.measure(start, &a); got != (dedupe.Rates{}) {
		t.Errorf("at the start: %+v", got)
	}
	for i := 1; i <= 30; i++ { // 5 s apart; after two minutes nothing is done any more
		if i <= 24 {
			a.events.Add(10)
			a.calls.Add(5)
		}
		got := m.measure(start.Add(time.Duration(i)*5*time.Second), &a)
		window := min(i, 12)
		active := min(window, max(24-(i-window), 0))
		want := dedupe.Rates{Window: time.Duration(window) * 5 * time.Second, Events: 10 * active, Calls: 5 * active}
		if got != want {
			t.Fatalf("after %d s: %+v, want %+v", 5*i, got, want)
		}
	}
	if len(m.samples) > 14 {
		t.Errorf("%d samples are kept", len(m.samples))
	}
}
