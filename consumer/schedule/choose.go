package schedule

import (
	"slices"
	"strings"

	"membersync/consumer/event"
)

// maxFold bounds the events that go into one update.
const maxFold = 500

// choose picks the events that a lane runs next: what it is bound to repeat, half of the candidates
// while it looks for the event that the CRM refuses, or all that fits into a fold.
func choose(l *lane) []*event.Event {
	waiting := l.Waiting()
	if rejected := rejectedOf(waiting); len(rejected) > 0 {
		return rejected
	}
	switch s := stateOf(l); {
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

// newest picks the event with the greatest version alone. Where a newer value may have reached the
// CRM without a response, older values wait until the outcome of its event is known. That event may
// be in this lane, behind those that wait for it, or in another process, whose fold waits for an
// event in this lane. The newest of all events that are left never waits, so each lane tries its
// fold and its newest event in turn.
func newest(waiting []*event.Event) []*event.Event {
	return []*event.Event{slices.MaxFunc(waiting, func(a, b *event.Event) int {
		return strings.Compare(string(a.Version()), string(b.Version()))
	})}
}

// distinct picks each event once. A second delivery waits for the end of the first: in the same
// batch, its later version could win over an event that the first delivery loses to.
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
