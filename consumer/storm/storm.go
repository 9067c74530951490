// Package storm notices when so many events in a row would be dead-lettered that the
// events are hardly to blame: a schema has changed, or a mapping is broken.
//
// It does no I/O and reads no clock.
package storm

// The bounds of the judgement.
const (
	Window = 200 // the latest events that are looked at
	Least  = 50  // fewer say nothing
)

// A Guard looks at how the latest live events ended. It is not safe for concurrent use. The zero value
// never sees a storm.
type Guard struct {
	share float64

	ring [Window]bool // whether each of the latest events died
	next int
	seen int // at most Window
	dead int
	on   bool
}

// New returns a guard that sees a storm when more than this share of the latest events, between 0 and 1, would
// die. A share of 0 turns it off.
func New(share float64) *Guard { return &Guard{share: share} }

// Lived notes an event that came to a good end.
func (g *Guard) Lived() { g.note(false) }

// Dies notes an event that would be dead-lettered, and reports whether it must not be, because
// there is a storm now.
func (g *Guard) Dies() bool {
	g.note(true)
	return g.on
}

// On reports whether there is a storm. It lasts until [Guard.Reset].
func (g *Guard) On() bool { return g.on }

// Reset ends the storm. The guard begins again with an empty window.
func (g *Guard) Reset() { *g = Guard{share: g.share} }

// note does nothing during a storm: what is tried then says nothing about the stream.
func (g *Guard) note(died bool) {
	if g.share <= 0 || g.on {
		return
	}
	if g.seen < Window {
		g.seen++
	} else if g.ring[g.next] {
		g.dead--
	}
	if died {
		g.dead++
	}
	g.ring[g.next] = died
	g.next = (g.next + 1) % Window
	g.on = died && g.seen >= Least && float64(g.dead) > g.share*float64(g.seen)
}
