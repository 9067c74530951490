package schedule

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"membersync/consumer/event"
)

// A Config is the settings of a [Schedule].
type Config struct {
	// Concurrency bounds the calls in flight.
	Concurrency int
	// HasLimiter: a batch that calls the CRM needs a permit; see [Next].
	HasLimiter bool
	// StormShare is the share of the latest events, 0 to 1, above which dead-lettering stops; 0:
	// never.
	StormShare float64
	// HeldRetry is the time between the rounds in which held events are tried again; 0: 30 s.
	HeldRetry time.Duration
	// RetryBudget is for one event, on the clock of [health.Monitor]; 0: the attempts alone count.
	RetryBudget time.Duration
	// GatherFor bounds how long the first calls after an assignment wait for the backlog; 0: 800 ms.
	GatherFor time.Duration
	// OnPause is called, without the lock, for each pause that begins or ends. Required.
	OnPause func(Change)
	// OnStorm is called, without the lock, for each storm that begins or ends. Required with a
	// StormShare.
	OnStorm func(StormChange)
}

// A Schedule decides which batch runs next. It is safe for concurrent use: all its parts share one
// lock.
type Schedule struct {
	*core
	*Pauses
	*Storms
}

// core is what the parts share.
type core struct {
	cfg     Config
	changed signal
	// redisDown follows the pause for Redis, for a look without the lock.
	redisDown atomic.Bool

	mu       sync.Mutex // guards everything below
	queues   queues
	slots    slots
	pauses   pauses
	holder   holder
	dispatch dispatcher
	// progress is when a batch last ended, for the watchdog; the zero time: nothing has to end.
	progress time.Time
}

// New returns a schedule without any events.
func New(cfg Config) *Schedule {
	s := &core{cfg: cfg, changed: make(signal, 1), queues: newQueues(), pauses: newPauses()}
	s.holder = newHolder(cfg, &s.queues, &s.pauses)
	s.slots = slots{concurrency: cfg.Concurrency, guard: s.holder.guard}
	s.dispatch = dispatcher{
		hasLimiter: cfg.HasLimiter, queues: &s.queues, slots: &s.slots, pauses: &s.pauses, holder: &s.holder,
		gathering: newGathering(cfg), stormKnown: true,
	}
	return &Schedule{core: s, Pauses: &Pauses{s}, Storms: &Storms{s}}
}

// A signal says that something has changed.
type signal chan struct{}

func (c signal) send() {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Changed receives a value after each change that may let a batch start.
func (s *Schedule) Changed() <-chan struct{} { return s.changed }

// unlock releases the lock and reports the pauses and storms that have begun or ended under it.
func (s *core) unlock() {
	changes, storms := s.pauses.takeChanges(), s.holder.takeChanges()
	s.mu.Unlock()
	for _, c := range changes {
		s.cfg.OnPause(c)
	}
	for _, c := range storms {
		s.cfg.OnStorm(c)
	}
	if len(changes)+len(storms) > 0 {
		s.changed.send()
	}
}

// Add puts an event at the end of its lane. If the lane is at its cap, the event is not added, and
// the returned channel is closed once the lane has shrunk: only the partition that the event comes
// from waits.
func (s *Schedule) Add(now time.Time, ev *event.Event) (full <-chan struct{}) {
	s.mu.Lock()
	defer s.unlock()
	s.holder.setReaderWaits(false)
	if full := s.queues.add(ev, s.holder.notBefore(now, ev)); full != nil {
		s.dispatch.gathering.stop() // it would wait for more than can come
		return full
	}
	s.changed.send()
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

// Next returns what may start now.
func (s *Schedule) Next(now time.Time) Next {
	s.mu.Lock()
	defer s.unlock()
	return s.dispatch.next(now)
}

// Take returns the batch that a permit of this rank is for; nil if no lane is ready any more.
func (s *Schedule) Take(now time.Time, rank event.Rank) *event.Batch {
	s.mu.Lock()
	defer s.unlock()
	return s.dispatch.takeMember(now, hasRank(rank))
}

// RecordNoPermit notes that no permit was granted at the rank, and how long to wait before asking
// again. It returns when that is. Waiting for the limit counts as progress.
func (s *Schedule) RecordNoPermit(now time.Time, rank event.Rank, wait time.Duration) (until time.Time) {
	s.mu.Lock()
	defer s.unlock()
	s.progress = now
	return s.dispatch.ranks.refuse(rank, now.Add(max(wait, time.Millisecond)))
}

// CanUsePermit reports whether a permit that a batch did not need would be used by another one now.
func (s *Schedule) CanUsePermit(now time.Time) bool {
	s.mu.Lock()
	defer s.unlock()
	return s.dispatch.canCall(now)
}

// MayCall is asked immediately before a call: it reports whether no pause has begun and no
// partition of the batch was taken away since the batch was taken.
func (s *Schedule) MayCall(b *event.Batch) bool {
	s.mu.Lock()
	defer s.unlock()
	if !b.IsProbe && s.pauses.isPaused() {
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
	s.changed.send()
}

// Writes lets another batch have the slot while this one writes to a topic of membersync's own: a
// broker that does not answer must not delay other members. It returns false if too many batches
// write already; then this one has to wait without a write.
func (s *Schedule) Writes(b *event.Batch) bool {
	s.mu.Lock()
	defer s.unlock()
	switch {
	case b.Writes || !b.Key.IsMember(): // those without a member have slots of their own
		return true
	case s.slots.slotless >= slotlessMax:
		return false
	}
	s.slots.free(b)
	b.Writes = true
	s.slots.slotless++
	s.changed.send()
	return true
}

// A Settled is what the caller has to do, without the lock, after a batch has gone back.
type Settled struct {
	Dropped []*event.Event // taken away while they ran, and not finished: Drop their tickets
	Waiting []*event.Event // of a lane that waits for an event further on: ReleaseBuffer of their tickets
}

// Settle takes a batch back. What is finished leaves the lane, and what was taken away while it ran
// is dropped; the rest waits for its next turn. The caller then finishes the tickets of the
// finished events.
func (s *Schedule) Settle(now time.Time, b *event.Batch, r event.Result) Settled {
	s.mu.Lock()
	defer s.unlock()
	defer s.changed.send()
	s.progress = now
	var settled Settled
	gone := make([]*event.Event, 0, len(r.Finished)+len(r.Moved)+len(r.Held))
	for _, f := range r.Finished {
		gone = append(gone, f.Event)
		s.holder.recordFinished(f)
		s.queues.leave(f.Event)
	}
	gone = append(append(gone, r.Moved...), r.Held...)
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
	// Not before the lane has been given back: it removes those that have left it.
	settled.Dropped = append(settled.Dropped, s.holder.hold(r.Held)...)
	s.holder.forget(settled.Dropped)
	s.holder.updateFull()
	return settled
}

// moveLocked puts events whose member is known now into their lanes, and returns those that were
// taken away while they were read again.
func (s *core) moveLocked(events []*event.Event) (dropped []*event.Event) {
	for _, ev := range events {
		if ev.Ticket.IsRevoked() {
			s.queues.leave(ev)
			dropped = append(dropped, ev)
			continue
		}
		s.holder.recordMoved(ev)
		s.queues.members.Add(ev.Key.Member, ev)
	}
	return dropped
}

func (s *core) freeSlotLocked(now time.Time, b *event.Batch) {
	s.slots.free(b)
	if b.IsProbe && b.Key.IsMember() {
		s.pauses.probes--
		if !b.Answered {
			s.pauses.gate.Unspent(now)
		}
	}
}

// DropRevoked removes, from all lanes, the events whose partitions were taken away, and returns
// them: the caller drops their tickets. A batch that runs is left to end; [Schedule.Settle] drops
// what it has not finished.
func (s *Schedule) DropRevoked() []*event.Event {
	s.mu.Lock()
	defer s.unlock()
	s.dispatch.gathering.stop()
	dropped := append(s.queues.dropRevoked(), s.holder.dropRevoked()...)
	s.holder.forget(dropped)
	s.holder.updateFull()
	return dropped
}

// StartGathering lets the first calls after an assignment wait for the backlog, for a moment.
func (s *Schedule) StartGathering(now time.Time) {
	s.mu.Lock()
	defer s.unlock()
	s.dispatch.gathering.start(now)
}

// StopGathering ends that wait: everything that the log held is here or, if isFull, no more fits
// into memory.
func (s *Schedule) StopGathering(isFull bool) {
	s.mu.Lock()
	defer s.unlock()
	s.dispatch.gathering.stop()
	if isFull {
		s.holder.setReaderWaits(true)
	}
	s.changed.send()
}

// Stats describe a schedule at one moment.
type Stats struct {
	Breaker    Breaker
	Causes     []event.Cause // of the pauses
	NextProbe  time.Time     // when a paused call is tried next; zero: none is planned
	Parked     int           // members whose next attempt is later
	Throttled  time.Duration // for how long throttling has paused calls, in total
	Items      int           // events in lanes, running or waiting
	Held       int           // events that the storm guard holds, or tries again
	Storm      bool          // there is a storm
	Redrives   int           // of those, from the redrive topic
	Calling    int           // batches before the end of their call
	Completing int           // batches after it
	Writing    int           // batches of rejected records without a member
	// StuckFor is for how long batches have been running, or could have started, without one ending; 0
	// if there is nothing to do.
	StuckFor time.Duration
}

// Stats returns the state for metrics, readiness and liveness.
func (s *Schedule) Stats(now time.Time) Stats {
	s.mu.Lock()
	defer s.unlock()
	if !s.slots.isBusy() && !s.dispatch.canStart(now) || s.progress.IsZero() {
		s.progress = now
	}
	causes := s.pauses.gate.Causes()
	if s.holder.isFull {
		causes = append(causes, event.CauseStorm)
	}
	return Stats{
		Breaker: s.pauses.breaker(), Causes: causes, NextProbe: s.pauses.gate.NextProbe(now), Throttled: s.pauses.throttled.total(now),
		Parked: s.queues.members.Parked(), Redrives: s.queues.redrives,
		Items: s.queues.items(), Held: s.holder.held.size + len(s.holder.trying), Storm: s.holder.guard.IsOn(),
		Calling: s.slots.calling, Completing: s.slots.completing, Writing: s.slots.writing,
		StuckFor: now.Sub(s.progress),
	}
}

// earliest of the times that are set.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}
