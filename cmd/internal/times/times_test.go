package times_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"membersync/cmd/internal/times"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDuration(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"0": 0, "90s": 90 * time.Second, "2h": 2 * time.Hour, "1h30m": 90 * time.Minute, "3d": 72 * time.Hour, "3d4h": 76 * time.Hour,
		"0d0s": 0, "2d0h": 48 * time.Hour, "65535d": 65535 * 24 * time.Hour,
	} {
		if got, ok := times.ParseDuration(text); !ok || got != want {
			t.Errorf("%s is %v, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "d", "4", "-2h", "-1d", "+1d", "1.5d", "1d-2h", "1d+2h", "1d2", "4h3d", "1d1d", "65536d", "65535d2562047h", "yesterday"} {
		if got, ok := times.ParseDuration(text); ok {
			t.Errorf("%q is %v", text, got)
		}
	}
}

func TestTime(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"3d4h": now.Add(-76 * time.Hour), "2026-11-22T08:00:00Z": now.Add(-172 * time.Hour), "2026-11-22T16:00:00+08:00": now.Add(-172 * time.Hour),
	} {
		if got, ok := times.Parse(text, now); !ok || !got.Equal(want) {
			t.Errorf("%s is %v, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "yesterday", "2026-11-22", "2026-11-22 08:00:00", "-2h"} {
		if got, ok := times.Parse(text, now); ok {
			t.Errorf("%q is %v", text, got)
		}
	}
}
