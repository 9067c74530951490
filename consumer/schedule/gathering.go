package schedule

import (
	"cmp"
	"time"
)

// gatherAtMost is how long the first calls after an assignment wait for the backlog.
const gatherAtMost = 800 * time.Millisecond

// Gathering delays the first calls after an assignment. A backlog folds into the fewest calls if it
// is in the lanes before the first one goes out: sent as they arrive, its first records would use
// the vendor's limit up one by one. It ends when everything that was in the log at the assignment
// has been read, when memory is full, and after [gatherAtMost] in any case.
//
// DESIGN.md of package consumer says how many calls it saves, and what was left out because it
// saves none.
type gathering struct {
	atMost time.Duration
	isOn   bool
	until  time.Time
}

func newGathering(cfg Config) gathering {
	return gathering{atMost: cmp.Or(cfg.GatherFor, gatherAtMost)}
}

func (g *gathering) start(now time.Time) { g.isOn, g.until = true, now.Add(g.atMost) }

func (g *gathering) stop() { g.isOn = false }

// waitsUntil returns until when calls wait, the zero time if they do not.
func (g *gathering) waitsUntil(now time.Time) time.Time {
	if !g.isOn || !g.until.After(now) {
		return time.Time{}
	}
	return g.until
}
