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

// A Guard looks at the latest live events at two points: whether they could be mapped when they were read, and what became of those that
// could. The two are looked at apart, since what cannot be mapped is known at once, and what became of the others only after
// their calls: of a backlog, all that die by the mapping would be counted first. It is not safe for concurrent use. The zero value
// never sees a storm.
type Guard struct {
	share float64

	read, ended window
	on          bool
}

// A window is how the latest events fared.
type window struct {
	ring [Window]bool // whether each of the latest events died
	next int
	seen int // at most Window
	dead int
}

// New returns a guard that sees a storm when more than this share of the latest events, between 0 and 1, would
// die. A share of 0 turns it off.
func New(share float64) *Guard { return &Guard{share: share} }

// Read notes an event that was read, and whether it dies because it cannot be mapped.
func (g *Guard) Read(dies bool) { g.note(&g.read, dies) }

// Lived notes an event that came to a good end.
func (g *Guard) Lived() { g.note(&g.ended, false) }

// Dies notes an event that could be mapped and would be dead-lettered, and reports whether it must not be, because
// there is a storm now.
func (g *Guard) Dies() bool {
	g.note(&g.ended, true)
	return g.on
}

// On reports whether there is a storm. It lasts until [Guard.Reset].
func (g *Guard) On() bool { return g.on }

// Reset ends the storm. The guard begins again with empty windows.
func (g *Guard) Reset() { *g = Guard{share: g.share} }

// note does nothing during a storm: what is tried then says nothing about the stream.
func (g *Guard) note(w *window, died bool) {
	if g.share <= 0 || g.on {
		return
	}
	w.note(died)
	// Who lives is mapped, and then comes to a good end.
	mapped, read := g.read.lived()
	lived, ended := g.ended.lived()
	all := float64(read * ended)
	g.on = died && all-float64(mapped*lived) > g.share*all
}

func (w *window) note(died bool) {
	if w.seen < Window {
		w.seen++
	} else if w.ring[w.next] {
		w.dead--
	}
	if died {
		w.dead++
	}
	w.ring[w.next] = died
	w.next = (w.next + 1) % Window
}

// lived tells how many of how many did not die; of too few, that all did not.
func (w *window) lived() (n, of int) {
	if w.seen < Least {
		return 1, 1
	}
	return w.seen - w.dead, w.seen
}
