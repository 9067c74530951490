package schedule

import (
	"cmp"
	"time"
)

// A Limit is the vendor's rate limit: so many calls in any window.
type Limit struct {
	Calls  int
	Window time.Duration
}

// interval is the time between two calls that would just use the limit up; 0 without a limit.
func (l Limit) interval() time.Duration {
	if l.Calls == 0 {
		return 0
	}
	return l.Window / time.Duration(l.Calls)
}

const (
	gatherAtMost = 800 * time.Millisecond // how long the first calls after an assignment wait for the backlog
	fillAtMost   = 3 * time.Second        // how long they are few, if the backlog is not in memory by then
	paceAtMost   = time.Second            // what a call waits for its pace at most, whatever the limit
)

// A pacer delays calls so that a backlog folds into fewer of them. It has two parts.
//
// Gathering: a backlog folds into the fewest calls if it is in the lanes before the first call goes
// out. Sent as they arrive, the first records of a backlog would use the vendor's limit up one by
// one. It ends when everything that was in the log at the assignment has been read, when memory is
// full, and after [gatherAtMost] in any case.
//
// Pace: calls are spread while there is a backlog. All the calls that a window allows, made at
// once, empty the fullest lanes of a memory that is filled again only afterwards, so the later
// calls fold less. A call that is saved is worth more than one that is early: the limit is what a
// backlog waits for. Without a backlog, calls go out as they come.
type pacer struct {
	limit              Limit
	gatherFor, fillFor time.Duration

	gathering   bool
	gatherUntil time.Time
	fillUntil   time.Time // calls are few until then, while gathering
	full        time.Time // when memory was last full
	next        time.Time // no permit is drawn before
}

func newPacer(cfg Config) pacer {
	return pacer{
		limit: cfg.Limit, gatherFor: cmp.Or(cfg.GatherFor, gatherAtMost), fillFor: cmp.Or(cfg.FillFor, fillAtMost),
	}
}

func (p *pacer) startGathering(now time.Time) {
	p.gathering, p.gatherUntil, p.fillUntil = true, now.Add(p.gatherFor), now.Add(p.fillFor)
}

func (p *pacer) stopGathering() { p.gathering = false }

// gatheringUntil returns until when calls wait for the backlog, the zero time if they do not.
func (p *pacer) gatheringUntil(now time.Time) time.Time {
	if !p.gathering || !p.gatherUntil.After(now) {
		return time.Time{}
	}
	return p.gatherUntil
}

// interval returns how long after one call the next may go out. Twice as fast as the limit is
// enough to use it up, whatever was missed before. A quarter of it is used while memory is filled
// for the first time.
func (p *pacer) interval(now time.Time) time.Duration {
	limit := p.limit.interval()
	switch {
	case p.gathering && p.fillUntil.After(now):
		return min(4*limit, paceAtMost)
	case now.Sub(p.full) < p.limit.Window:
		return min(limit/2, paceAtMost)
	}
	return 0
}

func (p *pacer) recordPermit(now time.Time) { p.next = now.Add(p.interval(now)) }

// until returns when a permit may be drawn, the zero time if now.
func (p *pacer) until(now time.Time) time.Time {
	if !p.next.After(now) || p.interval(now) == 0 {
		return time.Time{}
	}
	return p.next
}
