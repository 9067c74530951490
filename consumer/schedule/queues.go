package schedule

import (
	"slices"
	"time"

	"membersync/consumer/event"
	"membersync/consumer/schedule/lanes"
	"membersync/consumer/schedule/storm"
)

type (
	lane  = lanes.Lane[event.Member, *event.Event, *event.LaneState]
	queue = lanes.Lanes[event.Member, *event.Event, *event.LaneState]
)

// stateOf returns what a lane remembers, to be read only. A lane has nothing to remember, and so no
// state, until it runs for the first time.
func stateOf(l *lane) *event.LaneState {
	if l.State == nil {
		return &event.LaneState{}
	}
	return l.State
}

// laneCap bounds the events of one lane: several folds' worth.
const laneCap = 4 * maxFold

// queues are the lanes of the members, and those of records and events without a member.
type queues struct {
	members  *queue
	rejected *queue
	redrives int // events of the redrive topic in lanes
	// room holds, for each lane at its cap, a channel that is closed when the lane has shrunk.
	room map[event.LaneKey]chan struct{}
	// waitsAhead holds the lanes that wait for an event further on. They have no cap.
	waitsAhead map[event.LaneKey]bool
}

func newQueues() queues {
	return queues{
		members:    lanes.New[event.Member, *event.Event, *event.LaneState](),
		rejected:   lanes.New[event.Member, *event.Event, *event.LaneState](),
		room:       make(map[event.LaneKey]chan struct{}),
		waitsAhead: make(map[event.LaneKey]bool),
	}
}

// of returns the queue that a lane is in.
func (q *queues) of(key event.LaneKey) *queue {
	if key.IsMember() {
		return q.members
	}
	return q.rejected
}

// add returns nil, or a channel to wait for. The event's lane, if it is new, is not ready before
// the time; the zero time: at once.
func (q *queues) add(ev *event.Event, notBefore time.Time) <-chan struct{} {
	of := q.of(ev.Key)
	if of.Len(ev.Key.Member) >= laneCap && !q.waitsAhead[ev.Key] {
		if q.room[ev.Key] == nil {
			q.room[ev.Key] = make(chan struct{})
		}
		return q.room[ev.Key]
	}
	of.AddLater(ev.Key.Member, ev, notBefore)
	if ev.IsRedrive() {
		q.redrives++
	}
	return nil
}

// leave is the counterpart of add: the event leaves the lanes for good.
func (q *queues) leave(ev *event.Event) {
	if ev.IsRedrive() {
		q.redrives--
	}
}

// giveBack ends the batch of a lane. If the lane waits for an event further on in the topic, it has
// no cap from now on, and the returned events give their places in the buffer back: otherwise the
// lane could keep the reader from reaching what it waits for. That is bounded: what was unfinished
// up to there had its place in some process's buffer once.
func (q *queues) giveBack(
	key event.LaneKey, gone []*event.Event, until time.Time, waitsAhead bool,
) (waiting []*event.Event) {
	of := q.of(key)
	l := of.Get(key.Member)
	if waitsAhead {
		q.waitsAhead[key] = true
		waiting = slices.Clone(l.Waiting())
	} else {
		delete(q.waitsAhead, key)
	}
	of.Return(l, gone, until)
	q.reportRoom(key)
	return waiting
}

func (q *queues) reportRoom(key event.LaneKey) {
	if c := q.room[key]; c != nil {
		close(c)
		delete(q.room, key)
	}
}

func (q *queues) dropRevoked() []*event.Event {
	clear(q.waitsAhead)
	var all []*event.Event
	for _, of := range []*queue{q.members, q.rejected} {
		dropped := of.Drop(isDropped, func(l *lane) {
			if !l.Running() && l.State != nil { // a running batch owns the lane's state, and settles it in the end
				forget(l.State, nil)
			}
			q.reportRoom(event.LaneKey{Member: l.Key, Unread: of == q.rejected})
		})
		for _, ev := range dropped {
			q.leave(ev)
		}
		all = append(all, dropped...)
	}
	return all
}

// items returns how many events are in lanes, running or waiting.
func (q *queues) items() int { return q.members.Items() + q.rejected.Items() }

// isDropped is asked about an event that does not run. The state of a running lane belongs to its
// batch, and binds the events of that batch only.
func isDropped(l *lane, ev *event.Event) bool {
	if l.Running() {
		return ev.Ticket.IsRevoked()
	}
	return leaves(stateOf(l), ev)
}

// leaves reports whether an event that was taken away leaves its lane. What the CRM has accepted,
// or the dead-letter topic has acknowledged, needs only Redis to be updated, and the next owner
// would send it again: it stays until the last commit has been sent.
func leaves(s *event.LaneState, ev *event.Event) bool {
	almostDone := ev.Rejection != nil && ev.Rejection.Written ||
		s.Pinned != nil && s.Pinned.Accepted && slices.Contains(s.Pinned.Events, ev)
	return ev.Ticket.IsClosed() || ev.Ticket.IsRevoked() && !almostDone
}

// forget removes what binds the lane to events that it no longer holds: those that are gone, and
// those that were taken away, perhaps while the lane ran. The lease of an unacknowledged call stays
// in Redis until it expires. A candidate that is left alone is still a candidate.
func forget(s *event.LaneState, gone []*event.Event) {
	left := func(ev *event.Event) bool { return leaves(s, ev) || slices.Contains(gone, ev) }
	s.Candidates = slices.DeleteFunc(slices.Clone(s.Candidates), left)
	if s.Pinned != nil && slices.ContainsFunc(s.Pinned.Events, left) {
		s.Pinned = nil
	}
}

func wakeOf(q *queue) time.Time {
	at, _ := q.Wake()
	return at
}

// writeSlots bounds how many unreadable records are dead-lettered at once. They do not need the
// CRM, so they do not wait for it.
const writeSlots = 8

// slotlessMax bounds how many batches of members write at once.
const slotlessMax = 64

// slots count the batches that run.
type slots struct {
	concurrency int // calls in flight at most
	calling     int // batches before the end of their call: they have a call slot or are about to
	completing  int // batches after it, which record the outcome
	writing     int // batches of records and events without a member
	slotless    int // batches of members that write dead letters or results of redrives
	guard       *storm.Guard
}

func (s *slots) canWrite() bool { return s.writing < writeSlots }

// canCall reports whether one more batch may start. A call slot is used only during the call, so a
// few batches more than there are slots acquire their members meantime. Those after their call are
// bounded too: otherwise they would pile up if Redis is slow.
func (s *slots) canCall() bool {
	ahead := s.concurrency / 2
	return s.calling < s.concurrency+ahead && s.completing < s.concurrency
}

func (s *slots) isBusy() bool { return s.calling+s.completing+s.writing+s.slotless > 0 }

// start counts the batch of a lane that was taken, and returns it.
func (s *slots) start(l *lane, events []*event.Event) *event.Batch {
	key := events[0].Key // that of all events of the lane
	if key.IsMember() {
		s.calling++
	} else {
		s.writing++
	}
	if l.State == nil {
		l.State = &event.LaneState{}
	}
	return &event.Batch{Key: key, State: l.State, Events: events, InStorm: s.guard.IsOn()}
}

func (s *slots) callOver() {
	s.calling--
	s.completing++
}

func (s *slots) free(b *event.Batch) {
	switch {
	case b.Writes:
		s.slotless--
	case !b.Key.IsMember():
		s.writing--
	case b.CallOver:
		s.completing--
	default:
		s.calling--
	}
}
