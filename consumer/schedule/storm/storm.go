// Package storm decides when so many of the latest events would be dead-lettered that the cause is
// hardly in the events (a schema has changed, or a mapping is broken), and when that is over.
//
// It does no I/O and reads no clock.
package storm

// The bounds of the decisions, in events.
const (
	Window   = 200  // the latest events that begin a storm
	Least    = 50   // fewer prove nothing
	Recovery = 1000 // the latest new events that end a storm
	Tries    = 50   // the latest tries of held events that end a storm
	MaxHeld  = 1000 // with more held events, new ones alone do not end a storm
)

// A Guard looks at new live events at two points: whether they could be mapped when they were read,
// and the outcomes of those that could. The two are counted separately, since a mapping failure is
// known at once, and an outcome only after the event's call: of a backlog, all mapping failures
// would be counted first. In a storm it also looks at held events that were tried again. It is not
// safe for concurrent use. The zero value never detects a storm.
type Guard struct {
	share            float64
	on               bool
	mapped, finished window
	tries            window
}

// New returns a guard that detects a storm when more than this share of the latest events, between
// 0 and 1, would be dead-lettered. A share of 0 turns it off.
func New(share float64) *Guard {
	g := &Guard{share: share}
	g.reset(Window)
	return g
}

func (g *Guard) reset(size int) {
	g.mapped, g.finished, g.tries = newWindow(size, g.mapped.end()), newWindow(size, 0), newWindow(Tries, 0)
}

// A Place is where the guard has counted an event; 0: nowhere.
type Place = uint64

// RecordMapped counts a new event that was read, and whether it is rejected because it cannot be
// mapped.
func (g *Guard) RecordMapped(rejected bool) Place { return g.mapped.record(rejected) }

// Forget takes back what RecordMapped has counted: the event was finished before.
func (g *Guard) Forget(p Place) { g.mapped.forget(p) }

// RecordFinished counts the outcome of a new event that could be mapped: whether it would be
// dead-lettered.
func (g *Guard) RecordFinished(rejected bool) { g.finished.record(rejected) }

// RecordTry counts a held event that was tried again.
func (g *Guard) RecordTry(rejected bool) {
	if g.on {
		g.tries.record(rejected)
	}
}

// IsEnabled reports whether the guard can detect a storm.
func (g *Guard) IsEnabled() bool { return g.share > 0 }

// IsOn reports whether there is a storm.
func (g *Guard) IsOn() bool { return g.on }

// Detect begins a storm if more than the share of the latest events were rejected, and reports
// whether there is one.
func (g *Guard) Detect() bool {
	rejected, of := g.rejectedOf(Least)
	if !g.on && rejected > g.share*of {
		g.Begin()
	}
	return g.on
}

// Begin begins a storm, if the guard is not turned off.
func (g *Guard) Begin() {
	if g.on || g.share <= 0 {
		return
	}
	g.on = true
	g.reset(Recovery)
}

// End ends the storm. The guard begins again with empty windows.
func (g *Guard) End() {
	g.on = false
	g.reset(Window)
}

// IsOverByTries reports whether tries have shown that the storm is over: of the latest [Tries], or
// of all held events if each of them was tried, fewer than half the share were rejected. Held is
// how many are held now, and untried whether one of them waits for its first try or its result.
func (g *Guard) IsOverByTries(held int, untried bool) bool {
	if !g.on || g.tries.seen == 0 {
		return false
	}
	if g.tries.seen == Tries && g.isFew(g.tries.rejected, g.tries.seen) {
		return true
	}
	succeeded := g.tries.seen - g.tries.rejected
	return !untried && succeeded > 0 && g.isFew(held, held+succeeded)
}

// IsOverByNew reports whether so few of the latest [Recovery] new events were rejected that the
// fault is in the held events themselves, and not too many are held.
func (g *Guard) IsOverByNew(held int) bool {
	if !g.on || held > MaxHeld || g.mapped.seen < Recovery || g.finished.seen+g.mapped.rejected < Recovery {
		return false
	}
	rejected, of := g.rejectedOf(1)
	return rejected < g.share/2*of
}

// Succeeds reports whether a round of tries, so many of which were rejected, allows a larger one.
func (g *Guard) Succeeds(rejected, tried int) bool { return tried > 0 && g.isFew(rejected, tried) }

// isFew reports whether n of all are fewer than half the share.
func (g *Guard) isFew(n, all int) bool { return float64(n) < g.share/2*float64(all) }

// rejectedOf returns which part of the events would be dead-lettered: an event succeeds if it can
// be mapped and is then not rejected. Of a window with fewer events than least, all have succeeded.
func (g *Guard) rejectedOf(least int) (rejected, of float64) {
	mapped, read := g.mapped.succeeded(least)
	done, finished := g.finished.succeeded(least)
	return float64(read*finished - mapped*done), float64(read * finished)
}

// A window holds the results of the latest events.
type window struct {
	ring     []result
	base     Place // the places before its first
	next     Place // how many events it has counted, those that it forgot included
	seen     int   // at most len(ring)
	rejected int
}

type result uint8

const (
	none result = iota
	succeeded
	rejected
)

func newWindow(size int, base Place) window { return window{ring: make([]result, size), base: base} }

func (w *window) end() Place { return w.base + w.next }

func (w *window) record(isRejected bool) Place {
	if len(w.ring) == 0 {
		return 0
	}
	at := &w.ring[w.next%Place(len(w.ring))]
	w.remove(at)
	*at = succeeded
	if isRejected {
		*at = rejected
		w.rejected++
	}
	w.seen++
	w.next++
	return w.end()
}

func (w *window) forget(p Place) {
	if p <= w.base || p > w.end() || w.end()-p >= Place(len(w.ring)) {
		return // it is no longer in the window
	}
	w.remove(&w.ring[(p-w.base-1)%Place(len(w.ring))])
}

func (w *window) remove(at *result) {
	if *at == none {
		return
	}
	w.seen--
	if *at == rejected {
		w.rejected--
	}
	*at = none
}

// succeeded returns how many of how many were not rejected.
func (w *window) succeeded(least int) (n, of int) {
	if w.seen < least {
		return 1, 1
	}
	return w.seen - w.rejected, w.seen
}
