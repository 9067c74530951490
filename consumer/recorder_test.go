package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"membersync/consumer"
	"membersync/crmapi"
	"membersync/dedupe"
)

// A recorder stands between all services of a test and the real store and CRM. It holds what they do against the leases as the
// services' side knows them: one lives from when it was asked for, at the earliest. What it finds is wrong on however slow a machine.
type recorder struct {
	url   string
	lease time.Duration

	mu      sync.Mutex
	members map[dedupe.Member]leaseHistory
	gaveUp  int // calls whose client did not wait for the answer
	wrongs  []string
}

// A leaseHistory is the lease of a member that was granted last, and the one before it.
type leaseHistory struct{ now, before *leased }

type leased struct {
	token          dedupe.Token
	asked          time.Time // last
	calls          int       // open
	update         string    // that was sent last
	unacknowledged bool      // a call under it went unacknowledged: until it has run out nothing but the same update may go out
}

func (w *recorder) install(p *consumer.Parts) {
	p.Store, p.CRM = recordedStore{p.Store, w}, recordedCRM{p.CRM, w}
}

// check fails the test for what went wrong.
func (w *recorder) check(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, wrong := range w.wrongs {
		t.Error(wrong)
	}
}

// givenUp is how many calls had no client any more when they were answered.
func (w *recorder) givenUp() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.gaveUp
}

// forget is for a test that takes all leases away.
func (w *recorder) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.members)
}

func (w *recorder) wrong(format string, args ...any) {
	w.wrongs = append(w.wrongs, fmt.Sprintf(format, args...))
}

// left is how much of a lease Redis must have left. The clock of a fake one goes by steps.
func (w *recorder) left(l *leased) time.Duration {
	return time.Until(l.asked.Add(w.lease - redisStep))
}

func (w *recorder) granted(m dedupe.Member, token dedupe.Token, asked time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.members[m]
	if c.now == nil || c.now.token != token {
		if left := c.kept(w); left > 0 {
			w.wrong("a lease was granted though that of an unacknowledged call had %v left", left)
		}
		c.before, c.now = c.now, &leased{token: token}
	}
	c.now.asked = asked
	w.members[m] = c
}

// kept is how much is left of a lease that must not be given back.
func (c leaseHistory) kept(w *recorder) time.Duration {
	if c.now == nil || !c.now.unacknowledged {
		return 0
	}
	return w.left(c.now)
}

// givesBack looks at a lease before it is given back.
func (w *recorder) givesBack(m dedupe.Member, token dedupe.Token) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if l := w.members[m].now; l != nil && l.token == token && l.unacknowledged {
		w.wrong("the lease of an unacknowledged call is given back")
	}
}

// late looks at a completion that came too late.
func (w *recorder) late(m dedupe.Member, token dedupe.Token) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if l := w.members[m].now; l != nil && l.token == token && w.left(l) > 0 {
		w.wrong("a completion was late, and its lease had %v left", w.left(l))
	}
}

// sends looks at a call before it goes out, and returns the lease that it is made under: none if its store is not witnessed.
func (w *recorder) sends(m dedupe.Member, update string) *leased {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.members[m]
	switch l := c.now; {
	case l == nil:
		return nil
	case l.calls > 0 || c.before != nil && c.before.calls > 0 && w.left(c.before) > 0:
		w.wrong("a call went out while another of the member was open")
	case l.unacknowledged && l.update != update:
		w.wrong("after an unacknowledged call a different one went out under its lease")
	}
	c.now.calls++
	c.now.update = update
	return c.now
}

func (w *recorder) ends(ctx context.Context, l *leased, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var e *crmapi.Error
	unknown := errors.As(err, &e) && e.OutcomeUnknown
	if unknown && (e.Status == 0 || ctx.Err() != nil) {
		w.gaveUp++
	}
	if l != nil {
		l.calls--
		l.unacknowledged = l.unacknowledged || unknown
	}
}

type recordedStore struct {
	consumer.Store
	w *recorder
}

func (s recordedStore) Acquire(ctx context.Context, req dedupe.AcquireRequest) (dedupe.Grant, error) {
	asked := time.Now()
	g, err := s.Store.Acquire(ctx, req)
	if err == nil && !g.Leased && !g.Pending {
		s.w.granted(req.Member, req.Token, asked)
	}
	return g, err
}

func (s recordedStore) Renew(ctx context.Context, m dedupe.Member, t dedupe.Token) (bool, error) {
	asked := time.Now()
	held, err := s.Store.Renew(ctx, m, t)
	if err == nil && held {
		s.w.granted(m, t, asked)
	}
	return held, err
}

func (s recordedStore) Complete(ctx context.Context, c dedupe.Completion) (bool, error) {
	if !c.Keep {
		s.w.givesBack(c.Member, c.Token)
	}
	late, err := s.Store.Complete(ctx, c)
	if err == nil && late {
		s.w.late(c.Member, c.Token)
	}
	return late, err
}

func (s recordedStore) Release(ctx context.Context, m dedupe.Member, t dedupe.Token) error {
	s.w.givesBack(m, t)
	return s.Store.Release(ctx, m, t)
}

type recordedCRM struct {
	consumer.CRM
	w *recorder
}

func (c recordedCRM) Modify(ctx context.Context, call crmapi.Call) (crmapi.Response, error) {
	m := dedupe.NewMember(c.w.url, corp, call.Update.OpenUserID)
	l := c.w.sends(m, string(call.Update.AppendJSON(nil)))
	a, err := c.CRM.Modify(ctx, call)
	c.w.ends(ctx, l, err)
	return a, err
}

// expireLeases ends all leases at once, as time would.
func (r *rig) expireLeases() {
	r.t.Helper()
	keys := r.leaseKeys()
	if len(keys) == 0 {
		return
	}
	r.recorder.forget()
	if err := r.redis.Del(r.t.Context(), keys...).Err(); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) leaseKeys() []string {
	r.t.Helper()
	keys, err := r.redis.Keys(r.t.Context(), r.prefix+":*:lease").Result()
	if err != nil {
		r.t.Fatal(err)
	}
	return keys
}
