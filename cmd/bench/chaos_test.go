package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"membersync/cmd/bench/internal/chaos"
	"membersync/crmapi/crmapitest"
)

func TestCallsThatWereCutOff(t *testing.T) {
	t.Parallel()
	calls := []chaos.Call{
		{Arrived: moment(1)}, {Arrived: moment(2), Gone: true}, {Arrived: moment(7), Gone: true}, {Arrived: moment(8)},
	}
	if cutOff(calls) != 2 || longestPause(calls) != 5*time.Second || longestPause(nil) != 0 {
		t.Errorf("%d cut off, pause %v", cutOff(calls), longestPause(calls))
	}
}

func TestKillsInCalls(t *testing.T) {
	t.Parallel()
	call := func(instance int, from, to float64) chaos.Call {
		return chaos.Call{Instance: instance, Arrived: moment(from), Finished: moment(to)}
	}
	kill := func(instance int, at float64) chaos.Crash {
		return chaos.Crash{Instance: instance, Signal: moment(at), Dead: moment(at + 1)}
	}
	e := chaos.Evidence{
		Calls:   []chaos.Call{call(1, 1, 1.99), call(1, 1.9, 2.01), call(2, 5, 5.5), call(0, 8, 9.05), call(0, 9.9, 10)},
		Crashes: []chaos.Crash{kill(1, 2), kill(2, 7), kill(1, 9), kill(0, 9), kill(0, 9.5)},
	}
	if got := killsInCalls(e); got != 2 {
		t.Errorf("%d, want 2", got)
	}
}

// The path identifies the instance, and the CRM does not see it.
func TestCallers(t *testing.T) {
	t.Parallel()
	var paths []string
	c := newCallers(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { paths = append(paths, r.URL.Path) }))
	for n := range 3 {
		target := fmt.Sprintf("%s?thirdTraceId=trace-%d", pathOf(n), n)
		c.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodPost, target, http.NoBody))
	}
	for n := range 3 {
		if got := c.instance(fmt.Sprintf("trace-%d", n)); got != n || paths[n] != crmapitest.UpdatePath {
			t.Errorf("instance %d, want %d; path %s", got, n, paths[n])
		}
		if time.Since(c.latest(n)) > time.Minute || !c.latest(3).IsZero() {
			t.Errorf("instance %d last called at %v, and 3 at %v", n, c.latest(n), c.latest(3))
		}
	}
}

// flawless is the report of a trial that injected a hundred faults of each kind.
func flawless(v chaos.Result, surprises ...string) *report {
	a := &chaosRun{injected: make(map[chaos.Kind]int), surprises: surprises}
	for _, kind := range chaos.Kinds() {
		a.injected[kind] = 100
	}
	var e chaos.Evidence
	for n := range 30 {
		e.Calls = append(e.Calls, chaos.Call{Arrived: moment(float64(n)), Finished: moment(float64(n) + 0.5)})
		e.Crashes = append(e.Crashes, chaos.Crash{Signal: moment(float64(n) + 0.2)})
	}
	c := chaosTrial{length: tenMinutes, min: 60, maxRepeats: 0.02}
	return c.report(a, e, v)
}

// Each broken promise misses a target.
func TestChaosTargets(t *testing.T) {
	t.Parallel()
	one := []string{"one"}
	for name, tc := range map[string]struct {
		report *report
		met    bool
	}{
		"nothing":     {flawless(chaos.Result{Calls: 100, Repeated: 2}), true},
		"excused":     {flawless(chaos.Result{ExcusedOverlap: one}), true},
		"lost":        {flawless(chaos.Result{Lost: one}), false},
		"back":        {flawless(chaos.Result{Back: one}), false},
		"overlap":     {flawless(chaos.Result{Overlap: one}), false},
		"unexplained": {flawless(chaos.Result{Unexplained: one}), false},
		"repeated":    {flawless(chaos.Result{Calls: 100, Repeated: 3}), false},
		"surprise":    {flawless(chaos.Result{}, "one"), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tc.report.met() != tc.met {
				t.Errorf("met: %t, want %t", tc.report.met(), tc.met)
			}
		})
	}
	few := chaosTrial{length: tenMinutes, min: 60}.report(&chaosRun{injected: map[chaos.Kind]int{}}, chaos.Evidence{}, chaos.Result{})
	if few.met() {
		t.Error("no fault injected, and all targets are met")
	}
}
