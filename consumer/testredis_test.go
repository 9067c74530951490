package consumer_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"membersync/dedupe"
	"membersync/dedupe/dedupetest"
)

// A testRedis is a real Redis or a fake one, and the keys of one test.
type testRedis struct {
	t        *testing.T
	client   redis.UniversalClient
	addr     string            // host:port
	proxy    *dedupetest.Proxy // between the services and Redis; nil: none
	prefix   string
	scope    string        // the CRM's URL
	key      string        // the state key
	lease    time.Duration // for which a lease lives
	recorder *recorder
}

func newTestRedis(t *testing.T, prefix string, rec *recorder) *testRedis {
	t.Helper()
	s := &testRedis{
		t: t, prefix: prefix, scope: rec.url, key: "a state key made up for tests, 32 bytes",
		lease: 2*unending + 5*time.Second, recorder: rec,
	}
	s.addr, _, _ = strings.Cut(strings.TrimPrefix(os.Getenv("MEMBERSYNC_TEST_REDIS"), "redis://"), "/")
	if s.addr == "" {
		mini := miniredis.RunT(t)
		runRedisClock(t, mini)
		s.addr = mini.Addr()
	}
	s.client = s.clientAt(s.addr)
	return s
}

// clientAt returns a client as dedupe.Open makes it, except for the timeouts. On a busy machine,
// those of dedupe.Open would sometimes leave a lease behind.
func (s *testRedis) clientAt(addr string) redis.UniversalClient {
	s.t.Helper()
	client := redis.NewClient(&redis.Options{
		Addr: addr, ContextTimeoutEnabled: true, DialerRetries: 1, MaxRetries: 1,
		DialTimeout: unending, ReadTimeout: unending, WriteTimeout: unending, PoolTimeout: unending,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	s.t.Cleanup(func() { _ = client.Close() })
	return client
}

// redisStep is the step in which the clock of a fake Redis advances. Its keys can expire too early
// by up to one step.
const redisStep = 100 * time.Millisecond

// runRedisClock lets the keys of a fake Redis expire in real time. miniredis' own ClockTTL visits
// all keys at every command, which is too slow for thousands of done marks.
//
// A step shortens the remaining time of all keys, including one that was set a moment ago. So no
// step is longer than redisStep: after a stall of this process, Redis' clock is slow.
func runRedisClock(t *testing.T, mini *miniredis.Miniredis) {
	t.Helper()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(redisStep)
		defer tick.Stop()
		last := time.Now()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				now := time.Now()
				mini.FastForward(min(now.Sub(last), redisStep).Truncate(time.Millisecond))
				last = now
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-done })
}

// store returns a store on the keys of the test.
func (s *testRedis) store() *dedupe.Store {
	s.t.Helper()
	store, err := dedupe.New(s.client, dedupe.Options{
		Prefix: s.prefix, Scope: s.scope, DoneTTL: time.Hour, Lease: s.lease,
		Key: []byte(s.key), DigestTTL: time.Hour,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return store
}

// throughAProxy lets the services that start from now on reach Redis through a proxy.
func (s *testRedis) throughAProxy() {
	s.t.Helper()
	s.proxy = dedupetest.NewProxy(s.t, s.addr)
	s.client = s.clientAt(s.proxy.Addr())
}

// awayAndBack makes Redis unavailable to the services while the function runs. They reach it
// through a proxy; see throughAProxy.
func (s *testRedis) awayAndBack(while func()) {
	s.t.Helper()
	s.proxy.Away()
	while()
	s.proxy.Back()
}

// keys returns the keys that are like the pattern, which follows the prefix. Services call it while
// the test ends, so the end of the test's context does not matter.
func (s *testRedis) keys(pattern string) []string {
	s.t.Helper()
	keys, err := s.client.Keys(context.WithoutCancel(s.t.Context()), s.prefix+":"+pattern).Result()
	if err != nil {
		s.t.Error(err)
	}
	return keys
}

// drop deletes the keys that are like the pattern. There must be one.
func (s *testRedis) drop(pattern string) {
	s.t.Helper()
	if err := s.client.Del(context.WithoutCancel(s.t.Context()), s.keys(pattern)...).Err(); err != nil {
		s.t.Errorf("the keys like %s: %v", pattern, err)
	}
}

// empty deletes all that membersync keeps in Redis, as the loss of Redis does.
func (s *testRedis) empty() {
	s.t.Helper()
	if len(s.keys("*")) > 0 {
		s.drop("*")
	}
	s.recorder.forget()
}

// leases returns how many members are leased.
func (s *testRedis) leases() int {
	s.t.Helper()
	return len(s.keys("*:lease"))
}

// expireLeases ends all leases at once, as if they had expired.
func (s *testRedis) expireLeases() {
	s.t.Helper()
	if s.leases() > 0 {
		s.recorder.forget()
		s.drop("*:lease")
	}
}

// rebuilt marks the state as rebuilt.
func (s *testRedis) rebuilt(group string) {
	s.t.Helper()
	store := s.store()
	id, err := store.BeginRebuild(s.t.Context(), group)
	if err == nil {
		err = store.EndRebuild(s.t.Context(), group, id)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// marker returns the marker of a group.
func (s *testRedis) marker(group string) dedupe.Marker {
	s.t.Helper()
	m, err := s.store().Marker(context.WithoutCancel(s.t.Context()), group)
	if err != nil {
		s.t.Error(err)
	}
	return m
}
