package consumer

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"membersync/consumer/gate"
	"membersync/crmapi"
	"membersync/dedupe"
	"membersync/dlq"
)

// Bounds of the tries of one event.
const (
	minAttempts   = 5 // of the budget, and all that a code outside every table gets
	backoffFirst  = 500 * time.Millisecond
	backoffMax    = 30 * time.Second
	letterBackoff = 10 * time.Second
)

// failed decides what to do after a call that did not succeed.
func (e *engine) failed(ctx context.Context, r *run, w *work, err error) verdict {
	now := time.Now()
	j := judge(ctx, err, now, e.cfg.QuotaReset)
	if j.kind == kindAbandon { // stopping: the lease runs out by itself
		r.sent = true
		return verdict{}
	}
	if j.kind == kindNotSent {
		return e.again(ctx, r, w, verdict{})
	}
	r.called, r.sent = true, j.err.Sent
	e.observeCall(w, err)
	e.logFailure(ctx, r, w, j)
	w.unanswered = w.unanswered || j.lost
	e.countTrials(now, r, w, j)
	switch j.kind {
	case kindPoison:
		e.callSucceeded(ctx, r) // the CRM works; it is this update that it does not want
		return e.refused(ctx, r, w, j)
	case kindPause:
		e.pause(ctx, j.cause, j.floor)
		e.throttleAll(ctx, j)
		return e.again(ctx, r, w, verdict{})
	case kindOperator:
		e.pause(ctx, j.cause, j.floor)
		e.suspectOperator(now, r)
	case kindTransient:
		if j.quick {
			e.answeredOtherwise(ctx, r)
		}
		e.callFailed(ctx, now, r)
	case kindAbandon, kindNotSent: // handled above
	}
	switch spent := e.spent(now, w, j); {
	case len(spent) == 0:
	case j.quick && len(w.givers) > 1: // it could be any one's fault
		return e.refused(ctx, r, w, j)
	default:
		e.acquitOperator(ctx, r, j)
		return e.condemn(ctx, r, w, j, spent)
	}
	return e.again(ctx, r, w, verdict{wait: e.backoff(r.lane, j.err)})
}

// throttleAll slows the other instances down too.
func (e *engine) throttleAll(ctx context.Context, j judgement) {
	if j.cause != gate.Throttled || e.parts.Limiter == nil {
		return
	}
	if err := e.parts.Limiter.Throttle(ctx, max(j.floor, time.Second)); err != nil {
		e.log.LogAttrs(ctx, levelOf(ctx), "other instances not told of the throttling", errAttr(err))
	}
}

// answeredOtherwise ends a pause whose cause has an answer of its own, when a probe is answered with a code in no table. An
// outage may well answer so.
func (e *engine) answeredOtherwise(ctx context.Context, r *run) {
	if !r.probe {
		return
	}
	for _, c := range []gate.Cause{gate.Throttled, gate.Quota, gate.Operator} {
		e.mu.Lock()
		was := e.gate.Open(c)
		e.health.SetPaused(time.Now(), len(e.gate.Causes()) > 0)
		e.mu.Unlock()
		if was {
			e.tellPause(ctx, c, false)
		}
	}
}

// suspectOperator lets another member probe at once while only one has met an operator's error: that
// one's own further tries prove nothing.
func (e *engine) suspectOperator(now time.Time, r *run) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.refusedOnly == nil {
		e.refusedOnly = &r.lane.Key.member
	}
	if *e.refusedOnly == r.lane.Key.member && !e.refusedMore {
		e.gate.Again(now, gate.Operator)
		return
	}
	e.refusedMore = true
}

// acquitOperator ends the pause for an operator's error that only this member has met: its budget was spent
// while the others' calls succeeded, so the answer is its own. Nobody else would disprove it while nothing else is to do.
func (e *engine) acquitOperator(ctx context.Context, r *run, j judgement) {
	if j.kind != kindOperator {
		return
	}
	e.mu.Lock()
	own := e.refusedOnly != nil && *e.refusedOnly == r.lane.Key.member && !e.refusedMore
	was := own && e.gate.Open(gate.Operator)
	if own {
		e.refusedOnly = nil
	}
	if was {
		e.health.SetPaused(time.Now(), len(e.gate.Causes()) > 0)
	}
	e.mu.Unlock()
	if was {
		e.tellPause(ctx, gate.Operator, false)
	}
}

// again lets the lane have another try. After an answer the lease is given back, so that the next
// fold can take in what has come meanwhile; after none, the lane is bound to the same update.
func (e *engine) again(ctx context.Context, r *run, w *work, v verdict) verdict {
	if w.unanswered {
		r.lane.State.pin = w
		return v
	}
	r.lane.State.pin = nil
	e.release(ctx, w)
	return v
}

// refused handles a final no. If several events are in the update, it could be any one's fault: smaller
// groups are tried, the oldest first. Unless the CRM does not know the member: that condemns them all.
func (e *engine) refused(ctx context.Context, r *run, w *work, j judgement) verdict {
	switch {
	case j.err.MemberNotFound():
		return e.condemn(ctx, r, w, j, w.notStale())
	case len(w.givers) == 1:
		return e.condemn(ctx, r, w, j, w.givers)
	}
	r.lane.State.suspects = w.givers
	r.lane.State.pin = nil
	if w.unanswered { // a smaller group is a different update: it waits for the lease to run out
		return verdict{wait: e.leaseLeft(w)}
	}
	e.release(ctx, w)
	return verdict{}
}

// condemn dooms the events and buries them at once, under the lease that is still held.
func (e *engine) condemn(ctx context.Context, r *run, w *work, j judgement, events []*event) verdict {
	for _, ev := range events {
		ev.doom = &doom{reason: j.final, text: j.err.Error(), at: time.Now()}
		ev.trials.attempts, ev.trials.last = max(ev.trials.attempts, 1), j.err // also if the fold overtook its values
	}
	r.lane.State.pin, r.lane.State.suspects, r.lane.State.backoff = nil, nil, nil
	return e.bury(ctx, r, events, w)
}

// bury writes the dead letters of doomed events, then marks the events done. Nothing is finished
// before its letter and its mark are acknowledged. A nil w means that no lease is held: then a mark may be there already.
func (e *engine) bury(ctx context.Context, r *run, events []*event, w *work) verdict {
	if events = e.sift(ctx, events); len(events) == 0 {
		return e.holdBack(ctx, w)
	}
	var v verdict
	if w == nil {
		var grant dedupe.Grant
		if w, grant, v = e.lease(ctx, r.lane, graves(events)); w == nil {
			return v
		}
		if events, v.ended = unmarked(events, grant); len(events) == 0 {
			e.release(ctx, w)
			return v
		}
	}
	for _, ev := range events {
		if ev.doom.written {
			continue
		}
		if err := e.parts.DeadLetters.Write(ctx, ev.letter(e.cfg)); err != nil {
			v.wait = e.letterFailed(ctx, r, w, err)
			return v
		}
		ev.doom.written = true
	}
	e.letterWritten(ctx)
	if !e.mark(ctx, events, w) {
		return v
	}
	for _, ev := range events {
		v.ended = append(v.ended, ending{event: ev, outcome: DeadLettered})
	}
	if w.unanswered {
		v.wait = e.leaseLeft(w)
	}
	return v
}

// graves ask for the marks of doomed events, and for none of their fields.
func graves(events []*event) []dedupe.Event {
	asked := make([]dedupe.Event, len(events))
	for i, ev := range events {
		asked[i] = dedupe.Event{ID: ev.id, Redrive: ev.rec.number(), Version: "0"}
	}
	return asked
}

// unmarked are the events without a done mark. The others have ended: in this process, if their letters are written.
func unmarked(events []*event, grant dedupe.Grant) (left []*event, ended []ending) {
	for i, ev := range events {
		switch {
		case !grant.Events[i].Done:
			left = append(left, ev)
		case ev.doom.written:
			ended = append(ended, ending{event: ev, outcome: DeadLettered})
		default:
			done := grant.Events[i]
			ended = append(ended, ending{event: ev, outcome: Duplicate, told: ev.rec.repeated(done.Redrive, done.Outcome)})
		}
	}
	return left, ended
}

// mark notes in Redis that the events are dead-lettered, so that a further delivery of one is a duplicate. It reports
// false if that is not known: then it is tried again under another lease.
func (e *engine) mark(ctx context.Context, events []*event, w *work) bool {
	c := dedupe.Completion{Member: w.member, Token: w.token, Keep: w.unanswered}
	for _, ev := range events {
		c.Done = append(c.Done, dedupe.DoneEvent{ID: ev.id, Redrive: ev.rec.number(), Outcome: string(DeadLettered)})
	}
	late, err := e.parts.Store.Complete(ctx, c)
	if err != nil {
		e.redisFailed(ctx, "complete", err)
	}
	return err == nil && !late
}

func (w *work) notStale() []*event {
	var events []*event
	for _, ev := range w.events {
		if !slices.Contains(w.stale, ev) && ev.mapped.Update.Len() > 0 {
			events = append(events, ev)
		}
	}
	return events
}

// countTrials keeps the facts of a failed call with the events that were in it.
func (e *engine) countTrials(now time.Time, r *run, w *work, j judgement) {
	e.mu.Lock()
	defer e.mu.Unlock()
	healthy, clock := e.health.Healthy(now), e.health.Clock(now)
	quick := j.quick && (e.lanes.Count() == 1 || !r.probe && !e.gate.Paused(gate.Outage)) // a lane alone has nobody to end the pause for it
	for _, ev := range w.givers {
		t := &ev.trials
		if t.first.IsZero() {
			t.first, t.from = now, clock
		}
		t.attempts++
		t.last = j.err
		if quick || (healthy && j.kind != kindPause) {
			t.counted++
		}
	}
}

// spent returns the events whose retry budget is used up: at least five attempts and the
// budget's time, both counted only while the CRM worked for other members.
func (e *engine) spent(now time.Time, w *work, j judgement) []*event {
	e.mu.Lock()
	defer e.mu.Unlock()
	clock := e.health.Clock(now)
	var events []*event
	for _, ev := range w.givers {
		t := &ev.trials
		if t.counted >= minAttempts && (j.quick || clock-t.from >= e.cfg.RetryBudget) {
			events = append(events, ev)
		}
	}
	return events
}

func (e *engine) backoff(l *lane, err error) time.Duration {
	if l.State.backoff == nil {
		l.State.backoff = crmapi.NewBackoff(crmapi.BackoffConfig{Initial: backoffFirst, Max: backoffMax})
	}
	return l.State.backoff.Next(err)
}

// release gives the lease back early. If that fails, it runs out by itself.
func (e *engine) release(ctx context.Context, w *work) {
	if err := e.parts.Store.Release(ctx, w.member, w.token); err != nil {
		e.log.LogAttrs(ctx, levelOf(ctx), "lease not given back; it runs out by itself", errAttr(err))
	}
}

func (e *engine) letterFailed(ctx context.Context, r *run, w *work, err error) time.Duration {
	if !w.unanswered {
		e.release(ctx, w)
	}
	if e.lettersFail(true) {
		e.log.LogAttrs(ctx, slog.LevelError, "dead letter not written; its record is not committed", errAttr(err),
			slog.Bool("too_large", errors.Is(err, dlq.ErrTooLarge)))
	}
	return min(e.backoff(r.lane, err), letterBackoff)
}

func (e *engine) letterWritten(ctx context.Context) {
	if e.lettersFail(false) {
		e.log.LogAttrs(ctx, slog.LevelInfo, "dead letters are written again")
	}
}

// redisFailed pauses calling until Redis answers again: without it no update is safe.
func (e *engine) redisFailed(ctx context.Context, op string, err error) verdict {
	if ctx.Err() == nil {
		e.log.LogAttrs(ctx, slog.LevelDebug, "redis failed", slog.String("op", op), errAttr(err))
		e.pause(ctx, gate.Redis, 0)
	}
	return verdict{}
}
