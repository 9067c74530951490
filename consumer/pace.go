package consumer

import "time"

// A Limit is the vendor's: so many calls in any window.
type Limit struct {
	Calls  int
	Window time.Duration
}

// every is the time between two calls that would just use the limit up; 0 without a limit.
func (l Limit) every() time.Duration {
	if l.Calls == 0 {
		return 0
	}
	return l.Window / time.Duration(l.Calls)
}

// paceAtMost bounds what a call waits for its pace, whatever the limit.
const paceAtMost = time.Second

// A pace spreads calls out while there is a backlog. All the calls that a window allows, made at once, empty the fullest lanes of a memory
// that is filled up again only afterwards: the later ones of them fold less. A call that is spared is worth more than one that is early,
// since the limit is what a backlog waits for.
type pace struct {
	crowded time.Time // when memory was full last
	next    time.Time // not to draw a permit before
}

// paceAfter returns how long after one call the next may go out. Twice as fast as the limit is enough to use it up, whatever was
// missed meanwhile. A quarter of it is spent while memory is still being filled for the first time. Without a backlog, calls go out as they come.
func (e *engine) paceAfter(now time.Time) time.Duration {
	every := e.cfg.Limit.every()
	switch {
	case e.gathering.gen != nil && e.gathering.fill.After(now):
		return min(4*every, paceAtMost)
	case now.Sub(e.pace.crowded) < e.cfg.Limit.Window:
		return min(every/2, paceAtMost)
	}
	return 0
}

// permitDrawn has the next permit wait for its turn.
func (e *engine) permitDrawn(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pace.next = now.Add(e.paceAfter(now))
}

// paced returns when a permit may be drawn, the zero time if now. One that is there already is used.
func (e *engine) paced(now time.Time) time.Time {
	if e.spare.id != "" || !e.pace.next.After(now) || e.paceAfter(now) == 0 {
		return time.Time{}
	}
	return e.pace.next
}
