package storm_test

import (
	"testing"

	"pgregory.net/rapid"

	"membersync/consumer/schedule/storm"
)

// finish counts n outcomes of events that could be mapped, and reports whether there is a storm.
func finish(g *storm.Guard, n int, rejected bool) bool {
	for range n {
		g.RecordFinished(rejected)
	}
	return rejected && n > 0 && g.Detect()
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
			finish(g, tc.succeeded, false)
			if got := finish(g, tc.rejected, true); got != tc.want || g.IsOn() != tc.want {
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
			read(g, tc.mapped, tc.unmapped)
			finish(g, tc.succeeded, false)
			finish(g, tc.rejected, true)
			if g.Detect() != tc.want {
				t.Errorf("on %v, want %v", g.IsOn(), tc.want)
			}
		})
	}
}

// read counts events that were read, the unmapped ones evenly among the others.
func read(g *storm.Guard, mapped, unmapped int) (places []storm.Place) {
	for i := range mapped + unmapped {
		places = append(places, g.RecordMapped((i+1)*unmapped/(mapped+unmapped) > i*unmapped/(mapped+unmapped)))
	}
	return places
}

// Duplicates are no part of the stream: 100 of them, whether they can be mapped or not, change
// nothing.
func TestDuplicatesDoNotCount(t *testing.T) {
	t.Parallel()
	for name, rejected := range map[string]bool{"good ones hide no storm": false, "bad ones begin none": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := storm.New(0.5)
			for i := range 160 {
				duplicate := i%8 < 5
				if p := g.RecordMapped(rejected == duplicate); duplicate {
					g.Forget(p)
				}
			}
			if g.Detect() == rejected {
				t.Errorf("on %v, want %v", g.IsOn(), !rejected)
			}
		})
	}
}

// A place that has left its window, by age or since a storm has begun, is forgotten without effect.
func TestForgettingAnOldPlaceChangesNothing(t *testing.T) {
	t.Parallel()
	g := storm.New(0.5)
	old := read(g, 200, 0)
	places := read(g, 0, 101)
	for _, p := range old[:101] {
		g.Forget(p)
	}
	if !g.Detect() {
		t.Fatal("no storm of 101 in 200")
	}
	read(g, 0, 3)
	for _, p := range places {
		g.Forget(p)
	}
	read(g, 997, 0)
	finish(g, 997, false)
	if !g.IsOverByNew(0) {
		t.Error("not over after 997 of 1,000 new events succeeded")
	}
}

// New events end a storm if fewer than half the share of the latest 1,000 were rejected, whichever
// of them could not be mapped, and if at most 1,000 are held.
func TestNewEventsEndAStorm(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		mapped, unmapped, succeeded, rejected, held int
		want                                        bool
	}{
		"all succeed":                  {1000, 0, 1000, 0, 1000, true},
		"too few":                      {999, 0, 999, 0, 0, false},
		"too few finished":             {1000, 0, 999, 0, 0, false},
		"too many held":                {1000, 0, 1000, 0, 1001, false},
		"a quarter unmapped":           {750, 250, 750, 0, 0, false},
		"fewer":                        {751, 249, 751, 0, 0, true},
		"a quarter rejected":           {1000, 0, 750, 250, 0, false},
		"fewer rejected":               {1000, 0, 751, 249, 0, true},
		"a fifth and a fifth":          {800, 200, 640, 160, 0, false},
		"the unmapped are known first": {400, 600, 1000, 0, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := storm.New(0.5)
			finish(g, 50, true)
			read(g, tc.mapped, tc.unmapped)
			finish(g, tc.succeeded, false)
			finish(g, tc.rejected, true)
			if got := g.IsOverByNew(tc.held); got != tc.want {
				t.Errorf("over %v, want %v", got, tc.want)
			}
		})
	}
}

// Tries end a storm if fewer than half the share of the latest 50 were rejected, or of all.
func TestTriesEndAStorm(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		rejected, succeeded, held int
		untried, want             bool
	}{
		"nothing was tried":                  {0, 0, 20, true, false},
		"one of many":                        {0, 1, 20, true, false},
		"50 of many":                         {0, 50, 9000, true, true},
		"13 of 50 rejected":                  {13, 37, 9000, true, false},
		"12 of 50 rejected":                  {12, 38, 9000, true, true},
		"only the latest 50":                 {500, 50, 9000, true, true},
		"all have succeeded":                 {0, 1, 0, false, true},
		"all were tried, 3 of 20 are left":   {10, 17, 3, false, true},
		"all were tried, 5 of 20 are left":   {10, 15, 5, false, false},
		"all were tried, none has succeeded": {20, 0, 20, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := storm.New(0.5)
			finish(g, 50, true)
			for i := range tc.rejected + tc.succeeded {
				g.RecordTry(i < tc.rejected)
			}
			if got := g.IsOverByTries(tc.held, tc.untried); got != tc.want {
				t.Errorf("over %v, want %v", got, tc.want)
			}
		})
	}
}

// A storm lasts until End, which empties the windows.
func TestAStormLastsUntilEnd(t *testing.T) {
	t.Parallel()
	g := storm.New(0.5)
	finish(g, 50, true)
	finish(g, 2000, false)
	if !g.Detect() {
		t.Error("the storm ended by itself")
	}
	g.End()
	if g.IsOn() || finish(g, 49, true) {
		t.Error("the window was not empty")
	}
	if !finish(g, 1, true) {
		t.Error("no second storm")
	}
}

// A guard that is turned off begins no storm, whatever reports one.
func TestAGuardThatIsOffBeginsNoStorm(t *testing.T) {
	t.Parallel()
	g := storm.New(0)
	if g.Begin(); g.IsOn() {
		t.Error("on")
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
			finish(g, 1, rejected)
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
