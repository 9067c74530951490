package storm_test

import (
	"testing"

	"pgregory.net/rapid"

	"membersync/consumer/schedule/storm"
)

func feed(g *storm.Guard, n int, died bool) (last bool) {
	for range n {
		if died {
			last = g.RecordRejection()
		} else {
			g.RecordSuccess()
		}
	}
	return last
}

func TestAStormBegins(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		share       float64
		lived, dead int
		want        bool
	}{
		"too few seen":              {0.5, 0, 49, false},
		"enough, and all die":       {0.5, 0, 50, true},
		"just half die":             {0.5, 50, 50, false},
		"more than half die":        {0.5, 50, 51, true},
		"the window forgets":        {0.5, 1000, 100, false},
		"and then it is full":       {0.5, 1000, 101, true},
		"off":                       {0, 0, 1000, false},
		"all must die and one more": {1, 0, 1000, false},
		"a small share":             {0.01, 99, 1, false},
		"a small share, exceeded":   {0.01, 98, 2, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := storm.New(tc.share)
			feed(g, tc.lived, false)
			if got := feed(g, tc.dead, true); got != tc.want || g.IsOn() != tc.want {
				t.Errorf("after %d that lived and %d that died: %v, on %v, want %v", tc.lived, tc.dead, got, g.IsOn(), tc.want)
			}
		})
	}
}

// Who lives is mapped and then comes to a good end: what cannot be mapped counts beside those that were read with it, not beside those
// that have ended so far.
func TestBothPointsCount(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		mapped, unmapped, lived, dead int
		want                          bool
	}{
		"all unmapped":                        {0, 50, 0, 0, true},
		"too few read":                        {0, 49, 0, 0, false},
		"half unmapped":                       {50, 50, 0, 0, false},
		"a quarter unmapped, nobody ended":    {150, 50, 0, 0, false},
		"a third unmapped, a few refused":     {100, 50, 45, 5, false},
		"a third unmapped, a third refused":   {100, 50, 60, 31, true},
		"all mapped, half refused":            {200, 0, 60, 60, false},
		"all mapped, more than half refused":  {200, 0, 60, 61, true},
		"a third unmapped, too few have died": {100, 50, 0, 49, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := storm.New(0.5)
			for i := range tc.mapped + tc.unmapped { // spread
				g.RecordMapped((i+1)*tc.unmapped/(tc.mapped+tc.unmapped) > i*tc.unmapped/(tc.mapped+tc.unmapped))
			}
			feed(g, tc.lived, false)
			feed(g, tc.dead, true)
			if g.IsOn() != tc.want {
				t.Errorf("on %v, want %v", g.IsOn(), tc.want)
			}
		})
	}
}

// What happens during a storm does not count, and afterwards nothing is remembered.
func TestAStormLastsUntilReset(t *testing.T) {
	t.Parallel()
	g := storm.New(0.5)
	feed(g, 50, true)
	feed(g, 1000, false)
	if !g.IsOn() || !g.RecordRejection() {
		t.Error("the storm ended by itself")
	}
	g.Reset()
	if g.IsOn() || feed(g, 49, true) {
		t.Error("the window was not empty")
	}
	if !g.RecordRejection() {
		t.Error("no second storm")
	}
}

func TestNoStormByGoodEnds(t *testing.T) {
	t.Parallel()
	g := storm.New(0.5)
	feed(g, 49, true)
	g.RecordSuccess()
	if g.IsOn() {
		t.Error("an event that lived began a storm")
	}
}

// The guard agrees with one that keeps everything.
func TestAgainstAModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		share := rapid.Float64Range(0.01, 1).Draw(t, "share")
		g, all, on := storm.New(share), []bool{}, false
		for range rapid.IntRange(0, 500).Draw(t, "n") {
			died := rapid.Float64Range(0, 1).Draw(t, "event") < 0.6
			feed(g, 1, died)
			if on {
				continue
			}
			all = append(all, died)
			dead := 0
			recent := all[max(0, len(all)-storm.Window):]
			for _, d := range recent {
				if d {
					dead++
				}
			}
			on = died && len(recent) >= storm.Least && float64(dead) > share*float64(len(recent))
			if g.IsOn() != on {
				t.Fatalf("after %d events, %d of the latest %d dead: on %v, want %v", len(all), dead, len(recent), g.IsOn(), on)
			}
		}
	})
}
