package wiring

import (
	"bytes"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"membersync/cmd/internal/config"
	"membersync/crmapi/crmapitest"
	"membersync/dedupe"
)

// Instances that begin together fetch their tokens one after the other: the vendor allows no two
// fetches at once.
func TestInstancesFetchTheirTokensInTurn(t *testing.T) {
	t.Parallel()
	mini := miniredis.RunT(t)
	fake := crmapitest.New(crmapitest.Options{CorpID: "C1", AppID: "A1", AppSecret: "canary", PermanentCode: "canary"})
	fake.Push(crmapitest.Fault{Endpoint: crmapitest.EndpointToken, Latency: 200 * time.Millisecond, Times: -1})
	server := httptest.NewServer(fake)
	t.Cleanup(server.Close)
	var fetches sync.WaitGroup
	for range 3 {
		c := load(t, "MEMBERSYNC_REDIS_URL=redis://"+mini.Addr())
		c.CRM.BaseURL, c.CRM.Token, c.CRM.AppID = server.URL, config.Secret{}, "A1"
		c.CRM.AppSecret, c.CRM.PermanentCode = config.NewSecret("canary"), config.NewSecret("canary")
		p, err := Build(c, Env{Log: &bytes.Buffer{}, Service: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		fetches.Go(func() {
			if _, err := p.Token.Token(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	fetches.Wait()
	if n := len(fake.Log()); n != 3 {
		t.Errorf("%d requests, want 3", n)
	}
	if v := fake.Violations(); len(v) > 0 {
		t.Errorf("breaches of the protocol: %v", v)
	}
}

// A replay draws its permits behind live traffic and redrives, whatever rank is asked for.
func TestAReplayHasTheLastRank(t *testing.T) {
	t.Parallel()
	c := load(t, "MEMBERSYNC_CRM_RATE=100/1h", "MEMBERSYNC_REDIS_URL=redis://"+miniredis.RunT(t).Addr())
	p, err := Build(c, Env{Log: &bytes.Buffer{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	live, _ := NewLimiter(c, p.Store)
	replay, _ := NewLimiter(c, p.Store)
	replay.ForReplay()
	permit := func(l *Limiter, rank int) bool {
		t.Helper()
		granted, _, err := l.Permit(t.Context(), string(dedupe.NewToken()), rank)
		if err != nil {
			t.Fatal(err)
		}
		return granted
	}
	var held []string
	for range 100 {
		id := string(dedupe.NewToken())
		if ok, _, err := live.Permit(t.Context(), id, dedupe.RankLive); !ok || err != nil {
			t.Fatal(ok, err)
		}
		held = append(held, id)
	}
	if permit(live, dedupe.RankLive) { // it waits, and so goes first
		t.Fatal("more than the limit")
	}
	for _, id := range held[:20] {
		if err := live.Done(t.Context(), id, false); err != nil {
			t.Fatal(err)
		}
	}
	granted := 0
	for range 20 {
		if permit(replay, dedupe.RankLive) {
			granted++
		}
	}
	if granted != 5 {
		t.Errorf("a replay was granted %d of 100 places while live traffic waits, want its 5 %%", granted)
	}
}
