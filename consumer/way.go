package consumer

import (
	"context"
	"slices"
	"time"

	"membersync/crmapi"
	"membersync/dedupe"
)

// The way of an event, in the order of the picture in DESIGN.md. Fetching and decoding are in partition.go and
// intake.go, the lanes in engine.go. From here on a run holds its lane, so nothing of this process touches
// the member beside it.
//
//	fold -> acquire -> update -> complete -> (offset: event.finish)
//	                     |
//	                dead letter

// A work is one fold on its way: the events in it and, once acquired, the update.
type work struct {
	member dedupe.Member
	token  dedupe.Token
	leased time.Time // when the lease was last asked for: it lives from then at least
	events []*event  // that are not done yet, in lane order
	update crmapi.Update
	givers []*event // whose values are in the update
	stale  []*event // of which every field has a newer version
	out    map[*event]leftOut

	generation int64 // of digests, when the lease was asked for

	unanswered bool // a call went unanswered: the lease must run out, and nothing else may go out under it
	answered   bool // the call succeeded: only its completion is missing
}

type leftOut map[crmapi.Field]string

// process carries one run through, to where it ends or has to wait.
func (e *engine) process(ctx context.Context, r *run) verdict {
	pin := r.lane.State.pin
	if ev := r.batch[0]; ev.doom != nil && ev.afresh {
		if v, over := e.tryAfresh(ctx, r); over {
			return v
		}
	}
	switch {
	case r.batch[0].doom != nil:
		return e.bury(ctx, r, r.batch, nil)
	case pin != nil && pin.answered:
		return e.complete(ctx, r, pin)
	case pin != nil:
		return e.repeat(ctx, r, pin)
	}
	return e.acquire(ctx, r)
}

// acquire takes the member's lease, and finds out what of the fold is left to send.
func (e *engine) acquire(ctx context.Context, r *run) verdict {
	w, grant, wait := e.lease(ctx, r.lane, storeEvents(r.batch))
	if w == nil {
		return wait
	}
	ended := w.resolve(r.batch, grant)
	var v verdict
	switch {
	case len(w.events) == 0:
		e.release(ctx, w)
	case w.update.Len() == 0:
		v = e.complete(ctx, r, w)
	default:
		v = e.send(ctx, r, w)
	}
	v.ended = append(v.ended, ended...)
	return v
}

// lease asks for the lease of the lane's member; without it, the work is nil and
// the verdict says when to ask again. An answer that was lost may have taken the lease, so the
// next try asks under the same token, which gets the same answer.
func (e *engine) lease(ctx context.Context, l *lane, events []dedupe.Event) (*work, dedupe.Grant, verdict) {
	if l.State.token == "" {
		l.State.token = dedupe.NewToken()
	}
	w := &work{member: l.Key.member, token: l.State.token, leased: time.Now()}
	var doubt bool
	w.generation, doubt = e.digests()
	grant, err := e.parts.Store.Acquire(ctx, dedupe.AcquireRequest{
		Member: w.member, Token: w.token, Events: events, Reapply: e.cfg.Reapply, DigestGeneration: w.generation, DistrustDigests: doubt,
	})
	if err != nil {
		l.State.limit = (len(events) + 1) / 2 // perhaps it was too much for Redis in the time that it has
		return nil, grant, e.redisFailed(ctx, "acquire", err)
	}
	e.redisWorks(ctx)
	l.State.token, l.State.limit = "", 0
	if grant.Leased || grant.Pending {
		l.State.held = max(heldFirst, min(2*l.State.held, heldMax))
		if grant.Pending {
			l.State.pending++
		}
		return nil, grant, verdict{wait: max(min(grant.Wait, l.State.held), time.Millisecond), behind: l.State.pending > pendingPatience}
	}
	l.State.held, l.State.pending = 0, 0
	return w, grant, verdict{}
}

// A lease that another process holds is mostly given back long before it runs out, so ask again soon.
const (
	heldFirst = 50 * time.Millisecond
	heldMax   = time.Second
)

// pendingPatience is how often a lane asks for its whole fold and for its newest event, before what
// it waits for is taken to be further on in the topic.
const pendingPatience = 2

// repeat sends the very same update again, under the lease of the call that went unanswered.
func (e *engine) repeat(ctx context.Context, r *run, w *work) verdict {
	start := time.Now()
	held, err := e.parts.Store.Renew(ctx, w.member, w.token)
	if err != nil {
		return e.redisFailed(ctx, "renew", err)
	}
	e.redisWorks(ctx)
	if !held { // it ran out, so a different update may go: begin anew
		r.lane.State.pin = nil
		return verdict{}
	}
	w.leased = start
	return e.send(ctx, r, w)
}

// send makes one attempt. The lease lives 2 x time-out + 5 s from the send on, so
// the send must begin within 5 s of asking for the lease.
func (e *engine) send(ctx context.Context, r *run, w *work) verdict {
	sendBy := w.leased.Add(e.cfg.Lease - 2*e.cfg.CallTimeout)
	if !e.slot(ctx, r, sendBy) {
		return e.again(ctx, r, w, verdict{})
	}
	start := time.Now()
	e.parts.Metrics.callBegins()
	_, err := e.parts.CRM.Modify(ctx, crmapi.Call{Update: w.update, SendBy: sendBy, BeforeResend: e.permitForResend(r)})
	e.parts.Metrics.callEnds(time.Since(start), w, err)
	e.slotDone(r)
	if err == nil {
		r.called, r.sent = true, true
		e.observeCall(w, nil)
		e.callSucceeded(ctx, r)
		w.answered = true
		return e.complete(ctx, r, w)
	}
	return e.failed(ctx, r, w, err)
}

// complete records what became of the fold and gives the lease back. Until Redis
// has answered, the lane is bound to this completion.
func (e *engine) complete(ctx context.Context, r *run, w *work) verdict {
	c := dedupe.Completion{Member: w.member, Token: w.token, Keep: w.unanswered, DigestGeneration: w.generation}
	ended := make([]ending, 0, len(w.events))
	for _, ev := range w.events {
		outcome := w.outcome(ev)
		ended = append(ended, ending{event: ev, outcome: outcome, leftOut: w.out[ev]})
		c.Done = append(c.Done, dedupe.DoneEvent{
			ID: ev.id, Redrive: ev.rec.number(), Outcome: string(outcome), Version: string(ev.mapped.Version), Fields: ev.names(),
		})
	}
	for f, v := range w.update.All() {
		c.Sent = append(c.Sent, dedupe.Field{Name: f.String(), Value: v.AppendJSON(nil)})
	}
	late, err := e.parts.Store.Complete(ctx, c)
	if err != nil {
		w.answered = true
		r.lane.State.pin = w
		return e.redisFailed(ctx, "complete", err)
	}
	e.redisWorks(ctx)
	r.lane.State.pin = nil
	if late { // the account is not kept: run it again, and the versions decide
		e.wasLate(ctx, w)
		return verdict{}
	}
	r.lane.State.backoff = nil
	v := verdict{ended: ended}
	if w.unanswered { // nothing can be acquired before the lease has run out
		v.wait = e.leaseLeft(w)
	}
	return v
}

// resolve sorts the batch by the grant: into events that are done already, which it
// returns, and the fold of the others.
func (w *work) resolve(batch []*event, grant dedupe.Grant) (ended []ending) {
	w.out = make(map[*event]leftOut, len(batch))
	for i, ev := range batch {
		if grant.Events[i].Done {
			done := grant.Events[i]
			ended = append(ended, ending{event: ev, outcome: Duplicate, told: ev.rec.repeated(done.Redrive, done.Outcome)})
			continue
		}
		w.events = append(w.events, ev)
		ev.reused = grant.Events[i].Reused
		if grant.Stale[i] {
			w.stale = append(w.stale, ev)
		}
	}
	for _, g := range grant.Fields {
		f, ok := crmapi.ParseField(g.Name)
		if !ok {
			continue // cannot happen: the names are ours
		}
		w.resolveField(f, batch[g.Winner], g.Decision)
	}
	if len(w.events) > 0 {
		w.update.OpenUserID = w.events[0].mapped.OpenUserID
	}
	return ended
}

func (w *work) resolveField(f crmapi.Field, winner *event, verdict dedupe.FieldDecision) {
	for _, ev := range w.events {
		value, states := ev.mapped.Update.Get(f)
		switch {
		case !states:
		case ev != winner:
			w.leaveOut(ev, f, LeftOutWithin)
		case verdict == dedupe.Superseded:
			w.leaveOut(ev, f, LeftOutNewer)
		case verdict == dedupe.Unchanged:
			w.leaveOut(ev, f, LeftOutHolds)
		default:
			w.update = w.update.With(f, value)
			if !slices.Contains(w.givers, ev) {
				w.givers = append(w.givers, ev)
			}
		}
	}
}

func (w *work) leaveOut(ev *event, f crmapi.Field, why string) {
	if w.out[ev] == nil {
		w.out[ev] = make(leftOut)
	}
	w.out[ev][f] = why
}

// outcome of an event whose fold was sent, or needed no call.
func (w *work) outcome(ev *event) Outcome {
	if slices.Contains(w.givers, ev) {
		return Applied
	}
	for _, why := range w.out[ev] {
		if why != LeftOutHolds {
			return Superseded
		}
	}
	return Unchanged
}

func (e *engine) leaseLeft(w *work) time.Duration {
	return max(time.Until(w.leased.Add(e.cfg.Lease)), time.Millisecond)
}

func storeEvents(batch []*event) []dedupe.Event {
	events := make([]dedupe.Event, len(batch))
	for i, ev := range batch {
		events[i] = dedupe.Event{ID: ev.id, Redrive: ev.rec.number(), Version: string(ev.mapped.Version), Fields: ev.stated()}
	}
	return events
}

// slot waits for a call slot, until the lease is too old for a call. It reports false if the call must
// not go out: too late, stopping, or meanwhile paused or the partitions taken away.
func (e *engine) slot(ctx context.Context, r *run, sendBy time.Time) bool {
	select {
	case e.slots <- struct{}{}:
	default:
		late := time.NewTimer(time.Until(sendBy))
		defer late.Stop()
		select {
		case e.slots <- struct{}{}:
		case <-late.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	paused := !r.probe && !e.mercy() && len(e.gate.Causes()) > 0
	if paused || slices.ContainsFunc(r.batch, func(ev *event) bool { return ev.rec.part.revoked }) {
		<-e.slots
		return false
	}
	return true
}

// slotDone gives the slot to the next run: what is left of this one needs Redis alone.
func (e *engine) slotDone(r *run) {
	<-e.slots
	e.mu.Lock()
	r.closed = true
	e.busy--
	e.closing++
	e.mu.Unlock()
	e.wake()
}
