package consumer

import "time"

const (
	gatherAtMost = 800 * time.Millisecond // bounds how long the first calls after an assignment wait for the backlog
	fillAtMost   = 3 * time.Second        // and how long they are few, if it is not in memory by then
)

// A gathering is the wait of a new generation's first calls. A backlog folds into the fewest calls if it lies
// in the lanes before the first of them goes out; sent as they come, the first records of a backlog would spend
// the vendor's limit one by one. It ends when everything that was in the log at the assignment has been fetched, when memory
// is full, and after [gatherAtMost] in any case.
type gathering struct {
	gen   *generation // nil: nothing is gathered
	until time.Time
	fill  time.Time // until when calls are few, if it is not over then
}

func (e *engine) gather(g *generation) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	e.gathering = gathering{g, now.Add(e.gatherFor), now.Add(e.fillFor)}
	e.checkGathered()
}

// gathered ends the wait: no more can be taken in.
func (e *engine) gathered() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gathering = gathering{}
	e.pace.crowded = time.Now()
	e.wake()
}

// checkGathered ends the wait if all that the log held is here. The lock is held.
func (e *engine) checkGathered() {
	g := e.gathering.gen
	if g == nil {
		return
	}
	for _, p := range g.partitions {
		if p.target < 0 || p.mark.Next() < p.target {
			return
		}
	}
	e.gathering = gathering{}
	e.wake()
}

// gathers returns until when calls wait, the zero time if they do not.
func (e *engine) gathers(now time.Time) time.Time {
	if e.gathering.gen == nil || !e.gathering.until.After(now) {
		return time.Time{}
	}
	return e.gathering.until
}
