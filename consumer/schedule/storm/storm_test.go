package storm_test

import (
	"testing"

	"pgregory.net/rapid"

	"membersync/consumer/schedule/storm"
)

// feed counts n outcomes of events that could be mapped. It returns the result of the latest
// RecordRejection.
func feed(g *storm.Guard, n int, rejected bool) (last bool) {
	for range n {
		if rejected {
			last = g.RecordRejection()
		} else {
			g.RecordSuccess()
		}
	}
	return last
}

func TestAStormBeginsAboveItsShare(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		share               float64
		succeeded, rejected int
		want                bool
	}{
		"too few events":                 {0.5, 0, 49, false},
		"enough, and all are rejected":   {0.5, 0, 50, true},
		"exactly half are rejected":      {0.5, 50, 50, false},
		"more than half are rejected":    {0.5, 50, 51, true},
		"only the window counts":         {0.5, 1000, 100, false},
		"the window, exceeded":           {0.5, 1000, 101, true},
		"off":                            {0, 0, 1000, false},
		"a share of 1 is never exceeded": {1, 0, 1000, false},
		"a small share":                  {0.01, 99, 1, false},
		"a small share, exceeded":        {0.01, 98, 2, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := storm.New(tc.share)
			feed(g, tc.succeeded, false)
			if got := feed(g, tc.rejected, true); got != tc.want || g.IsOn() != tc.want {
				t.Errorf("after %d successes and %d rejections: %v, on %v, want %v",
					tc.succeeded, tc.rejected, got, g.IsOn(), tc.want)
			}
		})
	}
}

// An event succeeds if it can be mapped and is then not rejected. Events that cannot be mapped are
// compared with all events read in the same time, not with those finished so far.
func TestMappingAndOutcomesBothCount(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		mapped, unmapped, succeeded, rejected int
		want                                  bool
	}{
		"all unmapped":                        {0, 50, 0, 0, true},
		"too few read":                        {0, 49, 0, 0, false},
		"half unmapped":                       {50, 50, 0, 0, false},
		"a quarter unmapped, none finished":   {150, 50, 0, 0, false},
		"a third unmapped, a few rejected":    {100, 50, 45, 5, false},
		"a third unmapped, a third rejected":  {100, 50, 60, 31, true},
		"all mapped, half rejected":           {200, 0, 60, 60, false},
		"all mapped, more than half rejected": {200, 0, 60, 61, true},
		"a third unmapped, too few rejected":  {100, 50, 0, 49, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := storm.New(0.5)
			for i := range tc.mapped + tc.unmapped { // the unmapped ones evenly among the others
				g.RecordMapped((i+1)*tc.unmapped/(tc.mapped+tc.unmapped) > i*tc.unmapped/(tc.mapped+tc.unmapped))
			}
			feed(g, tc.succeeded, false)
			feed(g, tc.rejected, true)
			if g.IsOn() != tc.want {
				t.Errorf("on %v, want %v", g.IsOn(), tc.want)
			}
		})
	}
}

// Events during a storm do not count. Reset ends the storm and empties the windows.
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

func TestASuccessBeginsNoStorm(t *testing.T) {
	t.Parallel()
	g := storm.New(0.5)
	feed(g, 49, true)
	g.RecordSuccess()
	if g.IsOn() {
		t.Error("an event that succeeded began a storm")
	}
}

// The guard agrees with a model that keeps all events.
func TestTheGuardAgreesWithAModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		share := rapid.Float64Range(0.01, 1).Draw(t, "share")
		g, all, on := storm.New(share), []bool{}, false
		for range rapid.IntRange(0, 500).Draw(t, "n") {
			rejected := rapid.Float64Range(0, 1).Draw(t, "event") < 0.6
			feed(g, 1, rejected)
			if on {
				continue
			}
			all = append(all, rejected)
			rejections := 0
			recent := all[max(0, len(all)-storm.Window):]
			for _, wasRejected := range recent {
				if wasRejected {
					rejections++
				}
			}
			on = rejected && len(recent) >= storm.Least && float64(rejections) > share*float64(len(recent))
			if g.IsOn() != on {
				t.Fatalf("after %d events, %d of the latest %d rejected: on %v, want %v",
					len(all), rejections, len(recent), g.IsOn(), on)
			}
		}
	})
}
