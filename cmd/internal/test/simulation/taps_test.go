package simulation

import (
	"context"
	"errors"
	"net"
	"reflect"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/fetch"
	"github.com/segmentio/kafka-go/protocol/offsetcommit"

	"membersync/consumer"
	"membersync/crmapi"
	"membersync/dedupe"
	"membersync/dlq"
	"membersync/mapper"
)

var errCrashed = errors.New("simulation: the instance crashed")

// steps returns the steps of an event's processing at which an instance can crash.
func steps() []string {
	steps := []string{"during call"}
	for _, op := range []string{"permit", "acquire", "call", "complete", "dead letter", "mark", "commit", "renew", "release", "audit"} {
		steps = append(steps, "before "+op, "after "+op)
	}
	return steps
}

// around passes the steps before and after an operation. After a crash nothing has an effect.
func (l *process) around(op string, do func() error) error {
	if l.reaches("before " + op) {
		return errCrashed
	}
	err := do()
	if l.reaches("after " + op) {
		return errCrashed
	}
	return err
}

type tappedStore struct {
	l    *process
	real *dedupe.Store
}

// Acquire implements consumer.Store.
func (s tappedStore) Acquire(ctx context.Context, req dedupe.AcquireRequest) (g dedupe.Grant, err error) {
	err = s.l.around("acquire", func() error { g, err = s.real.Acquire(ctx, req); return err })
	if err == nil && (g.Leased || g.Pending) {
		versions := make([]string, len(req.Events))
		for i, e := range req.Events {
			versions[i] = e.Version + "/" + e.ID.String()
			for _, f := range e.Fields {
				versions[i] += "," + f.Name
			}
		}
		s.l.w.log("acquire refused", "instance", s.l.n, "member", req.Member, "held", g.Leased, "pending", g.Pending, "wait", g.Wait, "versions", versions, "p", s.l.w.redisProxy.mini.HGet("ms:{"+req.Member.String()+"}:f", "p"))
	}
	return g, err
}

// DoneOf implements consumer.Marks.
func (s tappedStore) DoneOf(ctx context.Context, events []dedupe.MemberEvent) (g []dedupe.EventGrant, err error) {
	err = s.l.around("look up", func() error { g, err = s.real.DoneOf(ctx, events); return err })
	return g, err
}

// Complete implements consumer.Store.
func (s tappedStore) Complete(ctx context.Context, c dedupe.Completion) (late bool, err error) {
	op := "complete"
	if len(c.Done) > 0 && c.Done[0].Outcome == string(consumer.DeadLettered) {
		op = "mark"
	}
	err = s.l.around(op, func() error { late, err = s.real.Complete(ctx, c); return err })
	return late, err
}

// Renew implements consumer.Leases.
func (s tappedStore) Renew(ctx context.Context, m dedupe.Member, t dedupe.Token) (held bool, err error) {
	err = s.l.around("renew", func() error { held, err = s.real.Renew(ctx, m, t); return err })
	return held, err
}

// Release implements consumer.Leases.
func (s tappedStore) Release(ctx context.Context, m dedupe.Member, t dedupe.Token) error {
	return s.l.around("release", func() error { return s.real.Release(ctx, m, t) })
}

type tappedCRM struct {
	l    *process
	real *crmapi.Client
}

// Modify implements consumer.CRM.
func (c tappedCRM) Modify(ctx context.Context, call crmapi.Call) (a crmapi.Response, err error) {
	err = c.l.around("call", func() error {
		if c.l.due("during call") {
			time.AfterFunc(between(c.l.random(), 0, 60*time.Millisecond), func() { c.l.crash("during call") })
		}
		a, err = c.real.Modify(ctx, call)
		return err
	})
	return a, err
}

type tappedDeadLetters struct {
	l    *process
	real *dlq.Writer
}

// Write implements consumer.DeadLetterWriter.
func (g tappedDeadLetters) Write(ctx context.Context, d dlq.DeadLetter) error {
	return g.l.around("dead letter", func() error { return g.real.Write(ctx, d) })
}

type tappedAuditor struct {
	l    *process
	real *dlq.Auditor
}

// Write implements consumer.Auditor.
func (a tappedAuditor) Write(ctx context.Context, r dlq.AuditRecord) error {
	return a.l.around("audit", func() error { return a.real.Write(ctx, r) })
}

type tappedLimiter struct {
	l    *process
	real consumer.Limiter
}

// Permit implements consumer.Limiter.
func (p tappedLimiter) Permit(ctx context.Context, id string, rank int) (granted bool, wait time.Duration, err error) {
	err = p.l.around("permit", func() error { granted, wait, err = p.real.Permit(ctx, id, rank); return err })
	p.l.w.log("permit", "instance", p.l.n, "granted", granted, "wait", wait, "error", err)
	return granted, wait, err
}

// Done implements consumer.Limiter.
func (p tappedLimiter) Done(ctx context.Context, id string, sent bool) error {
	return p.real.Done(ctx, id, sent)
}

// Throttle implements consumer.Limiter.
func (p tappedLimiter) Throttle(ctx context.Context, d time.Duration) error {
	return p.real.Throttle(ctx, d)
}

// bytesToFetch returns how many bytes a request asks for from the source topic: the service embeds
// kafka-go's fetch request in its own. 0: another kind of request. A request larger than its memory
// takes all of the memory, so it counts as the smaller of the memories.
func bytesToFetch(req kafka.Request) int64 {
	field := reflect.Indirect(reflect.ValueOf(req)).FieldByName("Request")
	if !field.IsValid() {
		return 0
	}
	f, ok := reflect.TypeAssert[*fetch.Request](field)
	if !ok || len(f.Topics) != 1 || f.Topics[0].Topic != source {
		return 0
	}
	return min(int64(f.MaxBytes), lookBytes)
}

// A gauge follows a number and keeps its maximum. It is safe for concurrent use.
type gauge struct {
	mu        sync.Mutex
	now, most int64
}

func (g *gauge) add(n int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now += n
	g.most = max(g.most, g.now)
}

// peak returns the maximum.
func (g *gauge) peak() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.most
}

type tappedKafka struct {
	l    *process
	real *kafka.Transport
}

// RoundTrip implements kafka.RoundTripper.
func (k tappedKafka) RoundTrip(ctx context.Context, addr net.Addr, req kafka.Request) (res kafka.Response, err error) {
	if bytes := bytesToFetch(req); bytes > 0 {
		k.l.fetching.add(bytes)
		defer k.l.fetching.add(-bytes)
	}
	if _, ok := req.(*offsetcommit.Request); !ok {
		return k.real.RoundTrip(ctx, addr, req)
	}
	err = k.l.around("commit", func() error { res, err = k.real.RoundTrip(ctx, addr, req); return err })
	return res, err
}

// A recorder records what an instance receives and the outcomes.
type recorder struct{ l *process }

// Decoded implements consumer.Observer.
func (o recorder) Decoded(rec mapper.Record, results []mapper.Result) {
	for i := range results {
		o.l.note(rec.Partition, rec.Offset, i, 1, 0)
	}
}

// Called implements consumer.Observer.
func (recorder) Called(consumer.CallAttempt) {}

// Finished implements consumer.Observer.
func (o recorder) Finished(end consumer.EventResult) {
	o.l.w.log("ended", "instance", o.l.n, "partition", end.Partition, "offset", end.Offset, "outcome", end.Outcome, "reason", end.Reason)
	if end.Topic == source && end.Redrive == 0 {
		o.l.note(end.Partition, end.Offset, end.Event.Index, 0, 1)
	}
	o.l.w.tally.total("outcome "+string(end.Outcome), 1)
}
