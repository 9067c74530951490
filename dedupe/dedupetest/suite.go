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
	"context"
	"fmt"
	"strings"
	"sync"
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
	*testing.T

	client redis.UniversalClient
	opts   dedupe.Options
	store  *dedupe.Store
	member dedupe.Member
}

func newFixture(t *testing.T, client redis.UniversalClient) *fixture {
	t.Helper()
	f := &fixture{T: t, client: client, member: memberNumber(1), opts: dedupe.Options{
		Prefix:    "test-" + string(dedupe.NewToken()),
		Scope:     "scope",
		DoneTTL:   time.Hour,
		Lease:     time.Minute,
		Key:       []byte("a key made up for tests"),
		DigestTTL: time.Hour,
	}}
	f.store = f.newStore(func(*dedupe.Options) {})
	t.Cleanup(f.deleteKeys)
	return f
}

func memberNumber(n int) dedupe.Member {
	return dedupe.NewMember("https://crm.invalid", "corp-test", fmt.Sprintf("FSUID_TEST%04d", n))
}

// newStore returns another store on the same keys, with changed options.
func (f *fixture) newStore(change func(*dedupe.Options)) *dedupe.Store {
	f.Helper()
	opts := f.opts
	change(&opts)
	store, err := dedupe.New(f.client, opts)
	f.must(err)
	return store
}

func (f *fixture) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// equal compares an actual with an expected value.
func (f *fixture) equal(what string, got, want any) {
	f.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		f.Errorf("%s (-want +got):\n%s", what, diff)
	}
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
	g := f.ask(t, events...)
	if g.Leased || g.Pending {
		f.Fatalf("leased %v, pending %v, for %v; want the lease granted", g.Leased, g.Pending, g.Wait)
	}
	return g
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
func (f *fixture) apply(e dedupe.Event) {
	f.Helper()
	t := dedupe.NewToken()
	f.acquire(t, e)
	f.complete(dedupe.Completion{Token: t, Done: []dedupe.DoneEvent{done(e, "applied")}, Sent: e.Fields})
}

// decisions returns the decisions for the fields of the events, and releases the lease. The request
// deletes the digests of the fields that are handed out.
func (f *fixture) decisions(events ...dedupe.Event) map[string]string {
	f.Helper()
	t := dedupe.NewToken()
	g := f.acquire(t, events...)
	f.must(f.store.Release(f.Context(), f.member, t))
	return fieldDecisions(g)
}

func fieldDecisions(g dedupe.Grant) map[string]string {
	m := map[string]string{}
	for _, field := range g.Fields {
		m[field.Name] = field.Decision.String()
	}
	return m
}

func (f *fixture) key(name string) string {
	return f.opts.Prefix + ":{" + f.store.MemberHash(f.member) + "}:" + name
}

// mark returns the key of the event's done mark. It contains the name of the event and not its
// order value.
func (f *fixture) mark(e dedupe.Event) string {
	f.Helper()
	name, _ := f.store.EventHash(e.ID)
	return f.key("done:" + name)
}

// expire deletes the lease, as its TTL does.
func (f *fixture) expire() {
	f.Helper()
	f.must(f.client.Del(f.Context(), f.key("lease")).Err())
}

// holder returns the token that owns the lease, or an empty token.
func (f *fixture) holder() dedupe.Token {
	f.Helper()
	return dedupe.Token(f.client.Get(f.Context(), f.key("lease")).Val())
}

// versions returns the stored versions by field.
func (f *fixture) versions() map[string]string {
	f.Helper()
	all, err := f.client.HGetAll(f.Context(), f.key("fields")).Result()
	f.must(err)
	return versionsOf(all)
}

func versionsOf(stored map[string]string) map[string]string {
	versions := map[string]string{}
	for name, v := range stored {
		if field, ok := strings.CutPrefix(name, "v:"); ok {
			versions[field] = v
		}
	}
	return versions
}

// eachServer runs fn on each server that stores keys.
func (f *fixture) eachServer(ctx context.Context, fn func(context.Context, redis.Cmdable) error) error {
	if cluster, ok := f.client.(*redis.ClusterClient); ok {
		return cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error { return fn(ctx, c) })
	}
	return fn(ctx, f.client)
}

// keys lists the keys of the test.
func (f *fixture) keys(ctx context.Context) []string {
	f.Helper()
	var mu sync.Mutex
	var keys []string
	err := f.eachServer(ctx, func(ctx context.Context, c redis.Cmdable) error {
		iter := c.Scan(ctx, 0, f.opts.Prefix+"*", 1000).Iterator()
		for iter.Next(ctx) {
			mu.Lock()
			keys = append(keys, iter.Val())
			mu.Unlock()
		}
		return iter.Err()
	})
	f.must(err)
	return keys
}

func (f *fixture) deleteKeys() {
	ctx := context.WithoutCancel(f.Context())
	for _, key := range f.keys(ctx) {
		f.must(f.client.Del(ctx, key).Err())
	}
}
