// Package dedupetest has tools for tests of the state in Redis.
//
//   - [Run] runs the conformance suite, which every kind of Redis server must pass. Start reading
//     there: it lists the groups of tests, and each group is a file.
//   - [Proxy] is a proxy that can lose replies and make a server unavailable.
//
// Only tests may import this package. It must not know more of dedupe than its exported names and
// the stored keys.
package dedupetest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"membersync/dedupe"
)

// Run runs the suite. The function newClient must return a client of a reachable server, and close
// it at the end of the test. The server may be shared: each test uses its own random prefix, and
// deletes its keys.
func Run(t *testing.T, newClient func(testing.TB) redis.UniversalClient) {
	t.Helper()
	groups := map[string]map[string]func(*fixture){
		"lease":    leaseTests(),
		"beats":    heartbeatTests(),
		"held":     heldTests(),
		"marks":    markTests(),
		"reuse":    reuseTests(),
		"versions": versionTests(),
		"expiry":   expiryTests(),
		"digests":  digestTests(),
		"limit":    limitTests(),
		"lock":     lockTests(),
		"service":  serviceTests(),
		"control":  controlTests(),
		"views":    viewTests(),
		"restore":  restoreTests(),
		"pending":  pendingTests(),
		"key":      keyTests(),
		"model":    {"any sequence of owners that crash, stall and repeat": modelTest},
	}
	for group, tests := range groups {
		for name, test := range tests {
			t.Run(group+"/"+name, func(t *testing.T) {
				t.Parallel()
				test(newFixture(t, newClient(t)))
			})
		}
	}
}

// A fixture is a store under its own prefix, and a member.
type fixture struct {
	check

	opts   dedupe.Options
	store  *dedupe.Store
	member dedupe.Member
	redis  stored
	view   view
}

func newFixture(t *testing.T, client redis.UniversalClient) *fixture {
	t.Helper()
	f := &fixture{check: check{t}, member: memberNumber(1), opts: dedupe.Options{
		Prefix:    "test-" + string(dedupe.NewToken()),
		Scope:     "scope",
		DoneTTL:   time.Hour,
		Lease:     time.Minute,
		Key:       []byte("a key made up for tests"),
		DigestTTL: time.Hour,
	}}
	f.redis, f.view = stored{f, client}, view{f}
	f.store = f.newStore(func(*dedupe.Options) {})
	t.Cleanup(f.redis.clear)
	return f
}

// ofMember returns a fixture of another member with the same store.
func (f *fixture) ofMember(n int) *fixture {
	other := *f
	other.member, other.redis.f, other.view.f = memberNumber(n), &other, &other
	return &other
}

func memberNumber(n int) dedupe.Member {
	return dedupe.NewMember("https://crm.invalid", "corp-test", fmt.Sprintf("FSUID_TEST%04d", n))
}

// A check fails its test.
type check struct{ *testing.T }

func (c check) must(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

// equal compares an actual with an expected value.
func (c check) equal(what string, got, want any) {
	c.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		c.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// isFault checks that an invalid request was rejected, and that the error quotes no value.
func (c check) isFault(what string, err error) {
	c.Helper()
	if _, ok := errors.AsType[*dedupe.RequestError](err); !ok {
		c.Errorf("%s: error %v, want a RequestError", what, err)
		return
	}
	if strings.Contains(err.Error(), "secret") {
		c.Errorf("%s: the error quotes the value: %v", what, err)
	}
}

// newStore returns another store on the same keys, with changed options.
func (f *fixture) newStore(change func(*dedupe.Options)) *dedupe.Store {
	f.Helper()
	opts := f.opts
	change(&opts)
	store, err := dedupe.New(f.redis.client, opts)
	f.must(err)
	return store
}

// version returns a version in the format of the mapper: 64 digits, the last four of which are the
// number of the redrive that edited the value.
func version(n int) string { return edited(n, 0) }

func edited(n, redrive int) string { return fmt.Sprintf("%060d%04d", n, redrive) }

// event returns event n, whose version is n too, from pairs of field and value.
func event(n int, pairs ...string) dedupe.Event {
	e := dedupe.Event{ID: dedupe.NewEventID("topic-test", fmt.Sprintf("evt-test-%d", n), 0, version(n)), Version: version(n)}
	for i := 0; i+1 < len(pairs); i += 2 {
		e.Fields = append(e.Fields, dedupe.Field{Name: pairs[i], Value: []byte(pairs[i+1])})
	}
	return e
}

func redrive(e dedupe.Event, n int) dedupe.Event {
	e.Redrive = n
	return e
}

// done returns the event with an outcome. Its versions move unless it is dead-lettered.
func done(e dedupe.Event, outcome string) dedupe.DoneEvent {
	d := dedupe.DoneEvent{ID: e.ID, Redrive: e.Redrive, Outcome: outcome}
	if outcome == "dead_lettered" {
		return d
	}
	d.Version = e.Version
	for _, field := range e.Fields {
		d.Fields = append(d.Fields, field.Name)
	}
	return d
}

// applied returns the completion of events whose fields were sent successfully.
func applied(t dedupe.Token, e dedupe.Event) dedupe.Completion {
	return dedupe.Completion{Token: t, Done: []dedupe.DoneEvent{done(e, "applied")}, Sent: e.Fields}
}

// ask requests the lease.
func (f *fixture) ask(t dedupe.Token, events ...dedupe.Event) dedupe.Grant {
	f.Helper()
	g, err := f.store.Acquire(f.Context(), dedupe.AcquireRequest{Member: f.member, Token: t, Events: events})
	f.must(err)
	return g
}

// acquire takes the lease, or ends the test.
func (f *fixture) acquire(t dedupe.Token, events ...dedupe.Event) dedupe.Grant {
	f.Helper()
	return f.request(dedupe.AcquireRequest{Token: t, Events: events})
}

// request takes the lease, or ends the test. A request without a token gets a new one.
func (f *fixture) request(req dedupe.AcquireRequest) dedupe.Grant {
	f.Helper()
	if req.Member = f.member; req.Token == "" {
		req.Token = dedupe.NewToken()
	}
	g, err := f.store.Acquire(f.Context(), req)
	f.must(err)
	if g.Leased || g.Pending {
		f.Fatalf("leased %v, pending %v, for %v; want the lease granted", g.Leased, g.Pending, g.Wait)
	}
	return g
}

// wantUsed checks that the token cannot acquire any more.
func (f *fixture) wantUsed(t dedupe.Token, events ...dedupe.Event) {
	f.Helper()
	_, err := f.store.Acquire(f.Context(), dedupe.AcquireRequest{Member: f.member, Token: t, Events: events})
	if !errors.Is(err, dedupe.ErrTokenUsed) {
		f.Errorf("error %v, want ErrTokenUsed", err)
	}
}

func (f *fixture) release(t dedupe.Token) {
	f.Helper()
	f.must(f.store.Release(f.Context(), f.member, t))
}

// complete completes in time, or ends the test.
func (f *fixture) complete(c dedupe.Completion) {
	f.Helper()
	if f.completeLate(c) {
		f.Fatal("the completion is late, want it in time")
	}
}

func (f *fixture) completeLate(c dedupe.Completion) bool {
	f.Helper()
	c.Member = f.member
	late, err := f.store.Complete(f.Context(), c)
	f.must(err)
	return late
}

// apply acquires and completes one event whose fields are sent successfully.
func (f *fixture) apply(e dedupe.Event) dedupe.Completion {
	f.Helper()
	c := applied(dedupe.NewToken(), e)
	f.acquire(c.Token, e)
	f.complete(c)
	return c
}

// finish acquires and completes one event of which nothing is sent.
func (f *fixture) finish(e dedupe.Event, outcome string) {
	f.Helper()
	t := dedupe.NewToken()
	f.acquire(t, e)
	f.complete(dedupe.Completion{Token: t, Done: []dedupe.DoneEvent{done(e, outcome)}})
}

// waits reports whether the events must wait. If not, it releases what was granted.
func (f *fixture) waits(events ...dedupe.Event) bool {
	f.Helper()
	t := dedupe.NewToken()
	g := f.ask(t, events...)
	if !g.Pending {
		f.release(t)
	}
	return g.Pending
}

// crashed acquires events, and lets the lease expire with no outcome recorded.
func (f *fixture) crashed(events ...dedupe.Event) dedupe.Token {
	f.Helper()
	t := dedupe.NewToken()
	f.acquire(t, events...)
	f.redis.expireLease()
	return t
}

// hold marks events as held, as after a call that the CRM has rejected.
func (f *fixture) hold(events ...dedupe.Event) {
	f.Helper()
	token := dedupe.NewToken()
	f.acquire(token, events...)
	c := dedupe.Completion{Token: token}
	for _, e := range events {
		c.Done = append(c.Done, dedupe.DoneEvent{ID: e.ID, Held: rejectedBefore()})
	}
	f.complete(c)
}

func (f *fixture) restore(done ...dedupe.DoneEvent) {
	f.Helper()
	f.must(f.store.Restore(f.Context(), f.member, done))
}

// decisions returns the decisions for the fields of the events, and releases the lease. The request
// deletes the digests of the fields that are handed out.
func (f *fixture) decisions(events ...dedupe.Event) map[string]string {
	f.Helper()
	return f.decisionsOf(dedupe.AcquireRequest{Events: events})
}

func (f *fixture) decisionsOf(req dedupe.AcquireRequest) map[string]string {
	f.Helper()
	req.Token = dedupe.NewToken()
	g := f.request(req)
	f.release(req.Token)
	return fieldDecisions(g)
}

// grantOf returns the grant for one event, and releases the lease.
func (f *fixture) grantOf(e dedupe.Event) dedupe.EventGrant {
	f.Helper()
	t := dedupe.NewToken()
	g := f.acquire(t, e)
	f.release(t)
	return g.Events[0]
}

func (f *fixture) wantGrant(what string, e dedupe.Event, want dedupe.EventGrant) {
	f.Helper()
	f.equal(what, f.grantOf(e), want)
}

func fieldDecisions(g dedupe.Grant) map[string]string {
	m := map[string]string{}
	for _, field := range g.Fields {
		m[field.Name] = field.Decision.String()
	}
	return m
}
