package dedupe_test

import (
	"context"
	"errors"
	"net/url"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"membersync/dedupe"
	"membersync/dedupe/dedupetest"
)

// backends lists the addresses of the servers to test behind a proxy.
func backends(t *testing.T) map[string]string {
	t.Helper()
	m, _ := newMini(t)
	all := map[string]string{"miniredis": m.Addr()}
	if real := os.Getenv("MEMBERSYNC_TEST_REDIS"); real != "" {
		u, err := url.Parse(real)
		if err != nil {
			t.Fatal(err)
		}
		all["server"] = u.Host
	}
	return all
}

// TestLostReply loses the reply of each request after the request took effect. The client repeats
// the request by itself, and the result must be as if nothing had happened.
func TestLostReply(t *testing.T) {
	t.Parallel()
	for name, addr := range backends(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proxy := dedupetest.NewProxy(t, addr)
			client := open(t, dedupe.ClientConfig{URL: "redis://" + proxy.Addr()})
			prefix := "test-" + string(dedupe.NewToken())
			s := newStore(t, client, func(o *dedupe.Options) { o.Prefix = prefix; o.DoneTTL = time.Minute })
			deletePrefix(t, client, prefix)
			m := dedupe.NewMember("b", "c", "u")
			apply(t, s, dedupe.NewMember("b", "c", "another"), 1, "a") // loads the scripts

			fields := []dedupe.Field{{Name: "mobile", Value: []byte("a")}}
			e := dedupe.Event{ID: dedupe.NewEventID("t", "e", 0, "1"), Version: "01", Fields: fields}
			req := dedupe.AcquireRequest{Member: m, Token: dedupe.NewToken(), Events: []dedupe.Event{e}}
			proxy.LoseReply("evalsha")
			g, err := s.Acquire(t.Context(), req)
			if err != nil || g.Leased || g.Events[0].Done || g.Fields[0].Decision != dedupe.Send {
				t.Fatalf("acquire: %+v, %v, want the event live and its field sent", g, err)
			}
			proxy.LoseReply("evalsha")
			if owned, err := s.Renew(t.Context(), m, req.Token); !owned || err != nil {
				t.Errorf("renew: owned %v, %v", owned, err)
			}
			proxy.LoseReply("evalsha")
			late, err := s.Complete(t.Context(), dedupe.Completion{
				Member: m, Token: req.Token, Sent: fields,
				Done: []dedupe.DoneEvent{{ID: e.ID, Outcome: "applied", Version: "01", Fields: []string{"mobile"}}},
			})
			if late || err != nil {
				t.Errorf("complete: late %v, %v, want it in time", late, err)
			}
			req.Token = dedupe.NewToken()
			g, err = s.Acquire(t.Context(), req)
			if diff := cmp.Diff([]dedupe.EventGrant{{Done: true, Outcome: "applied"}}, g.Events); diff != "" || err != nil {
				t.Errorf("the event again: %v (-want +got):\n%s", err, diff)
			}
			if proxy.Lost() != 3 {
				t.Errorf("%d replies were lost, want 3", proxy.Lost())
			}
		})
	}
}

// deletePrefix deletes the keys of the test when it ends.
func deletePrefix(tb testing.TB, client redis.UniversalClient, prefix string) {
	tb.Helper()
	tb.Cleanup(func() {
		ctx := context.WithoutCancel(tb.Context())
		keys, err := client.Keys(ctx, prefix+"*").Result()
		for chunk := range slices.Chunk(keys, 1000) {
			err = errors.Join(err, client.Unlink(ctx, chunk...).Err())
		}
		if err != nil {
			tb.Error(err)
		}
	})
}
