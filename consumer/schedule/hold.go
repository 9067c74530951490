package schedule

import (
	"slices"
	"time"

	"membersync/consumer/event"
)

// The storm guard. While most events would be dead-lettered, none is: rejected events are held in their
// lanes, calls pause, and one held event at a time is tried again. The first one that ends well ends
// the storm.
//
// Guard and gate change in one critical section. Between the two, a lane that has nothing to do with the
// storm would pass for a probe, and its success for the end of the storm.

// Admit records rejected events and returns those that may be dead-lettered now. The storm guard holds
// the others.
func (s *Schedule) Admit(now time.Time, rejected []*event.Event) (deadLetter []*event.Event) {
	s.mu.Lock()
	defer s.unlock()
	for _, ev := range rejected {
		if ev.Storm.Counted || ev.Storm.Released {
			continue
		}
		ev.Storm.Counted = true
		if ev.Key.IsMember() {
			s.guard.RecordRejection()
		} else { // it was read before a storm that is over, and still cannot be mapped
			s.guard.RecordMapped(true)
		}
	}
	for _, ev := range rejected {
		ev.Storm.Held = s.guard.IsOn() && !ev.Storm.Released && !ev.Rejection.Written
		if !ev.Storm.Held {
			deadLetter = append(deadLetter, ev)
		}
	}
	s.beginStormLocked(now, rejected[len(rejected)-1])
	return deadLetter
}

// RecordMapped counts an event that was read. What could not be mapped, or is ignored, is counted by
// that alone. A redrive is not counted.
func (s *Schedule) RecordMapped(now time.Time, ev *event.Event) {
	s.mu.Lock()
	defer s.unlock()
	if ev.Storm.Counted {
		return
	}
	s.guard.RecordMapped(ev.Rejection != nil)
	ev.Storm.Counted = ev.Rejection != nil || ev.Mapped.Ignored != ""
	s.beginStormLocked(now, ev)
}

// beginStormLocked pauses calls if the guard has just detected a storm, which ev has completed.
func (s *Schedule) beginStormLocked(now time.Time, ev *event.Event) {
	if !s.guard.IsOn() || s.pauses.gate.Paused(event.CauseStorm) {
		return
	}
	s.pauses.pause(now, event.CauseStorm, 0)
	if ev.Rejection != nil {
		s.pauses.changes[len(s.pauses.changes)-1].Reason = string(ev.Rejection.Reason)
	}
}

// recordFinishedLocked counts events that end well.
func (s *Schedule) recordFinishedLocked(f event.Finished) {
	if hasEndedWell(f.Outcome) && !f.Event.Storm.Counted {
		f.Event.Storm.Counted = true
		s.guard.RecordSuccess()
	}
}

func hasEndedWell(o event.Outcome) bool { return o != event.DeadLettered && o != event.Duplicate }

// endedWell reports whether a retry of held events proves that the storm is over.
func endedWell(r event.Result) bool {
	return len(r.Moved) > 0 || slices.ContainsFunc(r.Finished, func(f event.Finished) bool { return hasEndedWell(f.Outcome) })
}

// isReleasingLocked reports whether only a storm pauses calls, and the operator has released held events.
func (s *Schedule) isReleasingLocked() bool {
	return s.released && s.guard.IsOn() && slices.Equal(s.pauses.gate.Causes(), []event.Cause{event.CauseStorm})
}

// takeDuringStormLocked takes a lane that the operator has released or, once its time has come, one to
// try again.
func (s *Schedule) takeDuringStormLocked(now time.Time, q *queue) *event.Batch {
	if s.released {
		if l, events := q.TakeIf(now, hasReleased, chooseReleased); l != nil {
			return s.beginLocked(l, events)
		}
	}
	if a := s.pauses.gate.Peek(now); !a.Open {
		return nil
	}
	pick, pickEvents := anyLane, choose
	switch held, more := s.nextHeldLocked(); {
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
	s.pauses.gate.Ask(now)
	for _, ev := range events {
		ev.Storm.Retry = ev.Rejection != nil
		s.lastTried = ev.Record.Origin.Partition
	}
	b := s.beginLocked(l, events)
	b.IsProbe, b.IsStormRetry = true, true
	if b.Key.IsMember() {
		s.pauses.probes++
	}
	return b
}

// nextHeldLocked returns a held event that can be tried now, of the partition after the one that was
// tried last, in turn. If there is none, more reports whether some cannot be tried yet.
func (s *Schedule) nextHeldLocked() (next *event.Event, more bool) {
	turn := func(ev *event.Event) int { return (ev.Record.Origin.Partition - s.lastTried - 1 + 1<<30) % (1 << 30) }
	more = s.slots.writing > 0
	s.queues.each(func(l *lane) {
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

// mayBeHeld reports whether an event was rejected when the storm began, but has had no turn to be held.
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

// retryAllHeldLocked lets all rejected events be tried again, also those that have had no turn yet.
func (s *Schedule) retryAllHeldLocked() {
	s.queues.each(func(l *lane) {
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

// ReleaseHeld ends the storm, if there is one, because the operator wants what is in memory to be
// dead-lettered if it is rejected.
func (s *Schedule) ReleaseHeld(now time.Time) {
	s.mu.Lock()
	defer s.unlock()
	if !s.guard.IsOn() {
		return
	}
	s.released = true
	s.queues.each(func(l *lane) {
		for _, ev := range l.Waiting() {
			ev.Storm.Released, ev.Storm.Held = true, false
		}
	})
	s.endStormLocked(now)
	s.notify()
}

func (s *Schedule) endStormLocked(now time.Time) {
	s.guard.Reset()
	s.pauses.resume(now, event.CauseStorm)
}
