package dedupe_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"membersync/dedupe"
	"membersync/dedupe/dedupetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open opens a client as the service does, and checks that the server is reachable.
func open(tb testing.TB, cfg dedupe.ClientConfig) redis.UniversalClient {
	tb.Helper()
	client, err := dedupe.Open(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	closeAtEnd(tb, client)
	if err := client.Ping(tb.Context()).Err(); err != nil {
		tb.Fatal(err)
	}
	return client
}

func closeAtEnd(tb testing.TB, client redis.UniversalClient) {
	tb.Helper()
	tb.Cleanup(func() {
		if err := client.Close(); err != nil {
			tb.Error(err)
		}
	})
}

func openMini(tb testing.TB) redis.UniversalClient {
	tb.Helper()
	_, client := newMini(tb)
	return client
}

func newMini(tb testing.TB) (*miniredis.Miniredis, redis.UniversalClient) {
	tb.Helper()
	m := miniredis.RunT(tb)
	m.Server().SetPreHook(policyHook("noeviction"))
	m.ClockTTL(true)
	// The read time-out is longer than the service's: scripts are slow under the race detector on a
	// busy machine.
	client := redis.NewClient(&redis.Options{Addr: m.Addr(), ReadTimeout: 20 * time.Second, ContextTimeoutEnabled: true})
	closeAtEnd(tb, client)
	return m, client
}

func TestConformanceMiniredis(t *testing.T) {
	t.Parallel()
	dedupetest.Run(t, openMini)
}

func TestConformanceServer(t *testing.T) {
	t.Parallel()
	url := os.Getenv("MEMBERSYNC_TEST_REDIS")
	if url == "" {
		t.Skip("MEMBERSYNC_TEST_REDIS is not set")
	}
	dedupetest.Run(t, func(tb testing.TB) redis.UniversalClient {
		tb.Helper()
		return open(tb, dedupe.ClientConfig{URL: url, Concurrency: 16})
	})
}

func TestConformanceCluster(t *testing.T) {
	t.Parallel()
	addrs := os.Getenv("MEMBERSYNC_TEST_REDIS_CLUSTER")
	if addrs == "" {
		t.Skip("MEMBERSYNC_TEST_REDIS_CLUSTER is not set")
	}
	dedupetest.Run(t, func(tb testing.TB) redis.UniversalClient {
		tb.Helper()
		cfg := dedupe.ClientConfig{URL: "redis://" + strings.TrimPrefix(addrs, "redis://"), Mode: dedupe.ModeCluster, Concurrency: 16}
		return open(tb, cfg)
	})
}
