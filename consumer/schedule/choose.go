package schedule

import (
	"slices"
	"strings"
	"time"

	"membersync/consumer/event"
)

// maxFold bounds the events that go into one update.
const maxFold = 500

// fullestOf is how many lanes are compared for the one that saves the most calls, where a limit makes
// calls scarce: the lanes of a backlog that are taken in turn hold less than the fullest. Some are taken
// in turn all the same, so that each lane gets its turn.
const fullestOf = 16

// choose picks the events that a lane runs next: what it is bound to repeat, half of the candidates
// while it looks for the event that the CRM refuses, or all that fits into a fold.
func choose(l *lane) []*event.Event {
	waiting := l.Waiting()
	if rejected := rejectedOf(waiting); len(rejected) > 0 {
		retried := slices.DeleteFunc(slices.Clone(rejected), func(ev *event.Event) bool { return !ev.Storm.Retry })
		if len(retried) > 0 {
			return retried
		}
		return rejected
	}
	switch s := &l.State; {
	case s.Pinned != nil:
		return s.Pinned.Events
	case s.PendingWaits > 0 && s.PendingWaits%2 == 0:
		return newest(distinct(waiting))
	case len(s.Candidates) > 0:
		return s.Candidates[:(len(s.Candidates)+1)/2]
	default:
		n := maxFold
		if s.FoldLimit > 0 {
			n = s.FoldLimit
		}
		return distinct(waiting[:min(len(waiting), n)])
	}
}

// newest picks the event with the greatest version alone. Where a newer value may have reached the CRM
// without a response, older values wait until the outcome of its event is known. That event may be in
// this lane, behind those that wait for it, or in another process, whose fold waits for an event in this
// lane. The newest of all events that are left never waits, so each lane tries its fold and its newest
// event in turn.
func newest(waiting []*event.Event) []*event.Event {
	return []*event.Event{slices.MaxFunc(waiting, func(a, b *event.Event) int {
		return strings.Compare(string(a.Mapped.Version), string(b.Mapped.Version))
	})}
}

// distinct picks each event once. A second delivery waits for the end of the first: in the same batch,
// its later version could win over an event that the first delivery loses to.
func distinct(events []*event.Event) []*event.Event {
	if len(events) == 1 {
		return events
	}
	seen := make(map[event.ID]bool, len(events))
	batch := make([]*event.Event, 0, len(events))
	for _, ev := range events {
		if !seen[ev.ID] {
			seen[ev.ID] = true
			batch = append(batch, ev)
		}
	}
	return batch
}

func rejectedOf(events []*event.Event) []*event.Event {
	var rejected []*event.Event
	for _, ev := range events {
		if ev.Rejection != nil {
			rejected = append(rejected, ev)
		}
	}
	return rejected
}

// takeMemberLocked takes a lane for a call, if no pause forbids it: one that pick chooses, if there is
// any.
func (s *Schedule) takeMemberLocked(now time.Time, pick func(*lane) bool) *event.Batch {
	if !s.queues.members.Ready(now) {
		return nil
	}
	if s.guard.IsOn() {
		return s.takeDuringStormLocked(now, s.queues.members)
	}
	a := s.pauses.gate.Ask(now)
	if !a.Open {
		return nil
	}
	b := s.takeReadyLocked(now, a.Probe, pick)
	if b.IsProbe = a.Probe; b.IsProbe {
		s.pauses.probes++
	}
	return b
}

// takeReadyLocked takes a lane, usually one that has not failed. Lanes whose backoff is over, many at
// once, would otherwise go first each time: the probes of a CRM that fails for some of its members
// would all meet those, and so would most of the calls after a pause.
func (s *Schedule) takeReadyLocked(now time.Time, isProbe bool, pick func(*lane) bool) *event.Batch {
	s.ranks.turn++
	if isProbe || s.ranks.turn%3 != 0 {
		sample := 0
		if s.cfg.HasLimiter && !isProbe {
			sample = fullestOf
		}
		unfailed := func(l *lane) bool { return l.State.Backoff == nil && pick(l) }
		if l, events := s.queues.members.TakeFullest(now, unfailed, sample, choose); l != nil {
			return s.beginLocked(l, events)
		}
	}
	if l, events := s.queues.members.TakeIf(now, pick, choose); l != nil {
		return s.beginLocked(l, events)
	}
	l, events := s.queues.members.Take(now, choose)
	return s.beginLocked(l, events)
}

func anyLane(*lane) bool { return true }

// takeRejectedLocked takes a record or an event without a member. It needs no call, so only a storm
// holds it.
func (s *Schedule) takeRejectedLocked(now time.Time) *event.Batch {
	if s.guard.IsOn() {
		return s.takeDuringStormLocked(now, s.queues.rejected)
	}
	l, events := s.queues.rejected.Take(now, choose)
	return s.beginLocked(l, events)
}

func (s *Schedule) beginLocked(l *lane, events []*event.Event) *event.Batch {
	s.slots.begin(l.Key)
	return &event.Batch{Key: l.Key, State: &l.State, Events: events}
}
