package consumer_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
	"membersync/dedupe"
)

// A limiter applies a rate limit through the real store, and records the permits that it granted.
type limiter struct {
	store        *dedupe.Store
	limit        int
	window, hold time.Duration

	mu      sync.Mutex
	permits int
	drawn   []int          // ranks of the granted permits, in order
	granted map[string]int // the time of each granted permit that is not given back, on the clock now
	oldest  int            // highest age of a permit at the end of the call that was made with it
	now     func() int     // the clock; nil: ages are not measured
}

func (l *limiter) Permit(ctx context.Context, id string, rank int) (bool, time.Duration, error) {
	began := l.clock()
	granted, wait, _, err := l.store.Permit(ctx, dedupe.PermitRequest{
		Limit: l.limit, Window: l.window, Rank: rank, ID: id, Hold: l.hold,
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.permits++
	if l.granted == nil {
		l.granted = make(map[string]int)
	}
	if granted {
		l.granted[id] = began
		l.drawn = append(l.drawn, rank)
	}
	return granted, wait, err
}

func (l *limiter) clock() int {
	if l.now == nil {
		return 0
	}
	return l.now()
}

func (l *limiter) Done(ctx context.Context, id string, sent bool) error {
	l.mu.Lock()
	if sent {
		l.oldest = max(l.oldest, l.clock()-l.granted[id])
	}
	delete(l.granted, id)
	l.mu.Unlock()
	return l.store.PermitDone(ctx, id, sent)
}

func (l *limiter) Throttle(ctx context.Context, d time.Duration) error {
	return l.store.Throttle(ctx, d)
}

// asked returns how many permits were requested.
func (l *limiter) asked() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.permits
}

// ranks returns those of the permits granted so far.
func (l *limiter) ranks() []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.drawn)
}

// out returns how many permits are not given back yet.
func (l *limiter) out() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.granted)
}

func (l *limiter) install(_ *consumer.Config, p *consumer.Parts) { p.Limiter = l }

func TestInstancesShareTheRateLimit(t *testing.T) {
	t.Parallel()
	// The fake CRM throttles calls beyond its limit. So any throttling response is an error.
	r := newRig(t, 2, crmapitest.Options{RateLimit: 5, RateWindow: 500 * time.Millisecond})
	l := &limiter{store: r.redis.store(), limit: 5, window: 500 * time.Millisecond, hold: r.redis.lease}
	for i := range 25 {
		r.kafka.produce(on(i%2, r.change(i, fields{"position": "x"})))
	}
	r.start(l.install)
	r.start(l.install)
	r.settled()
	for _, c := range r.crm.Calls() {
		if c.Code != 0 {
			t.Errorf("call %d was answered with %d", c.N, c.Code)
		}
	}
	r.crm.wantCalls(25)
	r.eventually("all permits to be given back", func() bool { return l.out() == 0 })
}

// Batches that need no call pass their permit on. It must not be passed on for longer than Redis
// keeps its place in the window.
func TestPermitIsPassedOnForALimitedTime(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	const members = 80
	var msgs []message
	for i := range members {
		msgs = append(msgs, event(fmt.Sprint("old ", i), i, 1, fields{"position": "x"}))
	}
	r.kafka.produce(msgs...)
	inst := r.start()
	r.settled()
	inst.stop()
	// many duplicates, then a change
	r.kafka.produce(append(msgs, event("new", members, 1, fields{"position": "x"}))...)
	l := &limiter{store: r.redis.store(), limit: 100000, window: time.Second, hold: r.redis.lease}
	var batches counting
	l.now = func() int { return batches.of(opAcquire) }
	count := batches.tap().at
	r.start(l.install, oneByOne, tap{at: func(o op, after bool) error {
		if o == opAcquire && after {
			<-time.After(30 * time.Millisecond)
		}
		return count(o, after)
	}}.install)
	r.settled()
	r.eventually("all permits to be given back", func() bool { return l.out() == 0 })
	// One batch runs at a time and takes at least 30 ms. So a permit that is passed on for one
	// second sees at most 34 batches, and then the one that uses it.
	if l.oldest == 0 || l.oldest > 35 {
		t.Errorf("a permit was used for a call %d batches after it was drawn, want 1 to 35", l.oldest)
	}
}

// A permit that was drawn for a lane that no longer needs it is given back soon.
func TestUnusedPermitIsGivenBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	l := &limiter{store: r.redis.store(), limit: 2, window: 200 * time.Millisecond, hold: r.redis.lease}
	r.start(l.install)
	for range 5 {
		m := event("same", 1, 1, fields{"position": "x"})
		r.process(m, m, m)
		r.eventually("the permits to be given back", func() bool { return l.out() == 0 })
	}
	r.crm.wantCalls(1)
}

func TestThrottlingDelaysTheNextCall(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]crmapitest.Fault{
		"by code":         {Times: 1, Code: 14001, Header: map[string]string{"Retry-After": "2"}},
		"by another code": {Times: 1, Code: 30004, Header: map[string]string{"Retry-After": "2"}},
		"by status":       {Times: 1, Status: 429, Header: map[string]string{"Retry-After": "2"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1, crmapitest.Options{})
			l := &limiter{store: r.redis.store(), limit: 1000, window: time.Second, hold: r.redis.lease}
			r.crm.Push(f)
			inst := r.start(l.install, oneByOne, noBudget)
			for i := range 5 {
				r.kafka.produce(r.change(i, fields{"position": "x"}))
			}
			r.eventually("the pause", func() bool { return inst.paused("crm_throttled") })
			r.settled()
			calls := r.crm.Calls()
			if len(calls) != 6 {
				t.Fatalf("%d calls, want 6", len(calls))
			}
			if gap := calls[1].Arrived.Sub(calls[0].Finished); gap < 1900*time.Millisecond {
				t.Errorf("the next call came %v after the CRM asked for 2 s", gap)
			}
			// Another instance would not have got a permit either.
			r.wantNoDeadLetters()
			if inst.paused("crm_throttled") {
				t.Error("the pause did not end")
			}
		})
	}
}

func TestThrottlingSlowsAllInstances(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.crm.Push(crmapitest.Fault{Code: 14001, Header: map[string]string{"Retry-After": "3"}})
	l := &limiter{store: r.redis.store(), limit: 1000, window: time.Second, hold: r.redis.lease}
	r.start(l.install)
	r.kafka.produce(r.change(1, fields{"position": "x"}))
	r.eventually("the throttled call", func() bool { return len(r.outcome.called()) == 1 })
	other := &limiter{store: r.redis.store(), limit: 1000, window: time.Second, hold: r.redis.lease}
	asked := 0
	r.eventually("the other instance to be throttled", func() bool {
		asked++ // a new id each time: one that was granted before the throttling would keep its permit
		granted, wait, err := other.Permit(t.Context(), fmt.Sprint("another-instance-", asked), dedupe.RankLive)
		return err == nil && !granted && wait > time.Second
	})
	r.settled()
}
