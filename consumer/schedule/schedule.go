package schedule

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"membersync/consumer/event"
	"membersync/consumer/schedule/storm"
)

// A Config is the settings of a [Schedule].
type Config struct {
	// Concurrency bounds the calls in flight.
	Concurrency int
	// HasLimiter: a batch that calls the CRM needs a permit; see [Next].
	HasLimiter bool
	// Limit is what the limiter shares out; the zero value: calls are not paced.
	Limit Limit
	// StormShare is the share of the latest events, 0 to 1, above which dead-lettering stops; 0: never.
	StormShare float64
	// RetryBudget is for one event, on the clock of [health.Monitor]; 0: the attempts alone count.
	RetryBudget time.Duration
	// GatherFor bounds how long the first calls after an assignment wait for the backlog, and FillFor how
	// long they are few; 0: the defaults, 800 ms and 3 s.
	GatherFor, FillFor time.Duration
	// OnPause is called, without the lock, for each pause that begins or ends. Required.
	OnPause func(Change)
}

// A Schedule is safe for concurrent use.
type Schedule struct {
	cfg     Config
	changed chan struct{}
	// redisDown follows the pause for Redis, for a look without the lock.
	redisDown atomic.Bool

	mu     sync.Mutex // guards everything below
	queues queues
	slots  slots
	pauses pauses
	pacer  pacer
	ranks  ranks
	guard  *storm.Guard
	// released: the operator has let held events be dead-lettered while the storm guard was on.
	released bool
	// lastTried is the partition of the held event that was tried last.
	lastTried int
	// controlKnown: the control state has been read once; before that, no call is made.
	controlKnown bool
	// progress is when a batch last ended, for the watchdog; the zero time: nothing has to end.
	progress time.Time
}

// New returns a schedule without any events.
func New(cfg Config) *Schedule {
	return &Schedule{
		cfg: cfg, changed: make(chan struct{}, 1), queues: newQueues(), slots: slots{concurrency: cfg.Concurrency},
		pauses: newPauses(), pacer: newPacer(cfg), guard: storm.New(cfg.StormShare), lastTried: -1,
	}
}

// Changed receives a value after each change that may let a batch start.
func (s *Schedule) Changed() <-chan struct{} { return s.changed }

func (s *Schedule) notify() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// unlock releases the lock and reports the pauses that have begun or ended under it.
func (s *Schedule) unlock() {
	changes := s.pauses.takeChanges()
	s.mu.Unlock()
	for _, c := range changes {
		s.cfg.OnPause(c)
	}
	if len(changes) > 0 {
		s.notify()
	}
}

// Add puts an event at the end of its lane. If the lane is at its cap, the event is not added, and the
// returned channel is closed once the lane has shrunk: only the partition that the event comes from
// waits.
func (s *Schedule) Add(ev *event.Event) (full <-chan struct{}) {
	s.mu.Lock()
	defer s.unlock()
	if full := s.queues.add(ev); full != nil {
		s.pacer.stopGathering() // it would wait for more than can come
		return full
	}
	s.notify()
	return nil
}

// A Next is what may happen now.
type Next struct {
	// Batch is not nil if a batch may start at once.
	Batch *event.Batch
	// Ranks are, otherwise, those to draw a permit at, in this order. With the permit, [Schedule.Take]
	// returns the batch.
	Ranks []event.Rank
	// Until is when to ask again if nothing has changed before; the zero time: not before a change.
	Until time.Time
}

// Next returns what may start now. HasPermit says that the caller has a permit left over, which is not
// paced.
func (s *Schedule) Next(now time.Time, hasPermit bool) Next {
	s.mu.Lock()
	defer s.unlock()
	// First: lanes whose time has come are ready from now on, and wake nobody up again.
	rejected, members := s.queues.rejected.Ready(now), s.queues.members.Ready(now)
	until := earliest(wakeOf(s.queues.rejected), wakeOf(s.queues.members))
	if s.guard.IsOn() {
		until = earliest(until, s.pauses.gate.Peek(now).Until)
	}
	if rejected && s.slots.canWrite() {
		if b := s.takeRejectedLocked(now); b != nil {
			return Next{Batch: b, Until: until}
		}
	}
	if !members || !s.slots.canCall() || !s.controlKnown {
		return Next{Until: until}
	}
	if wait := s.pacer.gatheringUntil(now); !wait.IsZero() {
		return Next{Until: earliest(until, wait)}
	}
	if a := s.pauses.gate.Peek(now); !a.Open && !s.isReleasingLocked() {
		return Next{Until: earliest(until, a.Until)}
	}
	if s.cfg.HasLimiter {
		ranks, wait := s.ranksLocked(now, hasPermit)
		return Next{Ranks: ranks, Until: earliest(until, wait)}
	}
	return Next{Batch: s.takeMemberLocked(now, anyLane), Until: until}
}

// Take returns the batch that a permit of this rank is for; nil if no lane is ready any more.
func (s *Schedule) Take(now time.Time, rank event.Rank) *event.Batch {
	s.mu.Lock()
	defer s.unlock()
	return s.takeMemberLocked(now, hasRank(rank))
}

// RecordPermit notes that a permit was drawn at the rank or, if it was not granted, how long to wait
// before asking again at this rank. It returns when that is. Waiting for the limit counts as progress.
func (s *Schedule) RecordPermit(now time.Time, rank event.Rank, granted bool, wait time.Duration) (until time.Time) {
	s.mu.Lock()
	defer s.unlock()
	if granted {
		s.pacer.recordPermit(now)
		return time.Time{}
	}
	s.progress = now
	return s.ranks.refuse(rank, now.Add(max(wait, time.Millisecond)))
}

// CanUsePermit reports whether a permit that a batch did not need would be used by another one now.
func (s *Schedule) CanUsePermit(now time.Time) bool {
	s.mu.Lock()
	defer s.unlock()
	return s.queues.members.Ready(now) && s.pauses.gate.Peek(now).Open
}

// MayCall is asked immediately before a call: it reports whether no pause has begun and no partition of
// the batch was taken away since the batch was taken.
func (s *Schedule) MayCall(b *event.Batch) bool {
	s.mu.Lock()
	defer s.unlock()
	if !b.IsProbe && !s.isReleasingLocked() && s.pauses.isPaused() {
		return false
	}
	return !slices.ContainsFunc(b.Events, func(ev *event.Event) bool { return ev.Ticket.IsRevoked() })
}

// CallOver lets another batch have the call slot: what is left of this batch needs Redis only.
func (s *Schedule) CallOver(b *event.Batch) {
	s.mu.Lock()
	defer s.unlock()
	b.CallOver = true
	s.slots.callOver()
	s.notify()
}

// A Settled is what the caller has to do, without the lock, after a batch has gone back.
type Settled struct {
	Dropped []*event.Event // taken away while they ran, and not finished: Drop their tickets
	Waiting []*event.Event // of a lane that waits for an event further on: ReleaseBuffer of their tickets
}

// Settle takes a batch back. What is finished leaves the lane, and what was taken away while it ran is
// dropped; the rest waits for its next turn. The caller then finishes the tickets of the finished
// events. If the batch was a retry of held events and ended well, the storm is over.
func (s *Schedule) Settle(now time.Time, b *event.Batch, r event.Result) Settled {
	s.mu.Lock()
	defer s.unlock()
	defer s.notify()
	s.progress = now
	var settled Settled
	gone := make([]*event.Event, 0, len(r.Finished)+len(r.Moved))
	for _, f := range r.Finished {
		gone = append(gone, f.Event)
		s.recordFinishedLocked(f)
		s.queues.leave(f.Event)
	}
	gone = append(gone, r.Moved...)
	settled.Dropped = s.moveLocked(r.Moved)
	for _, ev := range b.Events {
		if leaves(b.State, ev) && !slices.Contains(gone, ev) {
			gone = append(gone, ev)
			s.queues.leave(ev)
			settled.Dropped = append(settled.Dropped, ev)
		}
	}
	forget(b.State, gone)
	var until time.Time
	if r.Wait > 0 {
		until = now.Add(r.Wait)
	}
	settled.Waiting = s.queues.giveBack(b.Key, gone, until, r.WaitsAhead)
	s.freeSlotLocked(now, b)
	if b.IsStormRetry && endedWell(r) {
		s.retryAllHeldLocked()
		s.endStormLocked(now)
	}
	return settled
}

// moveLocked puts events whose member is known now into their lanes, and returns those that were taken
// away while they were read again.
func (s *Schedule) moveLocked(events []*event.Event) (dropped []*event.Event) {
	for _, ev := range events {
		if ev.Ticket.IsRevoked() {
			s.queues.leave(ev)
			dropped = append(dropped, ev)
			continue
		}
		if ev.Storm.Held = false; !ev.Storm.Counted {
			s.guard.RecordMapped(false)
		}
		s.queues.members.Add(ev.Key, ev)
	}
	return dropped
}

func (s *Schedule) freeSlotLocked(now time.Time, b *event.Batch) {
	s.slots.free(b)
	if b.IsProbe && b.Key.IsMember() {
		s.pauses.probes--
		if !b.Answered && !b.IsStormRetry {
			s.pauses.gate.Unspent(now)
		}
	}
}

// DropRevoked removes, from all lanes, the events whose partitions were taken away, and returns them:
// the caller drops their tickets. A batch that runs is left to end; [Schedule.Settle] drops what it has
// not finished.
func (s *Schedule) DropRevoked() []*event.Event {
	s.mu.Lock()
	defer s.unlock()
	s.pacer.stopGathering()
	return s.queues.dropRevoked()
}

// StartGathering lets the first calls after an assignment wait for the backlog, for a moment.
func (s *Schedule) StartGathering(now time.Time) {
	s.mu.Lock()
	defer s.unlock()
	s.pacer.startGathering(now)
}

// StopGathering ends that wait: everything that the log held is here or, if isFull, no more fits into
// memory.
func (s *Schedule) StopGathering(now time.Time, isFull bool) {
	s.mu.Lock()
	defer s.unlock()
	s.pacer.stopGathering()
	if isFull {
		s.pacer.full = now
	}
	s.notify()
}

// Stats describe a schedule at one moment.
type Stats struct {
	Breaker    Breaker
	Causes     []event.Cause // of the pauses
	Parked     int           // members whose next attempt is later
	Throttled  time.Duration // for how long throttling has paused calls, in total
	Items      int           // events in lanes, running or waiting
	Redrives   int           // of those, from the redrive topic
	Calling    int           // batches before the end of their call
	Completing int           // batches after it
	Writing    int           // batches of rejected records without a member
}

// Stats returns the state for metrics and readiness.
func (s *Schedule) Stats(now time.Time) Stats {
	s.mu.Lock()
	defer s.unlock()
	return Stats{
		Breaker: s.pauses.breaker(), Causes: s.pauses.gate.Causes(), Throttled: s.pauses.throttled.total(now),
		Parked: s.queues.members.Parked(), Redrives: s.queues.redrives,
		Items:   s.queues.members.Items() + s.queues.rejected.Items(),
		Calling: s.slots.calling, Completing: s.slots.completing, Writing: s.slots.writing,
	}
}

// StuckFor returns for how long batches have been running, or could have started, without one ending; 0
// if there is nothing to do.
func (s *Schedule) StuckFor(now time.Time) time.Duration {
	s.mu.Lock()
	defer s.unlock()
	canStart := (s.queues.rejected.Ready(now) && !s.guard.IsOn()) ||
		(s.queues.members.Ready(now) && s.pauses.gate.Peek(now).Open)
	if (!s.slots.isBusy() && (!canStart || !s.controlKnown)) || s.progress.IsZero() {
		s.progress = now
	}
	return now.Sub(s.progress)
}

// earliest of the times that are set.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}
