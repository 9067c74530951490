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

// A recorder is between all services of a test and the real store and CRM. It checks their calls
// against the leases as the services know them: a lease lives at least from the moment when it was
// asked for. So what it reports is a fault, on however slow a machine.
type recorder struct {
	url string // of the CRM

	mu      sync.Mutex    // guards what follows
	lease   time.Duration // for which a lease lives
	members map[dedupe.Member]leaseHistory
	gaveUp  int // calls whose client gave up before the response
	faults  []string
}

// A leaseHistory holds the latest lease of a member and the one before it; each is nil if there was
// none.
type leaseHistory struct{ latest, previous *leased }

// A leased is a lease that the store has granted.
type leased struct {
	token  dedupe.Token
	asked  time.Time // the last time
	calls  int       // in flight
	update string    // the latest one that was sent
	// unacknowledged: a call under the lease went unacknowledged. Until the lease has expired, only
	// the same update may be sent.
	unacknowledged bool
}

func (rec *recorder) install(p *consumer.Parts, lease time.Duration) {
	rec.mu.Lock()
	rec.lease = lease // other instances may run
	rec.mu.Unlock()
	p.Store, p.CRM = recordedStore{p.Store, rec}, recordedCRM{p.CRM, rec}
}

// check fails the test if there were faults.
func (rec *recorder) check(t *testing.T) {
	t.Helper()
	rec.mu.Lock()
	defer rec.mu.Unlock()
	for _, fault := range rec.faults {
		t.Error(fault)
	}
}

// givenUp returns how many calls had no client any more at the time of the response.
func (rec *recorder) givenUp() int {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return rec.gaveUp
}

// forget forgets all leases, for a test that removes them.
func (rec *recorder) forget() {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	clear(rec.members)
}

// faultLocked records a fault.
func (rec *recorder) faultLocked(format string, args ...any) {
	rec.faults = append(rec.faults, fmt.Sprintf(format, args...))
}

// left returns for how long, at least, Redis must keep a lease from now on. The clock of a fake
// Redis advances in steps.
func (rec *recorder) left(l *leased) time.Duration {
	return time.Until(l.asked.Add(rec.lease - redisStep))
}

// granted records a lease that was granted or renewed. A new lease must not be granted while an
// unacknowledged call binds the previous one.
func (rec *recorder) granted(m dedupe.Member, token dedupe.Token, asked time.Time) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	c := rec.members[m]
	if c.latest == nil || c.latest.token != token {
		if left := c.boundFor(rec); left > 0 {
			rec.faultLocked("a lease was granted though that of an unacknowledged call had %v left", left)
		}
		c.previous, c.latest = c.latest, &leased{token: token}
	}
	c.latest.asked = asked
	rec.members[m] = c
}

// boundFor returns for how long an unacknowledged call still binds the latest lease, which must not
// be released until then; 0 if no call does.
func (c leaseHistory) boundFor(rec *recorder) time.Duration {
	if c.latest == nil || !c.latest.unacknowledged {
		return 0
	}
	return rec.left(c.latest)
}

// releases checks a lease before it is released.
func (rec *recorder) releases(m dedupe.Member, token dedupe.Token) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if l := rec.members[m].latest; l != nil && l.token == token && l.unacknowledged {
		rec.faultLocked("the lease of an unacknowledged call is released")
	}
}

// late checks a completion that the store reported as late.
func (rec *recorder) late(m dedupe.Member, token dedupe.Token) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if l := rec.members[m].latest; l != nil && l.token == token && rec.left(l) > 0 {
		rec.faultLocked("a completion was late, and its lease had %v left", rec.left(l))
	}
}

// sends checks a call before it is sent, and returns the lease under which it is made; nil if the
// recorder does not know the lease, because another store granted it.
func (rec *recorder) sends(m dedupe.Member, update string) *leased {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	c := rec.members[m]
	switch l := c.latest; {
	case l == nil:
		return nil
	case l.calls > 0 || c.previous != nil && c.previous.calls > 0 && rec.left(c.previous) > 0:
		rec.faultLocked("a call was sent while another of the member was in flight")
	case l.unacknowledged && l.update != update:
		rec.faultLocked("after an unacknowledged call a different one was sent under its lease")
	}
	c.latest.calls++
	c.latest.update = update
	return c.latest
}

// ends records the end of a call. The lease is nil if the recorder does not know it.
func (rec *recorder) ends(ctx context.Context, l *leased, err error) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	var e *crmapi.Error
	unknown := errors.As(err, &e) && e.OutcomeUnknown
	if unknown && (e.Status == 0 || ctx.Err() != nil) {
		rec.gaveUp++
	}
	if l != nil {
		l.calls--
		l.unacknowledged = l.unacknowledged || unknown
	}
}

type recordedStore struct {
	consumer.Store
	rec *recorder
}

func (s recordedStore) Acquire(ctx context.Context, req dedupe.AcquireRequest) (dedupe.Grant, error) {
	asked := time.Now()
	g, err := s.Store.Acquire(ctx, req)
	if err == nil && !g.Leased && !g.Pending {
		s.rec.granted(req.Member, req.Token, asked)
	}
	return g, err
}

func (s recordedStore) Renew(ctx context.Context, m dedupe.Member, t dedupe.Token) (bool, error) {
	asked := time.Now()
	leased, err := s.Store.Renew(ctx, m, t)
	if err == nil && leased {
		s.rec.granted(m, t, asked)
	}
	return leased, err
}

func (s recordedStore) Complete(ctx context.Context, c dedupe.Completion) (bool, error) {
	if !c.Keep {
		s.rec.releases(c.Member, c.Token)
	}
	late, err := s.Store.Complete(ctx, c)
	if err == nil && late {
		s.rec.late(c.Member, c.Token)
	}
	return late, err
}

func (s recordedStore) Release(ctx context.Context, m dedupe.Member, t dedupe.Token) error {
	s.rec.releases(m, t)
	return s.Store.Release(ctx, m, t)
}

type recordedCRM struct {
	consumer.CRM
	rec *recorder
}

func (c recordedCRM) Modify(ctx context.Context, call crmapi.Call) (crmapi.Response, error) {
	m := dedupe.NewMember(c.rec.url, corp, call.Update.OpenUserID)
	l := c.rec.sends(m, string(call.Update.AppendJSON(nil)))
	res, err := c.CRM.Modify(ctx, call)
	c.rec.ends(ctx, l, err)
	return res, err
}
