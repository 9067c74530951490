package decode

import (
	"context"
	"sync"
	"sync/atomic"

	"membersync/consumer/event"
	"membersync/dedupe"
)

// Marks reads done marks. It takes no lease.
type Marks interface {
	// DoneOf returns what is known of each event, in their order.
	DoneOf(ctx context.Context, events []dedupe.MemberEvent) ([]dedupe.EventGrant, error)
}

// A Recognizer finds events that are done already, many at once, before they reach a lane. It is
// safe for concurrent use.
//
// Only "done" is an answer. Anything else means that the event's lane has to ask, under a lease.
//
// Looking up costs a stream without duplicates a few percent. So it is done while at least a
// quarter of the latest events were done: of those looked up, or of those asked for by lanes.
type Recognizer struct {
	marks   Marks // nil: none are read
	reapply bool
	isOn    atomic.Bool

	mu         sync.Mutex
	seen, done int // since the last decision
}

// NewRecognizer returns a recognizer that looks up. With reapply only dead letters are done.
func NewRecognizer(marks Marks, reapply bool) *Recognizer {
	r := &Recognizer{marks: marks, reapply: reapply}
	r.Restart()
	return r
}

// Restart begins to look up: partitions that were just assigned often begin with duplicates.
func (r *Recognizer) Restart() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen, r.done = 0, 0
	r.isOn.Store(r.marks != nil)
}

// IsOn reports whether events are to be looked up now.
func (r *Recognizer) IsOn() bool { return r.isOn.Load() }

// decideAfter is the number of events after which it is decided again whether to look up.
const decideAfter = 64

// RecordAcquired counts events that lanes have asked for, while nothing is looked up.
func (r *Recognizer) RecordAcquired(events, done int) {
	if r.marks != nil && !r.isOn.Load() {
		r.record(events, done)
	}
}

func (r *Recognizer) record(events, done int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen, r.done = r.seen+events, r.done+done
	if r.seen < decideAfter {
		return
	}
	r.isOn.Store(4*r.done >= r.seen)
	r.seen, r.done = 0, 0
}

// Recognize looks the events up, in one round trip to each node of Redis. It calls done with the
// index of each event that is done. After an error none is known to be.
func (r *Recognizer) Recognize(ctx context.Context, events []*event.Event, done func(i int, mark dedupe.EventGrant)) error {
	asked := make([]dedupe.MemberEvent, 0, len(events))
	at := make([]int, 0, len(events))
	for i, ev := range events {
		if !ev.Skipped && (ev.Ignored() == "" || ev.Rejection != nil) {
			asked, at = append(asked, dedupe.MemberEvent{Member: ev.Key.Member, ID: ev.ID}), append(at, i)
		}
	}
	marks, err := r.marks.DoneOf(ctx, asked)
	if err != nil {
		return err
	}
	found := 0
	for i, mark := range marks {
		if mark.Covers(events[at[i]].Record.RedriveNumber(), r.reapply) {
			found++
			done(at[i], mark)
		}
	}
	r.record(len(asked), found)
	return nil
}
