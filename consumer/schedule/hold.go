package schedule

import (
	"slices"
	"time"

	"membersync/consumer/event"
	"membersync/consumer/schedule/storm"
)

// A holder is the storm guard. While most events would be dead-lettered, none is: rejected events
// are held in their lanes, calls pause, and one held event at a time is tried again. The first one
// that ends well ends the storm.
//
// Guard and gate change in one critical section, that of [Schedule]. Between the two, a lane that
// has nothing to do with the storm would pass for a probe, and its success for the end of the
// storm.
type holder struct {
	guard  *storm.Guard
	queues *queues
	slots  *slots
	pauses *pauses
	// released: the operator has let held events be dead-lettered while the storm guard was on.
	released bool
	// lastTried is the partition of the held event that was tried last.
	lastTried int
}

// admit counts rejected events and returns those that may be dead-lettered now. It holds the
// others.
func (h *holder) admit(now time.Time, rejected []*event.Event) (deadLetter []*event.Event) {
	for _, ev := range rejected {
		if ev.Storm.Counted || ev.Storm.Released {
			continue
		}
		ev.Storm.Counted = true
		if ev.Key.IsMember() {
			h.guard.RecordRejection()
		} else { // it was read before a storm that is over, and still cannot be mapped
			h.guard.RecordMapped(true)
		}
	}
	for _, ev := range rejected {
		ev.Storm.Held = h.guard.IsOn() && !ev.Storm.Released && !ev.Rejection.Written
		if !ev.Storm.Held {
			deadLetter = append(deadLetter, ev)
		}
	}
	h.begin(now, rejected[len(rejected)-1])
	return deadLetter
}

// recordMapped counts an event that was read. What could not be mapped is counted by that alone,
// and what is ignored is not counted: it proves nothing about the others.
func (h *holder) recordMapped(now time.Time, ev *event.Event) {
	if ev.Storm.Counted {
		return
	}
	isIgnored := ev.Rejection == nil && ev.Mapped.Ignored != ""
	if ev.Storm.Counted = ev.Rejection != nil || isIgnored; isIgnored {
		return
	}
	h.guard.RecordMapped(ev.Rejection != nil)
	h.begin(now, ev)
}

// recordMoved counts an event that could be mapped at last.
func (h *holder) recordMoved(ev *event.Event) {
	if ev.Storm.Held = false; !ev.Storm.Counted {
		h.guard.RecordMapped(false)
	}
}

// begin pauses calls if the guard has just detected a storm, which ev has completed.
func (h *holder) begin(now time.Time, ev *event.Event) {
	if !h.guard.IsOn() || h.pauses.gate.Paused(event.CauseStorm) {
		return
	}
	h.pauses.pause(now, event.CauseStorm, 0)
	if ev.Rejection != nil {
		h.pauses.changes[len(h.pauses.changes)-1].Reason = string(ev.Rejection.Reason)
	}
}

// end ends the storm, if there is one.
func (h *holder) end(now time.Time) {
	h.guard.Reset()
	h.pauses.resume(now, event.CauseStorm)
}

// recordFinished counts events that end well.
func (h *holder) recordFinished(f event.Finished) {
	if hasEndedWell(f.Outcome) && !f.Event.Storm.Counted {
		f.Event.Storm.Counted = true
		h.guard.RecordSuccess()
	}
}

func hasEndedWell(o event.Outcome) bool { return o != event.DeadLettered && o != event.Duplicate }

// endedWell reports whether a retry of held events proves that the storm is over.
func endedWell(r event.Result) bool {
	return len(r.Moved) > 0 || slices.ContainsFunc(r.Finished, func(f event.Finished) bool { return hasEndedWell(f.Outcome) })
}

// isReleasing reports whether only a storm pauses calls, and the operator has released held events.
func (h *holder) isReleasing() bool {
	return h.released && h.guard.IsOn() && slices.Equal(h.pauses.gate.Causes(), []event.Cause{event.CauseStorm})
}

// take takes a lane that the operator has released or, once its time has come, one to
// try again.
func (h *holder) take(now time.Time, q *queue) *event.Batch {
	if h.released {
		if l, events := q.TakeIf(now, hasReleased, chooseReleased); l != nil {
			return h.slots.start(l, events)
		}
	}
	if a := h.pauses.gate.Peek(now); !a.Open {
		return nil
	}
	pick, pickEvents := anyLane, choose
	switch held, more := h.nextHeld(); {
	case held != nil:
		pick = func(l *lane) bool { return l.Key == held.Key }
		pickEvents = func(*lane) []*event.Event { return []*event.Event{held} }
	case more: // its time will come
		return nil
	}
	l, events := q.TakeIf(now, pick, pickEvents)
	if l == nil {
		return nil
	}
	h.pauses.gate.Ask(now)
	for _, ev := range events {
		ev.Storm.Retry = ev.Rejection != nil
		h.lastTried = ev.Record.Origin.Partition
	}
	b := h.slots.start(l, events)
	b.IsProbe, b.IsStormRetry = true, true
	if b.Key.IsMember() {
		h.pauses.probes++
	}
	return b
}

// nextHeld returns a held event that can be tried now, of the partition after the one that was
// tried last, in turn. If there is none, more reports whether some cannot be tried yet.
func (h *holder) nextHeld() (next *event.Event, more bool) {
	turn := func(ev *event.Event) int { return (ev.Record.Origin.Partition - h.lastTried - 1 + 1<<30) % (1 << 30) }
	more = h.slots.writing > 0
	h.queues.each(func(l *lane) {
		for _, ev := range l.Waiting() {
			if !ev.Storm.Held && (l.Running() || !mayBeHeld(ev)) {
				continue
			}
			more = true
			if l.Ready() && l.State.Pinned == nil && (next == nil || turn(ev) < turn(next)) {
				next = ev
			}
		}
	})
	return next, more
}

// mayBeHeld reports whether an event was rejected when the storm began, but has had no turn to be
// held.
func mayBeHeld(ev *event.Event) bool {
	return ev.Rejection != nil && !ev.Rejection.Written && !ev.Storm.Released
}

func hasReleased(l *lane) bool {
	return slices.ContainsFunc(l.Waiting(), func(ev *event.Event) bool { return ev.Storm.Released })
}

// chooseReleased picks what [choose] does, without the events that the operator has not released.
func chooseReleased(l *lane) []*event.Event {
	batch := choose(l)
	if l.State.Pinned != nil {
		return batch
	}
	released := slices.DeleteFunc(slices.Clone(batch), func(ev *event.Event) bool { return !ev.Storm.Released })
	if len(released) > 0 {
		return released
	}
	for _, ev := range l.Waiting() {
		if ev.Storm.Released {
			return []*event.Event{ev}
		}
	}
	return batch
}

// retryAll lets all rejected events be tried again, also those that have had no turn yet.
func (h *holder) retryAll() {
	h.queues.each(func(l *lane) {
		if l.Running() { // its events belong to its batch
			return
		}
		for _, ev := range l.Waiting() {
			if ev.Rejection != nil && !ev.Rejection.Written {
				ev.Storm.Retry, ev.Storm.Held, ev.Storm.Counted = true, false, false
			}
		}
	})
}

// release ends the storm, if there is one: what is in memory is dead-lettered if it is rejected.
func (h *holder) release(now time.Time) {
	if !h.guard.IsOn() {
		return
	}
	h.released = true
	h.queues.each(func(l *lane) {
		for _, ev := range l.Waiting() {
			ev.Storm.Released, ev.Storm.Held = true, false
		}
	})
	h.end(now)
}
