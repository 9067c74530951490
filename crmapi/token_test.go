package crmapi_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"membersync/crmapi"
	"membersync/crmapi/crmapitest"
)

// issuing is a fake that issues tokens and accepts no other.
func issuing() crmapitest.Options {
	return crmapitest.Options{
		CorpID: corp, Members: []string{member}, AppID: "APP_TEST", AppSecret: "SECRET_TEST", PermanentCode: "CODE_TEST",
	}
}

// tokenConfig fits issuing.
func tokenConfig(t *testing.T, hc *http.Client) crmapi.TokenConfig {
	t.Helper()
	return crmapi.TokenConfig{
		BaseURL: parseURL(t, "http://crm.test"), AppID: "APP_TEST", AppSecret: "SECRET_TEST", PermanentCode: "CODE_TEST",
		CorpID: corp, HTTP: hc,
	}
}

func newToken(t *testing.T, cfg crmapi.TokenConfig) *crmapi.FetchedToken {
	t.Helper()
	source, err := crmapi.NewFetchedToken(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(source.Close)
	return source
}

// A world is a fake CRM, a token source and a client of both, in virtual time.
type world struct {
	fake   *crmapitest.Server
	source *crmapi.FetchedToken
	client *crmapi.Client
}

func newWorld(t *testing.T, opts crmapitest.Options, change ...func(*crmapi.TokenConfig)) world {
	t.Helper()
	w := world{fake: crmapitest.New(opts)}
	cfg := tokenConfig(t, inMemory(t, w.fake))
	for _, f := range change {
		f(&cfg)
	}
	w.source = newToken(t, cfg)
	w.client = newClient(t, cfg.BaseURL, func(c *crmapi.Config) { c.HTTP, c.Token = cfg.HTTP, w.source })
	t.Cleanup(func() {
		if v := w.fake.Violations(); len(v) > 0 {
			t.Errorf("the vendor's rules were broken: %v", v)
		}
	})
	return w
}

// fetches returns when tokens were asked for, since began.
func (w world) fetches(began time.Time) []time.Duration {
	var at []time.Duration
	for _, seen := range w.fake.Log() {
		if seen.Endpoint == crmapitest.EndpointToken {
			at = append(at, seen.Arrived.Sub(began))
		}
	}
	return at
}

// wait lets virtual time pass.
func wait(d time.Duration) { <-time.After(d) }

func (w world) token(t *testing.T) string {
	t.Helper()
	got, err := w.source.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// typed returns an error as the type that it must be of.
func typed(t *testing.T, err error) *crmapi.Error {
	t.Helper()
	e, ok := errors.AsType[*crmapi.Error](err)
	if !ok {
		t.Fatalf("%T %v", err, err)
	}
	return e
}

// TestTokenIsRenewedInItsWindow goes through a day, a call a minute: each renewal comes 6600 to 7200 s after
// the last, and every call succeeds.
func TestTokenIsRenewedInItsWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, began := newWorld(t, issuing()), time.Now()
		for range 24 * 60 {
			if _, failed := modify(t, w.client, crmapi.Call{Update: sample()}); failed != nil {
				t.Fatalf("after %v: %v", time.Since(began), failed)
			}
			wait(time.Minute)
		}
		at := w.fetches(began)
		if len(at) < 12 || len(at) > 14 {
			t.Errorf("%d fetches in a day", len(at))
		}
		for i := 1; i < len(at); i++ {
			if gap := at[i] - at[i-1]; gap < 6600*time.Second || gap > 7200*time.Second {
				t.Errorf("fetch %d came %v after the last", i+1, gap)
			}
		}
	})
}

// TestOldTokenServesDuringRenewal: the token API is slow, and nobody waits for it.
func TestOldTokenServesDuringRenewal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, issuing())
		old := w.token(t)
		w.fake.Push(crmapitest.Fault{Endpoint: crmapitest.EndpointToken, Latency: 5 * time.Second})
		wait(6910 * time.Second)
		for range 50 {
			began := time.Now()
			if got := w.token(t); got != old || time.Since(began) > 0 {
				t.Fatalf("during the renewal: another token: %v, after %v", got != old, time.Since(began))
			}
		}
		wait(6 * time.Second)
		if w.token(t) == old {
			t.Error("not renewed")
		}
	})
}

// TestRenewalThatFails: the old token serves until it dies, and the renewal is tried again.
func TestRenewalThatFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, issuing())
		old := w.token(t)
		w.fake.Push(crmapitest.Fault{Endpoint: crmapitest.EndpointToken, Status: 503, Times: 3})
		wait(6910 * time.Second)
		began := time.Now()
		for w.token(t) == old {
			wait(time.Second)
		}
		if took := time.Since(began); took < 90*time.Second || took > 100*time.Second {
			t.Errorf("the fourth renewal came after %v", took)
		}
	})
}

func TestOneFetchForAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, began := newWorld(t, issuing()), time.Now()
		w.fake.Push(crmapitest.Fault{Endpoint: crmapitest.EndpointToken, Latency: time.Second})
		var all sync.WaitGroup
		var got sync.Map
		for range 50 {
			all.Go(func() { got.Store(w.token(t), true) })
		}
		all.Wait()
		n := 0
		got.Range(func(any, any) bool { n++; return true })
		if len(w.fetches(began)) != 1 || n != 1 {
			t.Errorf("%d fetches, %d tokens", len(w.fetches(began)), n)
		}
	})
}

// TestWaiterThatGivesUp: its end is not the end of the fetch that others wait for.
func TestWaiterThatGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, issuing())
		w.fake.Push(crmapitest.Fault{Endpoint: crmapitest.EndpointToken, Latency: 2 * time.Second})
		cause := errors.New("no patience")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, cause)
		defer cancel()
		var all sync.WaitGroup
		all.Go(func() {
			_, err := w.source.Token(ctx) // begins the fetch
			if e := typed(t, err); e.Class != crmapi.ClassTransient || e.Sent || !errors.Is(err, cause) {
				t.Error(err)
			}
		})
		synctest.Wait()
		w.token(t)
		all.Wait()
	})
}

// TestErrorsOfAFetch: none of them says anything about an update.
func TestErrorsOfAFetch(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fault crmapitest.Fault
		want  crmapi.Class
	}{
		"bad secret":       {crmapitest.Fault{Code: 20006}, crmapi.ClassRefused},
		"bad code":         {crmapitest.Fault{Code: 20015}, crmapi.ClassRefused},
		"bad parameter":    {crmapitest.Fault{Code: 10001}, crmapi.ClassRefused},
		"20016":            {crmapitest.Fault{Code: 20016}, crmapi.ClassRefused},
		"wrong host":       {crmapitest.Fault{Status: 302}, crmapi.ClassRefused},
		"no such path":     {crmapitest.Fault{Status: 404}, crmapi.ClassRefused},
		"busy":             {crmapitest.Fault{Code: -1}, crmapi.ClassTransient},
		"unknown code":     {crmapitest.Fault{Code: 77777}, crmapi.ClassTransient},
		"away":             {crmapitest.Fault{Status: 502}, crmapi.ClassTransient},
		"HTML":             {crmapitest.Fault{Body: "<html>"}, crmapi.ClassTransient},
		"no answer":        {crmapitest.Fault{Close: true}, crmapi.ClassTransient},
		"cut":              {crmapitest.Fault{Cut: true}, crmapi.ClassTransient},
		"hung":             {crmapitest.Fault{Hang: true}, crmapi.ClassTransient},
		"throttled":        {crmapitest.Fault{Code: 30004}, crmapi.ClassThrottled},
		"quota":            {crmapitest.Fault{Code: 30002}, crmapi.ClassQuota},
		"no token in it":   {crmapitest.Fault{Body: `{"errorCode":0,"expiresIn":7200}`}, crmapi.ClassTransient},
		"dead at once":     {crmapitest.Fault{Body: `{"errorCode":0,"corpAccessToken":"x","expiresIn":0}`}, crmapi.ClassTransient},
		"no time of death": {crmapitest.Fault{Body: `{"errorCode":0,"corpAccessToken":"x"}`}, crmapi.ClassTransient},
		"another company": {
			crmapitest.Fault{Body: `{"errorCode":0,"corpAccessToken":"x","corpId":"OTHER","expiresIn":7200}`}, crmapi.ClassRefused,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, issuing(), func(c *crmapi.TokenConfig) { c.Timeout = 3 * time.Second })
				tt.fault.Endpoint = crmapitest.EndpointToken
				w.fake.Push(tt.fault)
				for _, asked := range []bool{true, false} { // the second finds the floor, and the same error
					_, got := modify(t, w.client, crmapi.Call{Update: sample()})
					if got == nil || got.Class != tt.want || got.Sent || got.OutcomeUnknown || got.Reason != "" {
						t.Fatalf("%+v", got)
					}
					if !asked && (got.RetryAfter <= 0 || got.RetryAfter > 7*time.Second) {
						t.Errorf("RetryAfter %v", got.RetryAfter)
					}
				}
				if n := len(w.fake.Log()); n != 1 {
					t.Errorf("%d requests", n)
				}
				wait(7 * time.Second)
				if _, got := modify(t, w.client, crmapi.Call{Update: sample()}); got != nil {
					t.Errorf("after that: %v", got)
				}
			})
		})
	}
}

// TestNeverMoreThanTenFetchesAMinute: whatever goes wrong. The fake counts.
func TestNeverMoreThanTenFetchesAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		opts := issuing()
		opts.TokenLife, opts.TokenRenew = time.Second, time.Second
		w, began := newWorld(t, opts), time.Now()
		for range 600 {
			_, _ = w.client.Modify(t.Context(), crmapi.Call{Update: sample()})
			wait(time.Second / 2)
		}
		if n := len(w.fetches(began)); n < 20 {
			t.Errorf("only %d fetches in 5 minutes", n)
		}
	})
}

// TestTwoInstances renew one token within the vendor's rules, since they are kept apart.
func TestTwoInstances(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var shared locker
		w := newWorld(t, issuing(), func(c *crmapi.TokenConfig) { c.Lock = &shared })
		cfg := tokenConfig(t, inMemory(t, w.fake))
		cfg.Lock = &shared
		other := newToken(t, cfg)
		w.fake.Push(crmapitest.Fault{Endpoint: crmapitest.EndpointToken, Latency: time.Second, Times: -1})
		for range 3 * 60 {
			var all sync.WaitGroup
			for _, source := range []*crmapi.FetchedToken{w.source, other} {
				all.Go(func() {
					if _, err := source.Token(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			wait(time.Minute)
		}
		if shared.times.Load() < 4 {
			t.Errorf("locked %d times", shared.times.Load())
		}
	})
}

type locker struct {
	slot  sync.Once
	free  chan struct{}
	times atomic.Int32
}

func (l *locker) Lock(ctx context.Context) (func(), error) {
	l.slot.Do(func() { l.free = make(chan struct{}, 1) })
	select {
	case l.free <- struct{}{}:
		l.times.Add(1)
		return func() { <-l.free }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func TestLockThatFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var shared locker
		unlock, _ := shared.Lock(t.Context())
		w := newWorld(t, issuing(), func(c *crmapi.TokenConfig) { c.Lock, c.Timeout = &shared, time.Second })
		_, err := w.source.Token(t.Context())
		if e := typed(t, err); e.Class != crmapi.ClassTransient || !errors.Is(err, crmapi.ErrTimeout) {
			t.Error(err)
		}
		unlock()
		wait(7 * time.Second)
		w.token(t)
	})
}

func TestCloseEndsTheFetch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, issuing())
		w.fake.Push(crmapitest.Fault{Endpoint: crmapitest.EndpointToken, Hang: true})
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := w.source.Token(t.Context()); !errors.Is(err, crmapi.ErrClosed) {
				t.Error(err)
			}
		})
		synctest.Wait()
		w.source.Close()
		all.Wait()
		if _, err := w.source.Token(t.Context()); !errors.Is(err, crmapi.ErrClosed) {
			t.Error(err)
		}
	})
}

// TestSameTokenLivesNoLonger: an answer that gives the old token a new life is not believed.
func TestSameTokenLivesNoLonger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, began := newWorld(t, issuing()), time.Now()
		w.fake.Push(crmapitest.Fault{
			Endpoint: crmapitest.EndpointToken, Times: 2, Body: `{"errorCode":0,"corpAccessToken":"SAME","expiresIn":7200}`,
		})
		for _, pause := range []time.Duration{0, 6950 * time.Second, 40 * time.Second} {
			wait(pause)
			if got := w.token(t); got != "SAME" {
				t.Fatal(got)
			}
			synctest.Wait() // for the renewal
		}
		if got := w.token(t); got == "SAME" || len(w.fetches(began)) != 3 {
			t.Errorf("%d fetches", len(w.fetches(began)))
		}
	})
}

func TestTokenConfigReportsAllFaults(t *testing.T) {
	t.Parallel()
	_, err := crmapi.NewFetchedToken(crmapi.TokenConfig{Timeout: -1})
	var missing []string
	for _, want := range []string{"BaseURL", "AppID", "AppSecret", "PermanentCode", "Timeout"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			missing = append(missing, want)
		}
	}
	if diff := cmp.Diff([]string(nil), missing); diff != "" {
		t.Error(diff, err)
	}
}
