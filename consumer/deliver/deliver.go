package deliver

import (
	"context"
	"errors"
	"time"

	"membersync/consumer/event"
	"membersync/consumer/tracing"
	"membersync/crmapi"
	"membersync/dedupe"
	"membersync/dlq"
)

// A Store records what was done and keeps two processes off one member.
type Store interface {
	Acquire(ctx context.Context, req dedupe.AcquireRequest) (dedupe.Grant, error)
	Complete(ctx context.Context, c dedupe.Completion) (late bool, err error)
	Leases
}

// Leases is the part of a [Store] between a failed call and the next attempt.
type Leases interface {
	Renew(ctx context.Context, m dedupe.Member, t dedupe.Token) (leased bool, err error)
	Release(ctx context.Context, m dedupe.Member, t dedupe.Token) error
}

// A CRM takes updates, one attempt per call.
type CRM interface {
	Modify(ctx context.Context, call crmapi.Call) (crmapi.Response, error)
}

// A DeadLetterWriter writes dead letters. An error means that the dead letter is not known to be
// written.
type DeadLetterWriter interface {
	Write(ctx context.Context, l dlq.DeadLetter) error
}

// An Auditor records who did what. An error means that the record is not known to be written.
type Auditor interface {
	Write(ctx context.Context, r dlq.AuditRecord) error
}

// Metrics counts calls.
type Metrics interface {
	CallBegins()
	// CallEnds is called with the update and the error of the call; nil: it was applied.
	CallEnds(took time.Duration, u *event.Update, err error)
}

// A Config is the settings of a [Deliverer]. Every field is required unless it says what zero
// means.
type Config struct {
	Topic       string // the source topic
	Group       string // the consumer group, for dead letters and audit records
	Version     string // of the program, for dead letters
	Concurrency int    // calls in flight at most
	CallTimeout time.Duration
	Lease       time.Duration // how long a member stays leased: 2 x CallTimeout + 5 s
	QuotaReset  func(time.Time) time.Time
	Reapply     bool // ignore done marks and digests, never versions
}

// Parts is what a [Deliverer] works with.
type Parts struct {
	Store       Store
	CRM         CRM
	DeadLetters DeadLetterWriter
	Audit       Auditor // needed for redrives
	Metrics     Metrics
	Tracer      *tracing.Tracer // nil: tracing is off
}

// A Deliverer has the stages of one batch. It is safe for concurrent use by different batches.
type Deliverer struct {
	cfg   Config
	parts Parts
	slots chan struct{} // one for each call in flight
}

// New returns a deliverer.
func New(cfg Config, parts Parts) *Deliverer {
	return &Deliverer{cfg: cfg, parts: parts, slots: make(chan struct{}, cfg.Concurrency)}
}

// Digests is what is known of the stored digests when a lease is asked for.
type Digests struct {
	Generation int64
	Distrust   bool // the generation was read too long ago
}

// An Acquired is the answer to [Deliverer.Acquire].
type Acquired struct {
	// Update is what is left to send under the lease; nil if the lane has to wait.
	Update *event.Update
	// Finished are events that were done before.
	Finished []event.Finished
	// Held are events that the CRM has rejected and the storm guard has held before: they are held
	// again, without a call.
	Held []*event.Event
	// Wait is how long to wait without an Update.
	Wait time.Duration
	// WaitsAhead: the lane waits for an event further on in the topic, or in another process.
	WaitsAhead bool
}

// Acquire takes the member's lease and finds out what of the batch is left to send. If the reply
// was lost, the lease may be ours all the same: the next attempt asks under the same token and gets
// the same answer.
func (d *Deliverer) Acquire(ctx context.Context, b *event.Batch, digests Digests) (Acquired, error) {
	return d.acquire(ctx, b, digests, storeEvents(b), func(u *event.Update, grant dedupe.Grant) ([]event.Finished, []*event.Event) {
		return resolve(u, b.Events, grant)
	})
}

// AcquireRejected is Acquire for events that are to be dead-lettered: it asks for their done marks,
// and for none of their fields. Update.Events are those without a done mark.
func (d *Deliverer) AcquireRejected(ctx context.Context, b *event.Batch, rejected []*event.Event, digests Digests) (Acquired, error) {
	asked := make([]dedupe.Event, len(rejected))
	for i, ev := range rejected {
		asked[i] = dedupe.Event{ID: ev.ID, Redrive: ev.Record.RedriveNumber(), Version: "00", TryHeld: true}
	}
	return d.acquire(ctx, b, digests, asked, func(u *event.Update, grant dedupe.Grant) ([]event.Finished, []*event.Event) {
		return resolveRejected(u, rejected, grant), nil
	})
}

func (d *Deliverer) acquire(
	ctx context.Context, b *event.Batch, digests Digests, events []dedupe.Event,
	resolve func(*event.Update, dedupe.Grant) (finished []event.Finished, held []*event.Event),
) (Acquired, error) {
	s := b.State
	if s.Token == "" {
		s.Token = dedupe.NewToken()
	}
	u := &event.Update{Member: b.Key.Member, Token: s.Token, LeasedAt: time.Now(), DigestGeneration: digests.Generation}
	grant, err := d.grant(ctx, dedupe.AcquireRequest{
		Member: u.Member, Token: u.Token, Events: events, Reapply: d.cfg.Reapply,
		DigestGeneration: digests.Generation, DistrustDigests: digests.Distrust,
	})
	if errors.Is(err, dedupe.ErrTokenUsed) {
		s.Token = "" // a mark of another token has the same hash of it
	}
	if err != nil {
		s.FoldLimit = (len(events) + 1) / 2 // perhaps it was too much for Redis in the time that it has
		return Acquired{}, err
	}
	s.Token, s.FoldLimit = "", 0
	if grant.Leased || grant.Pending {
		return waitFor(s, grant), nil
	}
	s.LeaseWait, s.PendingWaits = 0, 0
	finished, held := resolve(u, grant)
	return Acquired{Update: u, Finished: finished, Held: held}, nil
}

func (d *Deliverer) grant(ctx context.Context, req dedupe.AcquireRequest) (g dedupe.Grant, err error) {
	ctx, span := d.parts.Tracer.Stage(ctx, "acquire")
	defer func() { span.EndAcquire(g, err) }()
	return d.parts.Store.Acquire(ctx, req)
}

// A lease that another process owns is mostly released long before it expires, so ask again soon.
const (
	leaseWaitFirst = 50 * time.Millisecond
	leaseWaitMax   = time.Second
)

// pendingTimeout is how often a lane asks for its whole fold and for its newest event, before what
// it waits for is assumed to be further on in the topic.
const pendingTimeout = 2

func waitFor(s *event.LaneState, grant dedupe.Grant) Acquired {
	s.LeaseWait = max(leaseWaitFirst, min(2*s.LeaseWait, leaseWaitMax))
	if grant.Pending {
		s.PendingWaits++
	}
	return Acquired{
		Wait: max(min(grant.Wait, s.LeaseWait), time.Millisecond), WaitsAhead: s.PendingWaits > pendingTimeout,
	}
}

// Renew renews the lease under which a call went unacknowledged, before the same update is sent
// again. It returns false if the lease has expired: a different update may be sent then.
func (d *Deliverer) Renew(ctx context.Context, u *event.Update) (leased bool, err error) {
	ctx, span := d.parts.Tracer.Stage(ctx, "renew")
	defer func() { span.End(err) }()
	start := time.Now()
	leased, err = d.parts.Store.Renew(ctx, u.Member, u.Token)
	if leased && err == nil {
		u.LeasedAt = start
	}
	return leased, err
}

// Release gives the lease back early. If that fails, it expires by itself.
func (d *Deliverer) Release(ctx context.Context, u *event.Update) error {
	return d.parts.Store.Release(ctx, u.Member, u.Token)
}

// LeaseLeft is how long the lease lives at most, and at least a millisecond.
func (d *Deliverer) LeaseLeft(u *event.Update) time.Duration {
	return max(time.Until(u.LeasedAt.Add(d.cfg.Lease)), time.Millisecond)
}

// Hooks are what [Deliverer.Send] asks of its caller.
type Hooks struct {
	// MayCall is asked with a call slot, immediately before the call.
	MayCall func() bool
	// CallOver is called when the call slot is free again, before the error is looked at.
	CallOver func()
	// BeforeResend draws another permit when a renewed access token makes the client send the call
	// again; nil: there is no limit.
	BeforeResend func(context.Context) error
}

// ErrNotCalled says that no call was made: the lease was too old, the process stops, or
// [Hooks.MayCall] said no.
var ErrNotCalled = errors.New("deliver: no call was made")

// Send makes one attempt to send the update. The lease lives 2 x the call's timeout + 5 s from when
// it was asked for, so the call must begin within 5 s of that. Errors: [ErrNotCalled], and those of
// [CRM.Modify].
func (d *Deliverer) Send(ctx context.Context, u *event.Update, h Hooks) error {
	sendBy := u.LeasedAt.Add(d.cfg.Lease - 2*d.cfg.CallTimeout)
	if !d.takeSlot(ctx, sendBy) {
		return ErrNotCalled
	}
	if !h.MayCall() {
		<-d.slots
		return ErrNotCalled
	}
	err := d.call(ctx, u, crmapi.Call{Update: u.Fields, SendBy: sendBy, BeforeResend: h.BeforeResend})
	<-d.slots
	h.CallOver()
	u.Accepted = err == nil
	return err
}

func (d *Deliverer) call(ctx context.Context, u *event.Update, call crmapi.Call) (err error) {
	var response crmapi.Response
	ctx, span := d.parts.Tracer.Call(ctx, u)
	defer func() { span.EndCall(response, err) }()
	start := time.Now()
	d.parts.Metrics.CallBegins()
	response, err = d.parts.CRM.Modify(ctx, call)
	d.parts.Metrics.CallEnds(time.Since(start), u, err)
	return err
}

// takeSlot waits for a call slot, until the lease is too old for a call.
func (d *Deliverer) takeSlot(ctx context.Context, sendBy time.Time) bool {
	select {
	case d.slots <- struct{}{}:
		return true
	default:
	}
	late := time.NewTimer(time.Until(sendBy))
	defer late.Stop()
	select {
	case d.slots <- struct{}{}:
		return true
	case <-late.C:
		return false
	case <-ctx.Done():
		return false
	}
}

// Complete records the outcomes of the update's events in Redis and releases the lease, unless a
// call under it went unacknowledged. Late: the lease had expired, and nothing was recorded.
func (d *Deliverer) Complete(ctx context.Context, u *event.Update) (finished []event.Finished, late bool, err error) {
	c := dedupe.Completion{Member: u.Member, Token: u.Token, Keep: u.Unacknowledged, DigestGeneration: u.DigestGeneration}
	finished = make([]event.Finished, 0, len(u.Events))
	for _, ev := range u.Events {
		outcome := outcomeOf(u, ev)
		finished = append(finished, event.Finished{Event: ev, Outcome: outcome, LeftOut: u.LeftOut[ev]})
		c.Done = append(c.Done, dedupe.DoneEvent{
			ID: ev.ID, Redrive: ev.Record.RedriveNumber(), Outcome: string(outcome), Version: string(ev.Version()),
			Fields: fieldNames(ev.Update()),
		})
	}
	for f, v := range u.Fields.All() {
		c.Sent = append(c.Sent, dedupe.Field{Name: f.String(), Value: v.AppendJSON(nil)})
	}
	late, err = d.complete(ctx, c)
	return finished, late, err
}

func (d *Deliverer) complete(ctx context.Context, c dedupe.Completion) (late bool, err error) {
	ctx, span := d.parts.Tracer.Stage(ctx, "complete")
	defer func() { span.EndComplete(late, err) }()
	return d.parts.Store.Complete(ctx, c)
}
