package gate_test

import (
	"slices"
	"testing"
	"time"

	"membersync/consumer/event"
	"membersync/consumer/schedule/gate"
)

// at returns the time that is so many seconds after the start of the test.
func at(seconds float64) time.Time {
	return time.Unix(1000, 0).Add(time.Duration(seconds * float64(time.Second)))
}

func wantOpen(t *testing.T, g *gate.Gate, seconds float64, probe bool) {
	t.Helper()
	if a := g.Ask(at(seconds)); !a.Open || a.Probe != probe {
		t.Fatalf("at %v s: %+v, want open, probe %v", seconds, a, probe)
	}
}

func wantClosed(t *testing.T, g *gate.Gate, seconds, until float64) {
	t.Helper()
	if a := g.Ask(at(seconds)); a.Open || !a.Until.Equal(at(until)) {
		t.Fatalf("at %v s: %+v, want closed until %v s", seconds, a, at(until))
	}
}

func TestTheGateIsOpenUntilClosed(t *testing.T) {
	t.Parallel()
	var g gate.Gate
	wantOpen(t, &g, 0, false)
	if !g.Close(at(0), event.CauseThrottled, 0) || g.Close(at(0), event.CauseThrottled, 0) {
		t.Fatal("only the first Close of a cause must report a new pause")
	}
	wantClosed(t, &g, 0, 1)
	wantOpen(t, &g, 1, true)
	wantClosed(t, &g, 1, 3) // twice the first wait
	wantOpen(t, &g, 3, true)
	if ended := g.Succeeded(); !slices.Equal(ended, []event.Cause{event.CauseThrottled}) {
		t.Fatalf("ended %v", ended)
	}
	wantOpen(t, &g, 3, false)
}

func TestTheFloorIsAMinimum(t *testing.T) {
	t.Parallel()
	var g gate.Gate
	g.Close(at(0), event.CauseThrottled, 20*time.Second)
	wantClosed(t, &g, 1, 20)
	g.Close(at(1), event.CauseThrottled, 30*time.Second) // the floor of a response to a call that was in flight
	wantClosed(t, &g, 2, 31)
}

func TestARefusalProbesAnotherMemberAtOnce(t *testing.T) {
	t.Parallel()
	var g gate.Gate
	g.Close(at(0), event.CauseRefused, 0)
	wantOpen(t, &g, 0, true)
	g.Close(at(0), event.CauseRefused, 0) // the probe failed as well
	wantClosed(t, &g, 0, 5)
	wantOpen(t, &g, 5, true)
	wantClosed(t, &g, 5, 15)
}

func TestAProbeWaitsForAllCauses(t *testing.T) {
	t.Parallel()
	var g gate.Gate
	g.Close(at(0), event.CauseRedis, 0)
	g.Close(at(0), event.CauseOutage, 0)
	wantClosed(t, &g, 0.5, 1)
	wantOpen(t, &g, 1, true)
	if g.Succeeded(); !g.Paused(event.CauseRedis) || g.Paused(event.CauseOutage) {
		t.Fatalf("a call that succeeds must end the pause of the outage, not that of Redis: %v", g.Causes())
	}
	if !g.Open(event.CauseRedis) || g.Open(event.CauseRedis) {
		t.Fatal("Open must report whether there was a pause")
	}
	wantOpen(t, &g, 1, false)
}

func TestAProbeWithoutACallIsTakenBack(t *testing.T) {
	t.Parallel()
	var g gate.Gate
	g.Close(at(0), event.CauseOutage, 0)
	wantOpen(t, &g, 1, true)
	g.Unspent(at(1))
	wantOpen(t, &g, 1, true)
	g.Close(at(2), event.CauseQuota, 10*time.Hour)
	g.Unspent(at(2))
	wantClosed(t, &g, 2, 10*3600+2)
}

func TestWaitsGrowToTheLongestOfTheCause(t *testing.T) {
	t.Parallel()
	longest := map[event.Cause]time.Duration{
		event.CauseOutage: 4 * time.Second, event.CauseThrottled: 30 * time.Second, event.CauseQuota: time.Minute,
		event.CauseRefused: time.Minute, event.CauseRedis: 2 * time.Second,
		event.CauseOperator: 365 * 24 * time.Hour, event.CauseStateKey: 365 * 24 * time.Hour,
		event.CauseStorm: time.Minute, // it never closes the gate
	}
	for i := range event.NumCauses {
		c := event.Cause(i)
		var g gate.Gate
		now := at(0)
		g.Close(now, c, 0)
		for range 20 {
			if a := g.Ask(now); !a.Open {
				if wait := a.Until.Sub(now); wait > longest[c] {
					t.Fatalf("%v waits %v between probes, want at most %v", c, wait, longest[c])
				}
				now = a.Until
			}
		}
		a := g.Ask(now)
		if a.Open {
			a = g.Ask(now)
		}
		if a.Open || a.Until.Sub(now) != longest[c] {
			t.Errorf("%v: %+v after many probes, want a wait of %v", c, a, longest[c])
		}
	}
}

func TestRedisProbesWithoutACallArePacedToo(t *testing.T) {
	t.Parallel()
	var g gate.Gate
	g.Close(at(0), event.CauseRedis, 0)
	wantOpen(t, &g, 0.1, true)
	g.Close(at(0.1), event.CauseRedis, 0) // the probe failed as well
	g.Unspent(at(0.1))
	wantClosed(t, &g, 0.1, 0.3)
	g.Close(at(0.4), event.CauseRedis, 0) // noticed when a permit was drawn, without a probe
	wantClosed(t, &g, 0.4, 0.8)
}

func TestAQuotaIsProbedAtItsEnd(t *testing.T) {
	t.Parallel()
	var g gate.Gate
	g.Close(at(0), event.CauseQuota, 5*time.Minute)
	wantClosed(t, &g, 1, 300)
	wantOpen(t, &g, 300, true)
	g.Close(at(300), event.CauseQuota, time.Hour) // the quota is still used up
	wantClosed(t, &g, 301, 3900)
}

func TestAgainAllowsTheNextProbeAtOnce(t *testing.T) {
	t.Parallel()
	var g gate.Gate
	g.Again(at(0), event.CauseRefused)
	wantOpen(t, &g, 0, false)
	g.Close(at(0), event.CauseRefused, 0)
	wantOpen(t, &g, 0, true)
	g.Again(at(1), event.CauseRefused)
	wantOpen(t, &g, 1, true)
	wantClosed(t, &g, 1, 6)
}
