package consumer

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"membersync/consumer/gate"
	"membersync/dlq"
	"membersync/mapper"
)

// The storm guard: while most events would be dead-lettered, none is. What is doomed is held in its lane, calling
// pauses, and one held event at a time is tried afresh. The first that comes to a good end ends the storm.
//
// Guard and gate turn together, in one critical section: between the two a lane that has nothing to do with the storm would pass for a
// probe, and its good end for the storm's.

// sift tells the guard of events that are doomed, and parts those that may be buried from those that a storm holds back.
func (e *engine) sift(ctx context.Context, events []*event) (bury []*event) {
	e.mu.Lock()
	for _, ev := range events {
		if !ev.counted && !ev.amnesty {
			ev.counted = true
			if ev.key.alone != "" { // it was read before the storm that has passed, and cannot be mapped still
				e.guard.Read(true)
			} else {
				e.guard.Dies()
			}
		}
	}
	for _, ev := range events {
		if ev.held = e.guard.On() && !ev.amnesty && !ev.doom.written; !ev.held {
			bury = append(bury, ev)
		}
	}
	begins := e.stormBegins(time.Now())
	e.mu.Unlock()
	if begins {
		e.tellStorm(ctx, events[len(events)-1].doom.reason)
	}
	return bury
}

// stormBegins pauses calling if the guard has just seen a storm. The lock is held.
func (e *engine) stormBegins(now time.Time) bool {
	if !e.guard.On() || e.gate.Paused(gate.Storm) {
		return false
	}
	e.gate.Close(now, gate.Storm, 0)
	e.health.SetPaused(now, true)
	return true
}

func (e *engine) tellStorm(ctx context.Context, reason dlq.Reason) {
	e.tellPause(ctx, gate.Storm, true)
	e.log.LogAttrs(ctx, slog.LevelError, "most events would be dead-lettered: nothing is, until one succeeds or membersync resume lets them go",
		slog.String("reason", string(reason)))
}

// holdBack ends a run of which all events are held.
func (e *engine) holdBack(ctx context.Context, w *work) verdict {
	switch {
	case w == nil:
		return verdict{}
	case w.unanswered:
		return verdict{wait: e.leaseLeft(w)}
	}
	e.release(ctx, w)
	return verdict{}
}

// takeDuringStorm takes a lane that the operator has let go, or, once its time has come, one to try afresh.
func (e *engine) takeDuringStorm(now time.Time, q *queue) *run {
	if e.lenient {
		if l, batch := q.TakeIf(now, hasAmnesty, chooseAmnesty); l != nil {
			return e.began(q, l, batch)
		}
	}
	if a := e.gate.Peek(now); !a.Open {
		return nil
	}
	held, more := e.nextHeld()
	pick, choose := anyLane, choose
	switch {
	case held != nil:
		pick = func(l *lane) bool { return l.Key == held.key }
		choose = func(*lane) []*event { return []*event{held} }
	case more: // whose time will come
		return nil
	}
	l, batch := q.TakeIf(now, pick, choose)
	if l == nil {
		return nil
	}
	e.gate.Ask(now)
	for _, ev := range batch {
		ev.afresh = ev.doom != nil
		e.tried = ev.rec.part.id
	}
	r := e.began(q, l, batch)
	r.probe, r.storm = true, true
	if q == e.lanes {
		e.probes++
	}
	return r
}

// nextHeld is an event that the storm keeps and that can be tried now: of the partition after the one that was tried last, in turn. If there
// is none, more says whether some cannot be tried yet.
func (e *engine) nextHeld() (next *event, more bool) {
	turn := func(ev *event) int { return (ev.rec.part.id - e.tried - 1 + 1<<30) % (1 << 30) }
	more = e.burying > 0
	e.each(func(l *lane) {
		for _, ev := range l.Waiting() {
			if !ev.held && (l.Running() || ev.doom == nil || ev.doom.written || ev.amnesty) { // who was doomed when the storm came had no turn to be held
				continue
			}
			more = true
			if l.Ready() && l.State.pin == nil && (next == nil || turn(ev) < turn(next)) {
				next = ev
			}
		}
	})
	return next, more
}

func hasAmnesty(l *lane) bool {
	return slices.ContainsFunc(l.Waiting(), func(ev *event) bool { return ev.amnesty })
}

// chooseAmnesty picks what [choose] does, without what the operator has not let go.
func chooseAmnesty(l *lane) []*event {
	batch := choose(l)
	if l.State.pin != nil {
		return batch
	}
	let := slices.DeleteFunc(slices.Clone(batch), func(ev *event) bool { return !ev.amnesty })
	if len(let) > 0 {
		return let
	}
	for _, ev := range l.Waiting() {
		if ev.amnesty {
			return []*event{ev}
		}
	}
	return batch
}

// tryAfresh takes back what the storm held. It reports false if the run can go on as any other; otherwise the events have
// no lane of a member, and the verdict says what they came to.
func (e *engine) tryAfresh(ctx context.Context, r *run) (verdict, bool) {
	for _, ev := range r.batch {
		ev.afresh = false
		if ev.key.alone == "" {
			ev.doom, ev.trials = nil, trials{}
			continue
		}
		if m, ok := e.mapAgain(ctx, ev); ok {
			return m, true
		}
		return e.bury(ctx, r, r.batch, nil), true
	}
	return verdict{}, false
}

// mapAgain asks the mapper once more: its lookup tables may have changed.
func (e *engine) mapAgain(ctx context.Context, ev *event) (verdict, bool) {
	results, err := e.tryTranslate(ctx, mapperRecordAt(ev.rec.origin()))
	if err != nil { // what is not known condemns nobody: once more, later
		ev.afresh = true
		return verdict{}, true
	}
	if ev.doom.whole || len(results) != ev.mapped.Count {
		return verdict{}, false
	}
	res := results[ev.mapped.Index]
	switch {
	case res.Fault != nil:
		return verdict{}, false
	case res.Event.Ignored != "":
		ev.mapped, ev.doom = res.Event, nil
		return verdict{ended: []ending{{event: ev, outcome: Ignored}}}, true
	}
	ev.mapped = res.Event
	return verdict{moved: []*event{ev}}, true
}

// move puts events that have found their member into its lane. The lock is held.
func (e *engine) move(events []*event) {
	for _, ev := range events {
		if ev.rec.part.revoked {
			e.outOfLane(ev)
			ev.drop()
			continue
		}
		if ev.doom, ev.held = nil, false; !ev.counted {
			e.guard.Read(false)
		}
		ev.key, ev.id = memberKey(e.cfg, ev.mapped), eventID(ev.rec, ev.mapped)
		e.lanes.Add(ev.key, ev)
	}
}

// stormPasses ends the storm: a held event came to a good end. All that are doomed are tried afresh.
func (e *engine) stormPasses(ctx context.Context) {
	e.mu.Lock()
	e.each(func(l *lane) {
		if l.Running() { // its events are the run's
			return
		}
		for _, ev := range l.Waiting() {
			if ev.doom != nil && !ev.doom.written { // also those that had no turn yet
				ev.afresh, ev.held, ev.counted = true, false, false
			}
		}
	})
	e.mu.Unlock()
	e.endStorm(ctx)
}

// letGo ends the storm because the operator wants what is in memory to be dead-lettered after all.
func (e *engine) letGo(ctx context.Context) {
	e.mu.Lock()
	on := e.guard.On()
	if on {
		e.lenient = true
		e.each(func(l *lane) {
			for _, ev := range l.Waiting() {
				ev.amnesty, ev.held = true, false
			}
		})
	}
	e.mu.Unlock()
	if on {
		e.endStorm(ctx)
	}
}

func (e *engine) endStorm(ctx context.Context) {
	e.mu.Lock()
	e.guard.Reset()
	was := e.gate.Open(gate.Storm)
	e.health.SetPaused(time.Now(), len(e.gate.Causes()) > 0)
	e.mu.Unlock()
	if was {
		e.tellPause(ctx, gate.Storm, false)
	}
	e.wake()
}

func (e *engine) each(do func(*lane)) {
	for _, q := range []*queue{e.letters, e.lanes} {
		for l := range q.All() {
			do(l)
		}
	}
}

// read tells the guard whether an event could be mapped. What could not is counted by that, and what is ignored too.
func (e *engine) read(ctx context.Context, ev *event, fault *mapper.Fault) {
	e.mu.Lock()
	if !ev.counted {
		e.guard.Read(fault != nil)
		ev.counted = fault != nil || ev.mapped.Ignored != ""
	}
	begins := e.stormBegins(time.Now())
	e.mu.Unlock()
	if begins {
		e.tellStorm(ctx, dlq.Reason(fault.Reason)) // only what cannot be mapped begins one
	}
}

// lived tells the guard of good ends. The lock is held.
func (e *engine) lived(end ending) {
	if end.outcome != DeadLettered && end.outcome != Duplicate && !end.event.counted {
		end.event.counted = true
		e.guard.Lived()
	}
}

// provesCalm reports whether a run during a storm came to a good end.
func (r *run) provesCalm(v verdict) bool {
	return r.storm && (len(v.moved) > 0 || slices.ContainsFunc(v.ended, func(end ending) bool {
		return end.outcome != DeadLettered && end.outcome != Duplicate
	}))
}
