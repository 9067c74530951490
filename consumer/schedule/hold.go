package schedule

import (
	"cmp"
	"time"

	"membersync/consumer/event"
	"membersync/consumer/schedule/storm"
)

const (
	heldRetry = 30 * time.Second // between rounds of tries of held events
	maxRound  = 1024             // events of one round
)

// A StormChange is the begin or the end of a storm.
type StormChange struct {
	On     bool
	Reason string // when it begins: that of the last rejection; empty: another instance has reported it
	Held   int    // when it ends: how many events were held
	// Last: when it ends, the held events are tried once more and then dead-lettered.
	Last bool
}

// A holder is the storm guard. While most events would be dead-lettered, none is: rejected events
// are held, out of their lanes, and all others continue. Some of those held are tried again every
// 30 s. An event that is held has exactly one [event.GuardState] and is in the set, in a lane, or
// in a batch; what takes it out of one puts it into another, finishes it, or drops it.
type holder struct {
	guard      *storm.Guard
	queues     *queues
	retryEvery time.Duration
	held       heldSet
	// trying are the events of the rounds that have no result yet. True: the operator has released it
	// since then.
	trying map[*event.Event]bool
	round  round
	ended  int32 // storms that have ended, see [event.Event]
	// readerWaits: a record waits for its place in the buffer; isFull: and only held events could make
	// room.
	readerWaits, isFull bool
	pauses              *pauses
	changes             []StormChange // not reported yet
}

// A round is the tries that began at one time.
type round struct {
	at                  time.Time // of the next one; the zero time: none is planned
	size                int
	rejected, succeeded int // of the present one
}

func newHolder(cfg Config, q *queues, p *pauses) holder {
	return holder{
		guard: storm.New(cfg.StormShare), queues: q, pauses: p, retryEvery: cmp.Or(cfg.HeldRetry, heldRetry),
		held: newHeldSet(), trying: make(map[*event.Event]bool),
	}
}

func (h *holder) takeChanges() []StormChange {
	changes := h.changes
	h.changes = nil
	return changes
}

// admitAfter is how long a rejected event waits after it was read: those that were read with it are
// counted first. Otherwise the first of a broken mapping's backlog would be dead-lettered before
// enough are known.
const admitAfter = time.Second

// notBefore returns when a new event may begin; the zero time: at once.
func (h *holder) notBefore(now time.Time, ev *event.Event) time.Time {
	if ev.Rejection == nil || ev.Guard == event.Exempt || h.guard.IsOn() || !h.guard.IsEnabled() {
		return time.Time{}
	}
	return now.Add(admitAfter)
}

// recordMapped counts a new event that was read. What is ignored proves nothing about the others.
func (h *holder) recordMapped(ev *event.Event) {
	ev.Storms = h.ended
	if ev.Guard == event.Exempt || ev.Rejection == nil && ev.Ignored() != "" {
		return
	}
	ev.Counted = h.guard.RecordMapped(ev.Rejection != nil)
	if ev.Rejection != nil {
		ev.Rejection.Counted = true
	}
	h.endIfOver()
}

// admit counts rejected events that were not finished before, and divides them into those that may
// be dead-lettered now and those that are held.
func (h *holder) admit(rejected []*event.Event) (deadLetter, held []*event.Event) {
	for _, ev := range rejected {
		h.recordRejection(ev)
	}
	if !h.guard.IsOn() && h.guard.Detect() {
		h.began(string(rejected[len(rejected)-1].Rejection.Reason))
	}
	for _, ev := range rejected {
		if h.holds(ev) {
			held = append(held, ev)
		} else {
			deadLetter = append(deadLetter, ev)
		}
	}
	return deadLetter, held
}

func (h *holder) recordRejection(ev *event.Event) {
	if ev.Rejection.Counted || ev.Storms != h.ended {
		return
	}
	ev.Rejection.Counted = true
	switch {
	case ev.Guard == event.Tried && h.guard.IsOn():
		h.guard.RecordTry(true)
		h.round.rejected++
	case ev.Guard != event.Watched && ev.Guard != event.Tried && ev.Guard != event.TriedAsNew:
	case ev.Key.IsMember():
		h.guard.RecordFinished(true)
	default:
		h.guard.RecordMapped(true)
	}
}

// holds reports whether a rejected event is held. What was read, or tried, before a storm ended may
// be rejected for what has ended since: it is tried again.
func (h *holder) holds(ev *event.Event) bool {
	switch {
	case ev.Rejection.Written || h.trying[ev]:
		return false
	case ev.Guard != event.Watched && ev.Guard != event.Tried && ev.Guard != event.TriedAsNew:
		return false
	}
	return h.guard.IsOn() || ev.Storms != h.ended
}

// hold takes in events that have left their lanes, and returns those that were taken away
// since then. If the storm is over by now, they are tried as if they were new.
func (h *holder) hold(events []*event.Event) (dropped []*event.Event) {
	for _, ev := range events {
		released := h.trying[ev]
		delete(h.trying, ev)
		switch {
		case ev.Ticket.IsRevoked():
			dropped = append(dropped, ev)
		case !h.guard.IsOn():
			h.putBack(ev, event.TriedAsNew)
		case released:
			h.putBack(ev, event.Released)
		default:
			h.held.add(ev, ev.Guard == event.Tried)
			ev.Guard = event.Held
		}
	}
	h.endIfOver()
	return dropped
}

// recordFinished counts an event that has its outcome. Dead letters were counted when they were
// rejected.
func (h *holder) recordFinished(f event.Finished) {
	ev := f.Event
	_, inRound := h.trying[ev]
	delete(h.trying, ev)
	switch {
	case ev.Guard == event.Exempt || f.Outcome == event.DeadLettered:
	case f.Outcome == event.Duplicate:
		h.guard.Forget(ev.Counted)
	case ev.Guard == event.Watched || ev.Guard == event.TriedAsNew:
		h.guard.RecordFinished(false)
	case inRound && f.Outcome == event.Applied: // any other outcome proves nothing: there was no call
		h.guard.RecordTry(false)
		h.round.succeeded++
	}
	h.endIfOver()
}

// recordMoved counts an event that could be mapped at last. From now on it is a new one.
func (h *holder) recordMoved(ev *event.Event) {
	if _, inRound := h.trying[ev]; inRound {
		delete(h.trying, ev)
		h.guard.RecordTry(false)
		h.round.succeeded++
	}
	ev.Storms = h.ended
	if ev.Guard == event.Tried || ev.Guard == event.TriedAsNew {
		ev.Guard, ev.Counted = event.Watched, h.guard.RecordMapped(false)
	}
}

// forget removes events that this process no longer has.
func (h *holder) forget(events []*event.Event) {
	for _, ev := range events {
		delete(h.trying, ev)
	}
}

// retry puts held events back into their lanes if it is time to, and returns when it is next; the
// zero time: there are none.
func (h *holder) retry(now time.Time) time.Time {
	switch {
	case !h.guard.IsOn() || h.held.size == 0:
		h.round.at = time.Time{}
		return time.Time{}
	case h.round.at.IsZero():
		h.round.at = now.Add(h.retryEvery)
	}
	if h.round.at.After(now) {
		return h.round.at
	}
	tried := h.round.rejected + h.round.succeeded
	switch {
	case h.round.size == 0 || h.round.rejected > 0 && !h.guard.Succeeds(h.round.rejected, tried):
		h.round.size = 1
	case tried > 0:
		h.round.size = min(2*h.round.size, maxRound)
	}
	// Those of earlier rounds that have no result yet do not count: they may wait for a held one.
	h.round = round{at: now.Add(h.retryEvery), size: h.round.size}
	for _, ev := range h.held.take(h.round.size) {
		h.trying[ev] = false
		h.putBack(ev, event.Tried)
	}
	return h.round.at
}

// putBack puts an event into its lane again, above its cap if need be: its place in the buffer
// bounds it. A member's event begins again without its rejection; one without a member keeps it
// until it has been decoded again.
func (h *holder) putBack(ev *event.Event, as event.GuardState) {
	ev.Storms = h.ended
	switch ev.Guard = as; {
	case as == event.Released:
	case ev.Key.IsMember():
		ev.Rejection, ev.Attempts = nil, nil
	default:
		ev.Rejection.Again = true
	}
	h.queues.of(ev.Key).Add(ev.Key.Member, ev)
}

// begin begins a storm that another instance has reported.
func (h *holder) begin() {
	if h.guard.IsOn() {
		return
	}
	if h.guard.Begin(); h.guard.IsOn() {
		h.began("")
	}
}

func (h *holder) began(reason string) {
	h.round = round{}
	h.changes = append(h.changes, StormChange{On: true, Reason: reason})
}

// endIfOver ends the storm if it is over. If tries have shown that, what is held counts as new; if
// new events have shown it, the fault is in those events: they are tried once more.
func (h *holder) endIfOver() {
	waiting := h.held.size + len(h.trying)
	switch {
	case !h.guard.IsOn():
	case h.guard.IsOverByTries(h.held.size, len(h.trying) > 0 || len(h.held.untried) > 0):
		h.end(event.TriedAsNew, waiting)
	case h.guard.IsOverByNew(waiting):
		for ev := range h.trying {
			h.trying[ev] = true
		}
		h.end(event.TriedLast, waiting)
	}
}

func (h *holder) end(as event.GuardState, held int) {
	h.guard.End()
	h.ended++
	h.changes = append(h.changes, StormChange{Held: held, Last: as == event.TriedLast})
	for _, ev := range h.held.remove(func(*event.Event) bool { return true }) {
		h.putBack(ev, as)
	}
	if as == event.TriedAsNew {
		clear(h.trying)
	}
	h.updateFull()
}

// release lets the events that are held now, and that pick chooses, be dead-lettered.
func (h *holder) release(pick func(*event.Event) bool) (released int) {
	for ev := range h.trying {
		if pick(ev) {
			h.trying[ev] = true
			released++
		}
	}
	for _, ev := range h.held.remove(pick) {
		h.putBack(ev, event.Released)
		released++
	}
	return released
}

// dropRevoked removes the held events whose partitions were taken away: the next owner reads them
// again.
func (h *holder) dropRevoked() []*event.Event {
	return h.held.remove(func(ev *event.Event) bool { return ev.Ticket.IsRevoked() || ev.Ticket.IsClosed() })
}

// setReaderWaits notes whether a record waits for its place in the buffer.
func (h *holder) setReaderWaits(waits bool) {
	h.readerWaits = waits
	h.updateFull()
}

// updateFull begins or ends the pause of consumption: held events fill the buffer, and nothing else
// will make room.
func (h *holder) updateFull() {
	isFull := h.readerWaits && h.guard.IsOn() && h.held.size > 0 && h.queues.items() <= len(h.trying)
	if isFull != h.isFull {
		h.isFull = isFull
		h.pauses.changes = append(h.pauses.changes, Change{Cause: event.CauseStorm, On: isFull})
	}
}
