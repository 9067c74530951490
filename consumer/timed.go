package consumer

import (
	"context"
	"time"

	"membersync/dedupe"
	"membersync/mapper"
)

// The operations of redis_duration_seconds.
const (
	opAcquire  = "acquire"
	opComplete = "complete"
	opPermit   = "permit"
	opOther    = "other"
)

// timed measures how long Redis takes, as the service sees it: with the wait for a connection and
// all repetitions.
func timed(parts *Parts) {
	if parts.Store != nil {
		parts.Store = timedStore{parts.Store, parts.Metrics}
	}
	if parts.Marks != nil {
		parts.Marks = timedMarks{parts.Marks, parts.Metrics}
	}
	if parts.Limiter != nil {
		parts.Limiter = timedLimiter{parts.Limiter, parts.Metrics}
	}
	if parts.Lookups != nil {
		parts.Lookups = timedLookups{parts.Lookups, parts.Metrics}
	}
}

type timedStore struct {
	Store
	metrics *Metrics
}

// Acquire implements [Store].
func (t timedStore) Acquire(ctx context.Context, req dedupe.AcquireRequest) (dedupe.Grant, error) {
	defer t.metrics.redisTook(opAcquire, time.Now())
	return t.Store.Acquire(ctx, req)
}

// Complete implements [Store].
func (t timedStore) Complete(ctx context.Context, c dedupe.Completion) (late bool, err error) {
	defer t.metrics.redisTook(opComplete, time.Now())
	return t.Store.Complete(ctx, c)
}

type timedMarks struct {
	Marks
	metrics *Metrics
}

// DoneOf implements [Marks].
func (t timedMarks) DoneOf(ctx context.Context, events []dedupe.MemberEvent) ([]dedupe.EventGrant, error) {
	defer t.metrics.redisTook(opOther, time.Now())
	return t.Marks.DoneOf(ctx, events)
}

// Renew implements [Leases].
func (t timedStore) Renew(ctx context.Context, m dedupe.Member, token dedupe.Token) (leased bool, err error) {
	defer t.metrics.redisTook(opOther, time.Now())
	return t.Store.Renew(ctx, m, token)
}

// Release implements [Leases].
func (t timedStore) Release(ctx context.Context, m dedupe.Member, token dedupe.Token) error {
	defer t.metrics.redisTook(opOther, time.Now())
	return t.Store.Release(ctx, m, token)
}

type timedLimiter struct {
	Limiter
	metrics *Metrics
}

// Permit implements [Limiter].
func (t timedLimiter) Permit(ctx context.Context, id string, rank int) (granted bool, wait time.Duration, err error) {
	defer t.metrics.redisTook(opPermit, time.Now())
	return t.Limiter.Permit(ctx, id, rank)
}

// Done implements [Limiter].
func (t timedLimiter) Done(ctx context.Context, id string, sent bool) error {
	defer t.metrics.redisTook(opPermit, time.Now())
	return t.Limiter.Done(ctx, id, sent)
}

type timedLookups struct {
	Lookups
	metrics *Metrics
}

// Find implements [Lookups].
func (t timedLookups) Find(ctx context.Context, refs []mapper.Reference) (map[mapper.Reference]string, error) {
	defer t.metrics.redisTook(opOther, time.Now())
	return t.Lookups.Find(ctx, refs)
}

func (m *Metrics) redisTook(op string, since time.Time) {
	m.redis.WithLabelValues(op).Observe(time.Since(since).Seconds())
}
