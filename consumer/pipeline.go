package consumer

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"membersync/consumer/decode"
	"membersync/consumer/deliver"
	"membersync/consumer/event"
	"membersync/consumer/intake"
	"membersync/consumer/schedule"
	"membersync/consumer/tracing"
	"membersync/consumer/wait"
	"membersync/dlq"
)

// This file is the pipeline of an event, from top to bottom:
//
//	fetch ─► decode ─► lane ─► fold ─► acquire ─► update ─► complete ─► offset ─► commit
//	              │                        │         │           │
//	              └─► done already         └─────────┴───────────┴──► dead letter
//
// Package intake fetches and commits: it calls Handle with each record, in partition order, and
// Revoked when partitions are taken away. Package schedule folds: it decides which member's batch
// runs next. The stages of a batch are in package deliver. This file owns the loop between them,
// and the order of all stages. doc.go explains the terms, and DESIGN.md
// the numbered invariants.

// A pipeline moves events through all stages.
type pipeline struct {
	cfg      *Config
	log      *slog.Logger
	decoder  *decode.Decoder
	schedule *schedule.Schedule
	deliver  *deliver.Deliverer
	permits  *permits
	control  *controlWatcher
	beats    *heart
	report   *reporter
	tracer   *tracing.Tracer // nil: tracing is off
	ahead    *lookahead
	runners  runners
}

// Await holds redrives back while the state in Redis is lost: without the versions an old value
// could win. It implements [intake.Handler].
func (p *pipeline) Await(ctx context.Context, topic string) error {
	if topic == p.cfg.Topic {
		return nil
	}
	return p.control.awaitState(ctx)
}

// Handle takes one record in: decode ─► lane. It implements [intake.Handler].
//
// Invariant 2: intake has begun the record's offset in the watermark before this call. From now on
// no commit passes it until every ticket is finished.
func (p *pipeline) Handle(ctx context.Context, d intake.Delivery) error {
	rec := recordOf(d)
	trace := p.tracer.Receive(ctx, rec, d.FetchedAt)
	events, err := p.decode(ctx, d, rec, trace) // waits for lookups and dead letters: an outage rejects nothing
	trace.Issue(len(events))
	if err != nil {
		return err // the generation is over; intake drops the record
	}
	tickets := d.Issue(len(events))
	for i, ev := range events {
		ev.Ticket, ev.Record.Trace = &tickets[i], trace
	}
	return p.enterAll(ctx, d, events) // ahead.go: those that are done already are finished there
}

// place puts an event into its lane. It waits while the lane is full, and only the partition with
// it.
func (p *pipeline) place(ctx context.Context, ev *event.Event) error {
	p.schedule.RecordMapped(ev)
	switch {
	case ev.Skipped:
		return p.finishUnrun(ctx, event.Finished{Event: ev, Outcome: event.Duplicate})
	case ev.Ignored() != "" && ev.Rejection == nil: // a rule of the mapping
		return p.finishUnrun(ctx, event.Finished{Event: ev, Outcome: event.Ignored})
	}
	for {
		full, err := p.addUnlessRevoked(ev)
		if full == nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-full:
		}
	}
}

// addUnlessRevoked puts an event into its lane, unless its partition was taken away: then nothing
// would drop it from there.
func (p *pipeline) addUnlessRevoked(ev *event.Event) (full <-chan struct{}, err error) {
	p.ahead.placing.RLock()
	defer p.ahead.placing.RUnlock()
	if ev.Ticket.IsRevoked() {
		return nil, errRevoked
	}
	return p.schedule.Add(time.Now(), ev), nil
}

var errRevoked = errors.New("consumer: the partition was taken away")

// finishUnrun finishes an event that needs no lane.
func (p *pipeline) finishUnrun(ctx context.Context, f event.Finished) error {
	for !p.recordResult(ctx, f) {
		if err := wait.For(ctx, auditWait); err != nil {
			return err
		}
	}
	p.report.finished(ctx, f)
	f.Event.Finish()
	return nil
}

// Revoked drops the events of lanes that do not run. It implements [intake.Handler].
//
// Invariant 3: the tickets are marked before this call. So an event is dropped here if its lane
// does not run, and by settle if its lane runs and its outcome is not known by then. A revoke
// cancels no call: a batch that runs goes on to its result, and intake waits for it up to the drain
// limit.
func (p *pipeline) Revoked() {
	p.ahead.placing.Lock()   // who puts an event into its lane after this sees that it is revoked
	p.ahead.placing.Unlock() //nolint:staticcheck // empty on purpose
	for _, ev := range p.schedule.DropRevoked() {
		ev.Drop()
	}
}

// Initialize implements [intake.Handler].
func (p *pipeline) Initialize(ctx context.Context, groupIsNew bool) error {
	p.beats.joining()
	p.ahead.recognizer.Restart()
	return p.control.initialize(ctx, groupIsNew)
}

// dispatch starts batches until the context ends, and returns when the last batch has ended. The
// context is that of the process and not of a generation: it ends after the last drain.
func (p *pipeline) dispatch(ctx context.Context) {
	defer p.ahead.running.Wait()
	defer p.runners.running.Wait()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		until := earliest(p.startReady(ctx), p.permits.returnStale(ctx))
		wait := time.Hour
		if !until.IsZero() {
			wait = max(time.Until(until), 0)
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
		case <-p.schedule.Changed():
		case <-timer.C:
		}
	}
}

// startReady starts all batches that may start now, and returns when to look again; the zero time:
// at the next change.
//
// A permit is drawn before the batch is chosen: the batch then folds what has come while the permit
// was waited for.
func (p *pipeline) startReady(ctx context.Context) time.Time {
	for ctx.Err() == nil {
		next := p.schedule.Next(time.Now())
		b, until := next.Batch, next.Until
		if len(next.Ranks) > 0 {
			b, until = p.permits.take(ctx, next)
		}
		if b == nil {
			return until
		}
		p.runners.start(ctx, b, p.run)
	}
	return time.Time{}
}

// run carries one batch to its result and settles it.
//
// Invariant 4: a lane runs one batch at a time, so nothing else in this process touches the member;
// the lease keeps other processes off.
func (p *pipeline) run(ctx context.Context, b *event.Batch) {
	r := p.process(ctx, b)
	p.permits.settle(ctx, b)
	p.settle(b, r)
}

// process carries one batch to its result, and reports it.
func (p *pipeline) process(ctx context.Context, b *event.Batch) event.Result {
	ctx, span := p.tracer.Batch(ctx, b)
	defer span.End(nil)
	r := (&attempt{p, b}).process(ctx)
	if !b.Key.IsMember() && r.Wait == 0 {
		r.Wait = rejectedWait // if it is not finished: no pause of calls slows its lane down
	}
	r = p.recordResults(ctx, b, r)
	for _, f := range r.Finished {
		p.report.finished(ctx, f)
	}
	return r
}

// settle takes the finished events off the account and gives the lane back.
//
// Invariant 1: this is the one place where an event that has had a lane is finished. What was taken
// away while the batch ran, and is not finished, is dropped: the next owner processes it.
func (p *pipeline) settle(b *event.Batch, r event.Result) {
	settled := p.schedule.Settle(time.Now(), b, r)
	for _, f := range r.Finished {
		f.Event.Finish()
	}
	for _, ev := range settled.Dropped {
		ev.Drop()
	}
	for _, ev := range settled.Waiting {
		ev.Ticket.ReleaseBuffer()
	}
}

// An attempt is one batch in the hands of its goroutine: acquire ─► update ─► complete, or dead
// letter.
type attempt struct {
	*pipeline
	batch *event.Batch
}

// process decides with which stage the batch begins.
func (a *attempt) process(ctx context.Context) event.Result {
	pinned := a.batch.State.Pinned
	switch first := a.batch.Events[0]; {
	case first.Rejection != nil && first.Rejection.Again:
		return a.decodeAgain(ctx)
	case first.Rejection != nil:
		return a.deadLetter(ctx, a.batch.Events, nil)
	case pinned != nil && pinned.Accepted: // only the completion is missing
		return a.complete(ctx, pinned)
	case pinned != nil: // a call went unacknowledged: the same update, or nothing
		return a.repeat(ctx, pinned)
	}
	return a.acquire(ctx)
}

// acquire takes the member's lease, and finds out what of the batch is left to send.
//
// Invariant 6: a lost reply is not a decision. The next attempt asks under the same token.
func (a *attempt) acquire(ctx context.Context) event.Result {
	mark, ok := a.control.trusted()
	batch := a.batch
	if !ok { // invariant 12
		if batch = a.withoutRedrives(); batch == nil {
			return event.Result{Wait: stateWait}
		}
	}
	got, err := a.deliver.Acquire(ctx, batch, a.control.digests())
	u := got.Update
	switch {
	case err != nil:
		return a.redisFailed(ctx, "acquire", err)
	case u == nil: // another process owns the lease, or a newer value is pending there (invariant 11)
		a.control.redis.worked()
		return event.Result{Wait: got.Wait, WaitsAhead: got.WaitsAhead}
	}
	a.control.redis.worked()
	a.ahead.recognizer.RecordAcquired(len(batch.Events), len(got.Finished))
	u.StateMark = string(mark)
	var r event.Result
	switch {
	case len(u.Events) == 0: // all of them were done before
		a.release(ctx, u)
	case u.Fields.Len() == 0: // nothing to send means no call
		r = a.complete(ctx, u)
	default:
		r = a.update(ctx, u)
	}
	r.Finished, r.Held = append(r.Finished, got.Finished...), append(r.Held, got.Held...)
	return r
}

// repeat sends the very same update again, under the renewed lease of the unacknowledged call.
//
// Invariant 5: once a call went unacknowledged, the CRM may still apply it. Until its lease has
// expired, nothing but the same update may be sent.
func (a *attempt) repeat(ctx context.Context, u *event.Update) event.Result {
	leased, err := a.deliver.Renew(ctx, u)
	if err != nil {
		return a.redisFailed(ctx, "renew", err)
	}
	a.control.redis.worked()
	if !leased { // it has expired, so a different update may be sent: start again with acquire
		a.batch.State.Pinned = nil
		return event.Result{}
	}
	return a.update(ctx, u)
}

// update makes one call.
//
// Invariant 4: with a call slot and immediately before the call, the age of the lease, pauses and
// the tickets are checked. A batch whose partition was taken away makes no call.
func (a *attempt) update(ctx context.Context, u *event.Update) event.Result {
	b := a.batch
	if r, ok := a.confirmState(ctx, u); !ok {
		return r
	}
	err := a.deliver.Send(ctx, u, deliver.Hooks{
		MayCall:      func() bool { return a.schedule.MayCall(b) },
		CallOver:     func() { a.schedule.CallOver(b) },
		BeforeResend: a.permits.beforeResend(b),
	})
	switch {
	case errors.Is(err, deliver.ErrNotCalled):
		return a.tryAgain(ctx, u, event.Result{})
	case err != nil:
		return a.failed(ctx, u, err)
	}
	b.Answered, b.Sent = true, true
	a.report.called(u, nil)
	a.schedule.RecordSuccess(time.Now(), b)
	return a.complete(ctx, u)
}

// complete records the outcomes in Redis, which also releases the lease, unless a call under it
// went unacknowledged.
//
// Invariant 1: an event is finished only after Redis has acknowledged this. Until then the lane is
// bound to this completion, which is sent again under the same token.
func (a *attempt) complete(ctx context.Context, u *event.Update) event.Result {
	s := a.batch.State
	finished, late, err := a.deliver.Complete(ctx, u)
	if err != nil {
		u.Accepted, s.Pinned = true, u
		return a.redisFailed(ctx, "complete", err)
	}
	a.control.redis.worked()
	s.Pinned = nil
	if late { // the lease had expired: run the events again, and the versions decide (invariant 6)
		a.report.late(ctx, u)
		return event.Result{}
	}
	s.Backoff = nil
	r := event.Result{Finished: finished}
	if u.Unacknowledged { // nothing can be acquired before the lease has expired
		r.Wait = a.deliver.LeaseLeft(u)
	}
	return r
}

// failed decides what follows from a call that did not succeed.
//
// Invariant 7: an outage dead-letters nothing. Only a rejection for good does, or a retry budget
// that was used up while the CRM worked for others.
func (a *attempt) failed(ctx context.Context, u *event.Update, err error) event.Result {
	b, now := a.batch, time.Now()
	d := a.deliver.Classify(ctx, err, now)
	switch d.Kind {
	case event.KindAbandon: // the process stops: the lease expires by itself
		b.Sent = true
		return event.Result{}
	case event.KindNotSent:
		return a.tryAgain(ctx, u, event.Result{})
	case event.KindPoison, event.KindTransient, event.KindRefused, event.KindPause:
	}
	b.Answered, b.Sent = true, d.Err.Sent
	u.Unacknowledged = u.Unacknowledged || d.OutcomeUnknown
	a.report.called(u, err)
	a.report.callFailed(ctx, b, u, d)
	spent := a.schedule.RecordFailure(now, b, u, d) // begins and ends pauses, too
	switch {
	case d.Kind == event.KindPoison:
		return a.refused(ctx, u, d)
	case d.Kind == event.KindPause: // no attempt is counted
		a.permits.throttle(ctx, d)
		return a.tryAgain(ctx, u, event.Result{})
	case len(spent) > 0 && d.UnknownCode && len(u.Contributors) > 1: // any of them could be the offending one
		return a.refused(ctx, u, d)
	case len(spent) > 0:
		return a.reject(ctx, u, d, spent)
	}
	return a.tryAgain(ctx, u, event.Result{Wait: deliver.Backoff(b.State, d.Err)})
}

// tryAgain lets the lane have another attempt. The lease is released, so that the next fold can
// include what has come since; unless a call went unacknowledged: then the lane is bound to the
// same update (invariant 5).
func (a *attempt) tryAgain(ctx context.Context, u *event.Update, r event.Result) event.Result {
	if u.Unacknowledged {
		a.batch.State.Pinned = u
		return r
	}
	a.batch.State.Pinned = nil
	a.release(ctx, u)
	return r
}

// refused handles a final refusal. If the values of several events are in the update, smaller
// groups are tried, oldest first (invariant 8). "Member not found" rejects the whole fold without a
// search.
func (a *attempt) refused(ctx context.Context, u *event.Update, d event.Decision) event.Result {
	s := a.batch.State
	switch {
	case d.Err.MemberNotFound():
		return a.reject(ctx, u, d, deliver.NotSuperseded(u))
	case len(u.Contributors) == 1:
		return a.reject(ctx, u, d, u.Contributors)
	}
	s.Candidates, s.Pinned = u.Contributors, nil
	if u.Unacknowledged { // a smaller group is a different update: it waits until the lease has expired
		return event.Result{Wait: a.deliver.LeaseLeft(u)}
	}
	a.release(ctx, u)
	return event.Result{}
}

// reject dead-letters events at once, under the lease that is still ours.
func (a *attempt) reject(ctx context.Context, u *event.Update, d event.Decision, events []*event.Event) event.Result {
	for _, ev := range events {
		ev.Rejection = &event.Rejection{Reason: d.Final, Text: d.Err.Summary(), At: time.Now()}
		attempts := ev.AddAttempts()
		attempts.Total, attempts.Last = max(attempts.Total, 1), d.Err // also if the fold replaced all its values
	}
	s := a.batch.State
	s.Pinned, s.Candidates, s.Backoff = nil, nil, nil
	return a.deadLetter(ctx, events, u)
}

// deadLetter writes the dead letters of rejected events, then sets their done marks. Without an
// update no lease is ours yet, and a mark may be there already: a duplicate is neither counted nor
// held.
//
// Invariant 1: nothing is finished before its dead letter and its done mark are acknowledged.
// Invariant 9: what the storm guard holds is neither dead-lettered nor finished.
func (a *attempt) deadLetter(ctx context.Context, rejected []*event.Event, u *event.Update) event.Result {
	var r event.Result
	if u == nil {
		got, err := a.deliver.AcquireRejected(ctx, a.batch, rejected, a.control.digests())
		if err != nil {
			return a.redisFailed(ctx, "acquire", err)
		}
		a.control.redis.worked()
		if u = got.Update; u == nil {
			return event.Result{Wait: got.Wait, WaitsAhead: got.WaitsAhead}
		}
		if rejected, r.Finished = u.Events, got.Finished; len(rejected) == 0 {
			a.release(ctx, u)
			return r
		}
	}
	if !a.mayWrite(ctx, a.batch) {
		if !u.Unacknowledged {
			a.release(ctx, u)
		}
		r.Wait = deliver.DeadLetterBackoff(a.batch.State, nil)
		return r
	}
	rejected, r.Held = a.schedule.Admit(rejected)
	if err := a.deliver.WriteDeadLetters(ctx, rejected); err != nil {
		r.Wait = a.deadLetterFailed(ctx, u, err)
		return r
	}
	if len(rejected) > 0 {
		a.report.deadLettersWork(ctx)
	}
	marks := deliver.MarksOf(rejected, r.Held)
	if u.Unacknowledged {
		r.Wait = a.deliver.LeaseLeft(u)
	}
	if len(marks) == 0 {
		if !u.Unacknowledged {
			a.release(ctx, u)
		}
		return r
	}
	marked, err := a.deliver.Mark(ctx, u, marks)
	if err != nil {
		a.redisFailed(ctx, "complete", err)
	}
	if !marked {
		return r
	}
	for _, ev := range rejected {
		r.Finished = append(r.Finished, event.Finished{Event: ev, Outcome: event.DeadLettered})
	}
	return r
}

// deadLetterFailed returns how long to wait for the dead-letter topic.
func (a *attempt) deadLetterFailed(ctx context.Context, u *event.Update, err error) time.Duration {
	if !u.Unacknowledged {
		a.release(ctx, u)
	}
	a.report.deadLettersFail(ctx, err, errors.Is(err, dlq.ErrTooLarge))
	return deliver.DeadLetterBackoff(a.batch.State, err)
}

// decodeAgain decodes an event without a member once more, since lookup tables may have changed: it
// was held by the storm guard, and is tried again.
func (a *attempt) decodeAgain(ctx context.Context) event.Result {
	ev := a.batch.Events[0] // such a lane has one event
	switch err := a.decoder.Again(ctx, ev); {
	case err != nil: // not known: try again later
		return event.Result{}
	case ev.Rejection != nil:
		ev.Rejection.Again, ev.Rejection.Counted = false, false
		return a.deadLetter(ctx, a.batch.Events, nil)
	case ev.Ignored() != "":
		return event.Result{Finished: []event.Finished{{Event: ev, Outcome: event.Ignored}}}
	}
	return event.Result{Moved: []*event.Event{ev}}
}
