package schedule

import (
	"slices"
	"time"

	"membersync/consumer/event"
	"membersync/consumer/schedule/gate"
	"membersync/consumer/schedule/health"
)

// A Change is the begin or the end of a pause.
type Change struct {
	Cause event.Cause
	On    bool
}

// A Breaker is the state of the outage breaker, as the metrics name it.
type Breaker string

// The states of the breaker.
const (
	BreakerClosed   Breaker = "closed"
	BreakerOpen     Breaker = "open"
	BreakerHalfOpen Breaker = "half_open" // a probe is under way
)

// pauses are the gate and the health of the CRM. There is one way to pause and one to resume: both
// keep the clock of the retry budgets, the time spent throttled and the list of changes in step.
type pauses struct {
	gate      gate.Gate
	health    *health.Monitor[event.Member]
	throttled stopwatch
	probes    int      // batches under way that are probes
	changes   []Change // not reported yet
	// refusedBy is the member that was first refused since a probe last succeeded; nil: none.
	refusedBy *event.Member
	// refusedOthers: other members have been refused too.
	refusedOthers bool
}

func newPauses() pauses { return pauses{health: health.New[event.Member]()} }

// pause closes the gate for the cause until at least now + floor.
func (p *pauses) pause(now time.Time, c event.Cause, floor time.Duration) {
	fresh := p.gate.Close(now, c, floor)
	p.health.SetPaused(now, true)
	if fresh {
		p.changed(now, Change{Cause: c, On: true})
	}
}

// resume opens the gate for the cause.
func (p *pauses) resume(now time.Time, c event.Cause) {
	was := p.gate.Open(c)
	p.health.SetPaused(now, p.isPaused())
	if was {
		p.changed(now, Change{Cause: c})
	}
}

func (p *pauses) changed(now time.Time, c Change) {
	if c.Cause == event.CauseThrottled {
		p.throttled.set(now, c.On)
	}
	p.changes = append(p.changes, c)
}

func (p *pauses) takeChanges() []Change {
	changes := p.changes
	p.changes = nil
	return changes
}

func (p *pauses) isPaused() bool { return len(p.gate.Causes()) > 0 }

// recordSuccess notes a call that the CRM answered as it should. If it was a probe, it ends the
// pauses that it disproves.
func (p *pauses) recordSuccess(now time.Time, m event.Member, isProbe bool) {
	if isProbe {
		ended := p.gate.Succeeded()
		for _, c := range ended {
			p.changed(now, Change{Cause: c})
		}
		if len(ended) > 0 {
			p.health.Reset(now)
			p.refusedBy, p.refusedOthers = nil, false
		}
	}
	p.health.Record(now, m, true)
	p.health.SetPaused(now, p.isPaused())
}

// recordFailure notes a call that failed for a reason that may be the CRM's, and pauses if most
// members' calls fail.
func (p *pauses) recordFailure(now time.Time, m event.Member, isProbe bool) {
	if !isProbe {
		p.health.Record(now, m, false)
	}
	if p.health.Outage(now) {
		p.pause(now, event.CauseOutage, 0)
	}
}

// recordRefusal lets another member probe at once while only one member has been refused: further
// attempts of that one prove nothing.
func (p *pauses) recordRefusal(now time.Time, m event.Member) {
	if p.refusedBy == nil {
		p.refusedBy = &m
	}
	if *p.refusedBy == m && !p.refusedOthers {
		p.gate.Again(now, event.CauseRefused)
		return
	}
	p.refusedOthers = true
}

// refusalIsOwn ends the pause for a refusal that only this member got: its retry budget was used up
// while the calls of others succeeded. Nothing else would end the pause while no other call is
// made.
func (p *pauses) refusalIsOwn(now time.Time, m event.Member) {
	if p.refusedBy == nil || *p.refusedBy != m || p.refusedOthers {
		return
	}
	p.refusedBy = nil
	p.resume(now, event.CauseRefused)
}

// otherwiseAnswered ends the pauses that have a response of their own, when a probe gets a code
// that is in no table. An outage may well answer so, and stays.
func (p *pauses) otherwiseAnswered(now time.Time) {
	for _, c := range []event.Cause{event.CauseThrottled, event.CauseQuota, event.CauseRefused} {
		p.resume(now, c)
	}
}

func (p *pauses) breaker() Breaker {
	switch {
	case !p.gate.Paused(event.CauseOutage):
		return BreakerClosed
	case p.probes > 0:
		return BreakerHalfOpen
	}
	return BreakerOpen
}

// A stopwatch adds up the time for which something is on.
type stopwatch struct {
	sum   time.Duration
	since time.Time // the zero time: it is off
}

func (s *stopwatch) set(now time.Time, on bool) {
	s.sum, s.since = s.total(now), time.Time{}
	if on {
		s.since = now
	}
}

func (s *stopwatch) total(now time.Time) time.Duration {
	if s.since.IsZero() {
		return s.sum
	}
	return s.sum + now.Sub(s.since)
}

// minAttempts is the least that the retry budget allows.
const minAttempts = 5

// countAttempts records the failed call with the events that were in it. Attempts and time count
// against the retry budget only while the CRM works for other members.
func (p *pauses) countAttempts(now time.Time, u *event.Update, d event.Decision) {
	healthy, clock := p.health.Healthy(now), p.health.Clock(now)
	for _, ev := range u.Contributors {
		a := ev.AddAttempts()
		if a.First.IsZero() {
			a.First, a.From = now, clock
		}
		a.Total++
		a.Last = d.Err
		if healthy && d.Kind != event.KindPause {
			a.Counted++
		}
	}
}

// spent returns the events whose retry budget is used up.
func (p *pauses) spent(now time.Time, u *event.Update, budget time.Duration) []*event.Event {
	clock := p.health.Clock(now)
	return slices.DeleteFunc(slices.Clone(u.Contributors), func(ev *event.Event) bool {
		a := ev.Attempts
		return a.Counted < minAttempts || clock-a.From < budget
	})
}

// applyFailure begins and ends the pauses that follow from a failed call.
func (p *pauses) applyFailure(now time.Time, b *event.Batch, d event.Decision) {
	member := b.Key.Member
	switch d.Kind {
	case event.KindPoison: // the CRM works; it only does not want this update
		p.recordSuccess(now, member, b.IsProbe)
	case event.KindPause:
		p.pause(now, d.Cause, d.Floor)
	case event.KindRefused:
		p.pause(now, d.Cause, d.Floor)
		p.recordRefusal(now, member)
	case event.KindTransient:
		if d.UnknownCode && b.IsProbe {
			p.otherwiseAnswered(now)
		}
		p.recordFailure(now, member, b.IsProbe)
	case event.KindAbandon, event.KindNotSent: // no failure of a call
	}
}
