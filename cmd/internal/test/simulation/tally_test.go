package simulation

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A tally counts, over all seeds, the faults that occurred and the crashes at each step.
type tally struct {
	mu      sync.Mutex
	faults  map[string]int
	crashes map[string]int
	totals  map[string]int
}

func newTally() *tally {
	t := &tally{faults: make(map[string]int), crashes: make(map[string]int), totals: make(map[string]int)}
	for _, kind := range faultKinds() {
		t.faults[kind] = 0
	}
	for _, step := range steps() {
		t.crashes[step] = 0
	}
	return t
}

func (t *tally) fired(kind string) { t.add(t.faults, kind, 1) }

func (t *tally) crashed(step string) { t.add(t.crashes, step, 1) }

func (t *tally) total(what string, n int) { t.add(t.totals, what, n) }

func (t *tally) add(m map[string]int, key string, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m[key] += n
}

// crashesWanted is the required number of crashes at each step over the seeds of a whole run.
const crashesWanted = 30

// crashesWantedAt is lower for a step that few seeds reach.
func crashesWantedAt(step string) int {
	if strings.HasSuffix(step, " audit") {
		return 2
	}
	return crashesWanted
}

// seedsOfForgeries is the number of seeds from which each kind of forgery must occur. In 200 seeds
// each occurs about three times, depending on what is dead-lettered when.
const seedsOfForgeries = 1000

// wantAll fails the test unless every kind of fault and the crashes at every step occurred.
func (t *tally) wantAll(tb testing.TB, seeds int) {
	tb.Helper()
	for kind, n := range t.faults {
		if n == 0 && (seeds >= seedsOfForgeries || !strings.HasPrefix(kind, "forged: ")) {
			tb.Errorf("no seed drew the fault %q", kind)
		}
	}
	for step, n := range t.crashes {
		if want := crashesWantedAt(step); n < want {
			tb.Errorf("%d crashes %s, want at least %d", n, step, want)
		}
	}
}

func (t *tally) String() string {
	var b strings.Builder
	for _, part := range []struct {
		name   string
		counts map[string]int
	}{{"totals", t.totals}, {"faults fired", t.faults}, {"crashes", t.crashes}} {
		fmt.Fprintf(&b, "\n%s:", part.name)
		for _, key := range slices.Sorted(maps.Keys(part.counts)) {
			fmt.Fprintf(&b, " %s %d,", key, part.counts[key])
		}
	}
	return b.String()
}
