package schedule

import (
	"time"

	"membersync/consumer/event"
)

type (
	// Pauses begin and end pauses of calls, from what the calls have shown.
	Pauses struct{ *core }
	// Storms hold rejected events while most are rejected.
	Storms struct{ *core }
)

// Pause stops calls for the cause until at least now + floor. They resume when a probe succeeds or
// [Pauses.Resume] is called, as the cause requires.
func (s *Pauses) Pause(now time.Time, c event.Cause, floor time.Duration) {
	s.mu.Lock()
	defer s.unlock()
	if c == event.CauseRedis {
		s.redisDown.Store(true)
	}
	s.pauses.pause(now, c, floor)
}

// Resume ends the pause for the cause, if there is one.
func (s *Pauses) Resume(now time.Time, c event.Cause) {
	if c == event.CauseRedis && !s.redisDown.Load() { // almost always, and asked after every reply
		return
	}
	s.mu.Lock()
	defer s.unlock()
	if c == event.CauseRedis {
		s.redisDown.Store(false)
	}
	s.pauses.resume(now, c)
}

// SetControlKnown lets calls begin: the control state has been read.
func (s *Pauses) SetControlKnown() {
	s.mu.Lock()
	defer s.unlock()
	s.dispatch.controlKnown = true
	s.changed.send()
}

// RecordSuccess notes that the CRM has accepted the call of a batch.
func (s *Pauses) RecordSuccess(now time.Time, b *event.Batch) {
	s.mu.Lock()
	defer s.unlock()
	s.pauses.recordSuccess(now, b.Key.Member, b.IsProbe)
}

// RecordFailure notes that the call of a batch failed, begins and ends the pauses that follow from
// it, and returns the events whose retry budget is used up.
func (s *Pauses) RecordFailure(
	now time.Time, b *event.Batch, u *event.Update, d event.Decision,
) (spent []*event.Event) {
	s.mu.Lock()
	defer s.unlock()
	s.pauses.countAttempts(now, u, d)
	s.pauses.applyFailure(now, b, d)
	if d.Kind != event.KindTransient && d.Kind != event.KindRefused {
		return nil
	}
	if spent = s.pauses.spent(now, u, s.cfg.RetryBudget); len(spent) > 0 && d.Kind == event.KindRefused {
		s.pauses.refusalIsOwn(now, b.Key.Member)
	}
	return spent
}

// Admit counts rejected events, at least one, that were not finished before, and divides them into
// those that may be dead-lettered now and those that the storm guard holds. The latter leave their
// lane with the batch's result.
func (s *Storms) Admit(rejected []*event.Event) (deadLetter, held []*event.Event) {
	s.mu.Lock()
	defer s.unlock()
	return s.holder.admit(rejected)
}

// RecordMapped counts, for the storm guard, an event that was read. A redrive is not counted.
func (s *Storms) RecordMapped(ev *event.Event) {
	s.mu.Lock()
	defer s.unlock()
	s.holder.recordMapped(ev)
}

// SetStormUnknown stops calls and dead letters until [Storms.SetStormKnown]: partitions that were
// just assigned may bring events that another instance has held.
func (s *Storms) SetStormUnknown() {
	s.mu.Lock()
	defer s.unlock()
	s.dispatch.stormKnown = false
}

// SetStormKnown begins a storm if another instance has reported one.
func (s *Storms) SetStormKnown(isOn bool) {
	s.mu.Lock()
	defer s.unlock()
	s.dispatch.stormKnown = true
	if isOn {
		s.holder.begin()
	}
	s.changed.send()
}

// ReleaseHeld lets the held events that pick chooses be dead-lettered, and returns how many.
func (s *Storms) ReleaseHeld(pick func(*event.Event) bool) int {
	s.mu.Lock()
	defer s.unlock()
	defer s.changed.send()
	return s.holder.release(pick)
}
