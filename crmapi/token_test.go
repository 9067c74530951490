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

// issuing returns options of a fake that issues tokens and accepts no other token.
func issuing() crmapitest.Options {
	return crmapitest.Options{
		CorpID: corp, Members: []string{member}, AppID: "APP_TEST", AppSecret: "SECRET_TEST", PermanentCode: "CODE_TEST",
	}
}

// tokenConfig returns a configuration that matches issuing.
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

// A fixture is a fake CRM with a token source and a client of it, in virtual time.
type fixture struct {
	fake   *crmapitest.Server
	source *crmapi.FetchedToken
	client *crmapi.Client
}

func newFixture(t *testing.T, opts crmapitest.Options, change ...func(*crmapi.TokenConfig)) fixture {
	t.Helper()
	w := fixture{fake: crmapitest.New(opts)}
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

// fetches returns when tokens were requested, as times since began.
func (w fixture) fetches(began time.Time) []time.Duration {
	var at []time.Duration
	for _, seen := range w.fake.Log() {
		if seen.Endpoint == crmapitest.EndpointToken {
			at = append(at, seen.Arrived.Sub(began))
		}
	}
	return at
}

// wait waits in virtual time.
func wait(d time.Duration) { <-time.After(d) }

func (w fixture) token(t *testing.T) string {
	t.Helper()
	got, err := w.source.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// typed returns an error as the *crmapi.Error that it must be.
func typed(t *testing.T, err error) *crmapi.Error {
	t.Helper()
	e, ok := errors.AsType[*crmapi.Error](err)
	if !ok {
		t.Fatalf("%T %v", err, err)
	}
	return e
}

// TestTokenIsRenewedInItsWindow runs for a day with one call per minute. Each renewal comes 6600 s
// to 7200 s after the previous fetch, and every call succeeds.
func TestTokenIsRenewedInItsWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, began := newFixture(t, issuing()), time.Now()
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
				t.Errorf("fetch %d came %v after the previous one", i+1, gap)
			}
		}
	})
}

// TestOldTokenIsUsedDuringRenewal: the token API is slow, and no caller waits for it.
func TestOldTokenIsUsedDuringRenewal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newFixture(t, issuing())
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

// TestRenewalFails: the old token is used until it expires, and the renewal is tried again.
func TestRenewalFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newFixture(t, issuing())
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
		w, began := newFixture(t, issuing()), time.Now()
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

// TestWaiterGivesUp: the end of one waiter's context does not end the fetch, since others wait for
// it.
func TestWaiterGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newFixture(t, issuing())
		w.fake.Push(crmapitest.Fault{Endpoint: crmapitest.EndpointToken, Latency: 2 * time.Second})
		cause := errors.New("caller gave up")
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

// TestFetchErrors: the error of a fetch reports nothing about an update.
func TestFetchErrors(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fault crmapitest.Fault
		want  crmapi.Class
	}{
		"bad secret":    {crmapitest.Fault{Code: 20006}, crmapi.ClassRefused},
		"bad code":      {crmapitest.Fault{Code: 20015}, crmapi.ClassRefused},
		"bad parameter": {crmapitest.Fault{Code: 10001}, crmapi.ClassRefused},
		"20016":         {crmapitest.Fault{Code: 20016}, crmapi.ClassRefused},
		"wrong host":    {crmapitest.Fault{Status: 302}, crmapi.ClassRefused},
		"wrong path":    {crmapitest.Fault{Status: 404}, crmapi.ClassRefused},
		"busy":          {crmapitest.Fault{Code: -1}, crmapi.ClassTransient},
		"unknown code":  {crmapitest.Fault{Code: 77777}, crmapi.ClassTransient},
		"HTTP 502":      {crmapitest.Fault{Status: 502}, crmapi.ClassTransient},
		"HTML":          {crmapitest.Fault{Body: "<html>"}, crmapi.ClassTransient},
		"closed":        {crmapitest.Fault{Close: true}, crmapi.ClassTransient},
		"cut":           {crmapitest.Fault{Cut: true}, crmapi.ClassTransient},
		"hangs":         {crmapitest.Fault{Hang: true}, crmapi.ClassTransient},
		"throttled":     {crmapitest.Fault{Code: 30004}, crmapi.ClassThrottled},
		"quota":         {crmapitest.Fault{Code: 30002}, crmapi.ClassQuota},
		"no token":      {crmapitest.Fault{Body: `{"errorCode":0,"expiresIn":7200}`}, crmapi.ClassTransient},
		"lifetime 0":    {crmapitest.Fault{Body: `{"errorCode":0,"corpAccessToken":"x","expiresIn":0}`}, crmapi.ClassTransient},
		"no expiresIn":  {crmapitest.Fault{Body: `{"errorCode":0,"corpAccessToken":"x"}`}, crmapi.ClassTransient},
		"another company": {
			crmapitest.Fault{Body: `{"errorCode":0,"corpAccessToken":"x","corpId":"OTHER","expiresIn":7200}`}, crmapi.ClassRefused,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newFixture(t, issuing(), func(c *crmapi.TokenConfig) { c.Timeout = 3 * time.Second })
				tt.fault.Endpoint = crmapitest.EndpointToken
				w.fake.Push(tt.fault)
				// The second call is within the minimum interval between fetches and gets the same
				// error.
				for _, isFirst := range []bool{true, false} {
					_, got := modify(t, w.client, crmapi.Call{Update: sample()})
					if got == nil || got.Class != tt.want || got.Sent || got.OutcomeUnknown || got.Reason != "" {
						t.Fatalf("%+v", got)
					}
					if !isFirst && (got.RetryAfter <= 0 || got.RetryAfter > 7*time.Second) {
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

// TestAtMostTenFetchesPerMinute: the limit applies even if fetches fail. The fake counts the
// fetches.
func TestAtMostTenFetchesPerMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		opts := issuing()
		opts.TokenLife, opts.TokenRenew = time.Second, time.Second
		w, began := newFixture(t, opts), time.Now()
		for range 600 {
			_, _ = w.client.Modify(t.Context(), crmapi.Call{Update: sample()})
			wait(time.Second / 2)
		}
		if n := len(w.fetches(began)); n < 20 {
			t.Errorf("only %d fetches in 5 minutes", n)
		}
	})
}

// TestTwoInstances: two instances renew the same token within the vendor's rules, because they
// share a lock.
func TestTwoInstances(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var shared locker
		w := newFixture(t, issuing(), func(c *crmapi.TokenConfig) { c.Lock = &shared })
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

func TestLockFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var shared locker
		unlock, _ := shared.Lock(t.Context())
		w := newFixture(t, issuing(), func(c *crmapi.TokenConfig) { c.Lock, c.Timeout = &shared, time.Second })
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
		w := newFixture(t, issuing())
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

// TestSameTokenKeepsItsExpiry: a response that gives the old token a new lifetime does not extend
// it.
func TestSameTokenKeepsItsExpiry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, began := newFixture(t, issuing()), time.Now()
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
