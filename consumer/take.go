package consumer

import (
	"slices"
	"time"

	"membersync/consumer/gate"
)

// takeOpen takes a lane for a call, if the gate lets it: one that pick chooses, if there is any.
func (e *engine) takeOpen(now time.Time, pick func(*lane) bool) *run {
	if !e.lanes.Ready(now) {
		return nil
	}
	if e.guard.On() {
		return e.takeDuringStorm(now, e.lanes)
	}
	a := e.gate.Ask(now)
	if !a.Open {
		return nil
	}
	r := e.takeMember(now, a.Probe, pick)
	r.probe = a.Probe
	if r.probe {
		e.probes++
	}
	return r
}

// fullestOf is how many lanes are looked at for the one that spares the most calls, where a limit makes calls scarce: of a backlog the lanes that are
// taken in turn hold less than the fullest. Some are taken in turn all the same, so that each has its own.
const fullestOf = 16

// takeMember takes a lane, mostly one that has not failed. Those that have come back from their backoff, many at once,
// would otherwise go first each time: the probes of a CRM that fails for a part of its members would all meet that part, and most
// of the calls after a pause too.
func (e *engine) takeMember(now time.Time, probe bool, pick func(*lane) bool) *run {
	e.turn++
	if probe || e.turn%3 != 0 {
		well := func(l *lane) bool { return unfailed(l) && pick(l) }
		sample := 0
		if e.parts.Limiter != nil && !probe {
			sample = fullestOf
		}
		if l, batch := e.lanes.TakeFullest(now, well, sample, choose); l != nil {
			return e.began(e.lanes, l, batch)
		}
	}
	if l, batch := e.lanes.TakeIf(now, pick, choose); l != nil {
		return e.began(e.lanes, l, batch)
	}
	return e.take(now, e.lanes)
}

func unfailed(l *lane) bool { return l.State.backoff == nil }

func anyLane(*lane) bool { return true }

// takeLetter takes a record or an event without a member. It needs no call, so only a storm holds it.
func (e *engine) takeLetter(now time.Time) *run {
	if e.guard.On() {
		return e.takeDuringStorm(now, e.letters)
	}
	return e.take(now, e.letters)
}

// mercy reports whether only a storm pauses calling, and the operator has let events go.
func (e *engine) mercy() bool {
	return e.lenient && e.guard.On() && slices.Equal(e.gate.Causes(), []gate.Cause{gate.Storm})
}

func (e *engine) take(now time.Time, q *queue) *run {
	l, batch := q.Take(now, choose)
	return e.began(q, l, batch)
}

func (e *engine) began(q *queue, l *lane, batch []*event) *run {
	if q == e.letters {
		e.burying++
	} else {
		e.busy++
	}
	return &run{lane: l, batch: batch, queue: q}
}

// outOfLane is the counterpart of tryAdd: the event leaves the lanes for good.
func (e *engine) outOfLane(ev *event) {
	if ev.rec.redrive != nil {
		e.redrives--
	}
}
