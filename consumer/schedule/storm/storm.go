// Package storm detects that so many of the latest events would be dead-lettered that the cause is
// hardly in the events: a schema has changed, or a mapping is broken.
//
// It does no I/O and reads no clock.
package storm

// The bounds of the decision.
const (
	Window = 200 // the latest events that are looked at
	Least  = 50  // fewer prove nothing
)

// A Guard looks at the latest live events at two points: whether they could be mapped when they
// were read, and the outcomes of those that could. The two are counted separately, since a mapping
// failure is known at once, and an outcome only after the event's call: of a backlog, all mapping
// failures would be counted first. It is not safe for concurrent use. The zero value never detects
// a storm.
type Guard struct {
	share float64

	mapped, finished window
	on               bool
}

// A window holds the results of the latest events.
type window struct {
	ring     [Window]bool // whether each of the latest events was rejected
	next     int
	seen     int // at most Window
	rejected int
}

// New returns a guard that detects a storm when more than this share of the latest events, between
// 0 and 1, would be dead-lettered. A share of 0 turns it off.
func New(share float64) *Guard { return &Guard{share: share} }

// RecordMapped counts an event that was read, and whether it is rejected because it cannot be
// mapped.
func (g *Guard) RecordMapped(rejected bool) { g.record(&g.mapped, rejected) }

// RecordSuccess counts an event that finished without being dead-lettered.
func (g *Guard) RecordSuccess() { g.record(&g.finished, false) }

// RecordRejection counts an event that could be mapped and would be dead-lettered. It reports
// whether it must not be, because there is a storm now.
func (g *Guard) RecordRejection() bool {
	g.record(&g.finished, true)
	return g.on
}

// IsOn reports whether there is a storm. It lasts until [Guard.Reset].
func (g *Guard) IsOn() bool { return g.on }

// Reset ends the storm. The guard begins again with empty windows.
func (g *Guard) Reset() { *g = Guard{share: g.share} }

// record does nothing during a storm: what is tried then does not represent the stream.
func (g *Guard) record(w *window, rejected bool) {
	if g.share <= 0 || g.on {
		return
	}
	w.record(rejected)
	// An event succeeds if it can be mapped and is then not rejected.
	mapped, read := g.mapped.succeeded()
	succeeded, finished := g.finished.succeeded()
	all := float64(read * finished)
	g.on = rejected && all-float64(mapped*succeeded) > g.share*all
}

func (w *window) record(rejected bool) {
	if w.seen < Window {
		w.seen++
	} else if w.ring[w.next] {
		w.rejected--
	}
	if rejected {
		w.rejected++
	}
	w.ring[w.next] = rejected
	w.next = (w.next + 1) % Window
}

// succeeded returns how many of how many were not rejected; of too few, that all were not.
func (w *window) succeeded() (n, of int) {
	if w.seen < Least {
		return 1, 1
	}
	return w.seen - w.rejected, w.seen
}
