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

// A limiter shares a limit out by the real store, and remembers what it granted.
type limiter struct {
	store        *dedupe.Store
	limit        int
	window, hold time.Duration

	mu      sync.Mutex
	permits int
	drawn   []int          // the ranks of those that were granted
	granted map[string]int // when, by now
	oldest  int            // age of a permit at the end of the call that was made with it
	now     func() int     // a clock, if ages are of interest
}

func (l *limiter) Permit(ctx context.Context, id string, rank int) (bool, time.Duration, error) {
	began := l.clock()
	granted, wait, _, err := l.store.Permit(ctx, dedupe.PermitRequest{Limit: l.limit, Window: l.window, Rank: rank, ID: id, Hold: l.hold})
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

func (l *limiter) asked() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.permits
}

// ranks are those of the permits drawn so far.
func (l *limiter) ranks() []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.drawn)
}

func (l *limiter) out() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.granted)
}

func (l *limiter) install(_ *consumer.Config, p *consumer.Parts) { p.Limiter = l }

func TestTheLimitIsKept(t *testing.T) {
	t.Parallel()
	// The fake refuses what is beyond its limit: one throttled answer is one too many.
	r := newRig(t, 2, crmapitest.Options{RateLimit: 5, RateWindow: 500 * time.Millisecond})
	l := &limiter{store: r.store(r.redis), limit: 5, window: 500 * time.Millisecond, hold: r.lease}
	for i := range 25 {
		r.produce(on(i%2, r.change(i, fields{"position": "x"})))
	}
	r.start(l.install)
	r.start(l.install)
	r.settled()
	for _, c := range r.crm.Calls() {
		if c.Code != 0 {
			t.Errorf("call %d was answered with %d", c.N, c.Code)
		}
	}
	r.wantCalls(25)
	r.eventually("all permits to be given back", func() bool { return l.out() == 0 })
}

// Runs that need no call hand their permit on; it must not be handed on for longer than Redis holds its place.
func TestAPermitIsNotHandedOnForEver(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	const members = 80
	var msgs []message
	for i := range members {
		msgs = append(msgs, r.event(fmt.Sprint("old ", i), i, 1, fields{"position": "x"}))
	}
	r.produce(msgs...)
	inst := r.start()
	r.settled()
	inst.stop()
	r.produce(append(msgs, r.event("new", members, 1, fields{"position": "x"}))...) // a long stretch of duplicates, then a change
	l := &limiter{store: r.store(r.redis), limit: 100000, window: time.Second, hold: r.lease}
	var runs counting
	l.now = func() int { return runs.of(opAcquire) }
	counts := runs.tap().at
	r.start(l.install, oneByOne, tap{at: func(o op, after bool) error {
		if o == opAcquire && after {
			<-time.After(30 * time.Millisecond)
		}
		return counts(o, after)
	}}.install)
	r.settled()
	r.eventually("all permits to be given back", func() bool { return l.out() == 0 })
	// One run at a time, of 30 ms at least, for the second that a permit is kept, and the one that it is used for then.
	if l.oldest == 0 || l.oldest > 35 {
		t.Errorf("a permit was drawn, and used for a call %d runs later", l.oldest)
	}
}

// A permit that was drawn for a lane that then went away is given back soon.
func TestAPermitThatNobodyNeedsIsGivenBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	l := &limiter{store: r.store(r.redis), limit: 2, window: 200 * time.Millisecond, hold: r.lease}
	r.start(l.install)
	for range 5 {
		m := r.event("same", 1, 1, fields{"position": "x"})
		r.produce(m, m, m)
		r.settled()
		r.eventually("the permits to be given back", func() bool { return l.out() == 0 })
	}
	r.wantCalls(1)
}

func TestThrottling(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]crmapitest.Fault{
		"by code":   {Times: 1, Code: 14001, Header: map[string]string{"Retry-After": "2"}},
		"by second": {Times: 1, Code: 30004, Header: map[string]string{"Retry-After": "2"}},
		"by status": {Times: 1, Status: 429, Header: map[string]string{"Retry-After": "2"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1, crmapitest.Options{})
			l := &limiter{store: r.store(r.redis), limit: 1000, window: time.Second, hold: r.lease}
			r.crm.Push(f)
			inst := r.start(l.install, oneByOne, func(cfg *consumer.Config, _ *consumer.Parts) { cfg.RetryBudget = 0 })
			for i := range 5 {
				r.produce(r.change(i, fields{"position": "x"}))
			}
			r.eventually("the pause", func() bool { return r.metric(inst, "membersync_paused", "cause", "crm_throttled") == 1 })
			r.settled()
			calls := r.crm.Calls()
			if len(calls) != 6 {
				t.Fatalf("%d calls, want 6", len(calls))
			}
			if gap := calls[1].Arrived.Sub(calls[0].Finished); gap < 1900*time.Millisecond {
				t.Errorf("the next call came %v after the CRM asked for 2 s", gap)
			}
			// Another instance would have had no permit either.
			r.wantNoDeadLetters()
			if r.metric(inst, "membersync_paused", "cause", "crm_throttled") != 0 {
				t.Error("the pause goes on")
			}
		})
	}
}

func TestThrottlingSlowsAllInstances(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.crm.Push(crmapitest.Fault{Code: 14001, Header: map[string]string{"Retry-After": "3"}})
	l := &limiter{store: r.store(r.redis), limit: 1000, window: time.Second, hold: r.lease}
	r.start(l.install)
	r.produce(r.change(1, fields{"position": "x"}))
	r.eventually("the throttled call", func() bool { return len(r.outcome.called()) == 1 })
	other := &limiter{store: r.store(r.redis), limit: 1000, window: time.Second, hold: r.lease}
	asked := 0
	r.eventually("the other to be told", func() bool {
		asked++ // an id that was granted before the throttling was shared would keep its place
		granted, wait, err := other.Permit(t.Context(), fmt.Sprint("another-instance-", asked), dedupe.RankLive)
		return err == nil && !granted && wait > time.Second
	})
	r.settled()
}
