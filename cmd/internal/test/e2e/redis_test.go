package e2e

import (
	"bufio"
	"context"
	"crypto/rand"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// redisEnv names the URL of a real Redis, as in the tests of dedupe.
const redisEnv = "MEMBERSYNC_TEST_REDIS"

// A redisServer is the real Redis, or a fake one in another process, with the keys of one test.
type redisServer struct {
	*redis.Client
	t              *testing.T
	prefix         string
	stopShortening func() // ends shortenLeases
}

// startRedis connects to the real Redis, or to a fake one that it starts, and returns the URL too.
// With a password it adds a user whose name is the prefix.
func startRedis(t *testing.T, password string) (r *redisServer, url string) {
	t.Helper()
	r = &redisServer{t: t, prefix: "e2e-" + strings.ToLower(rand.Text()), stopShortening: func() {}}
	url = os.Getenv(redisEnv)
	isReal := url != ""
	if !isReal {
		url = "redis://" + startMini(t, r.prefix, password)
	}
	opts, err := redis.ParseURL(url)
	if err != nil {
		t.Fatalf("%s is not a valid URL of a Redis", redisEnv)
	}
	if password != "" && !isReal {
		opts.Username, opts.Password = r.prefix, password
	}
	r.Client = redis.NewClient(opts)
	t.Cleanup(r.leave)
	if password != "" && isReal {
		if err := r.Do(t.Context(), "ACL", "SETUSER", r.prefix, "on", ">"+password, "~"+r.prefix+"*", "&*", "+@all").Err(); err != nil {
			t.Fatalf("making a user in Redis: %v", err)
		}
	}
	return r, url
}

// startMini starts a fake Redis and returns its address. With an empty password it needs none.
func startMini(t *testing.T, user, password string) string {
	t.Helper()
	cmd := exec.Command(binary("miniredis")) //nolint:gosec,noctx // our own; it ends with its input
	if password != "" {
		cmd.Args = append(cmd.Args, user, password)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the fake Redis: %v", err)
		}
	})
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(addr)
}

// leave deletes what the test has left in a real Redis.
func (r *redisServer) leave() {
	ctx := context.WithoutCancel(r.t.Context())
	for _, key := range r.keys(ctx) {
		r.Del(ctx, key)
	}
	r.Do(ctx, "ACL", "DELUSER", r.prefix)
	_ = r.Close()
}

// keys are those of the test: a real Redis may be shared.
func (r *redisServer) keys(ctx context.Context) []string {
	r.t.Helper()
	var keys []string
	scan := r.Scan(ctx, 0, r.prefix+"*", 1000).Iterator()
	for scan.Next(ctx) {
		keys = append(keys, scan.Val())
	}
	if err := scan.Err(); err != nil {
		r.t.Error(err)
	}
	return keys
}

// empty deletes the test's keys.
func (r *redisServer) empty() {
	r.t.Helper()
	keys := r.keys(r.t.Context())
	if len(keys) == 0 {
		r.t.Fatal("Redis has no keys")
	}
	for chunk := range slices.Chunk(keys, 500) {
		if err := r.Del(r.t.Context(), chunk...).Err(); err != nil {
			r.t.Fatal(err)
		}
	}
}

// shortenLeases shortens the leases of a killed process to those of a timeout of 1 s. It continues
// until the next victim starts: Redis may still have commands to run that the killed process sent.
func (r *redisServer) shortenLeases() {
	r.t.Helper()
	if r.shorten(r.t.Context()) == 0 {
		r.t.Fatal("the killed process left no lease")
	}
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan struct{})
	r.stopShortening = func() { cancel(); <-done }
	r.t.Cleanup(r.stopShortening)
	go func() {
		defer close(done)
		for ticker := time.NewTicker(100 * time.Millisecond); ; {
			select {
			case <-ctx.Done():
				ticker.Stop()
				return
			case <-ticker.C:
				r.shorten(context.WithoutCancel(ctx))
			}
		}
	}()
}

// shorten shortens the leases that only a victim can have taken, and returns how many there were.
func (r *redisServer) shorten(ctx context.Context) (leases int) {
	for _, key := range r.keys(ctx) {
		if !strings.HasSuffix(key, ":lease") {
			continue
		}
		left, err := r.PTTL(ctx, key).Result()
		if err == nil && left > time.Minute {
			leases++
			err = r.PExpire(ctx, key, 7*time.Second).Err()
		}
		if err != nil {
			r.t.Error(err)
		}
	}
	return leases
}
