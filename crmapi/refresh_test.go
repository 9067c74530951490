package crmapi_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"membersync/crmapi"
	"membersync/crmapi/crmapitest"
)

// TestManyCallsWithARevokedToken: all calls get 20016, one of them renews the token, and each call
// is sent again.
func TestManyCallsWithARevokedToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		opts := issuing()
		opts.AutoCreate, opts.Latency = true, time.Second
		w, began := newFixture(t, opts), time.Now()
		w.token(t)
		wait(time.Hour)
		w.fake.RevokeTokens()
		var all sync.WaitGroup
		var asked atomic.Int32
		for i := range 20 {
			u := sample()
			u.OpenUserID = fmt.Sprintf("FSUID_TEST%04d", i)
			all.Go(func() {
				_, err := w.client.Modify(t.Context(), crmapi.Call{Update: u, BeforeResend: func(context.Context) error {
					asked.Add(1)
					return nil
				}})
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := len(w.fetches(began)); n != 2 || len(w.fake.Calls()) != 40 || asked.Load() != 20 {
			t.Errorf("%d fetches, %d calls, %d calls of BeforeResend", n, len(w.fake.Calls()), asked.Load())
		}
	})
}

// TestTokenRefusedJustAfterTheFetch: this is a wrong configuration. The client must not retry in a
// loop; the operator must act.
func TestTokenRefusedJustAfterTheFetch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, began := newFixture(t, issuing()), time.Now()
		w.fake.Push(crmapitest.Fault{Code: 20016, Times: -1})
		for range 120 {
			_, got := modify(t, w.client, crmapi.Call{Update: sample()})
			if got == nil || got.Class != crmapi.ClassRefused || got.Code != 20016 || got.OutcomeUnknown {
				t.Fatalf("%+v", got)
			}
			wait(time.Second)
		}
		// For two minutes: an error each time, and a fetch from time to time, since the fault may
		// be fixed.
		if n := len(w.fetches(began)); n < 10 || n > 20 {
			t.Errorf("%d fetches", n)
		}
	})
}

func TestRefreshedTokenIsAlsoRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newFixture(t, issuing())
		w.token(t)
		wait(time.Hour)
		w.fake.RevokeTokens() // so that the refresh returns another token
		w.fake.Push(crmapitest.Fault{Code: 20005, Times: 2})
		_, got := modify(t, w.client, crmapi.Call{Update: sample()})
		if got == nil || got.Class != crmapi.ClassRefused || got.Code != 20005 || len(w.fake.Calls()) != 2 {
			t.Errorf("%+v", got)
		}
	})
}

func TestRefreshFails(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fault crmapitest.Fault
		want  crmapi.Class
	}{
		"HTTP 503":   {crmapitest.Fault{Status: 503}, crmapi.ClassToken},
		"closed":     {crmapitest.Fault{Close: true}, crmapi.ClassToken},
		"bad secret": {crmapitest.Fault{Code: 20006}, crmapi.ClassRefused},
		"throttled":  {crmapitest.Fault{Status: 429}, crmapi.ClassThrottled},
		"quota":      {crmapitest.Fault{Code: 30002}, crmapi.ClassQuota},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newFixture(t, issuing())
				w.token(t)
				wait(time.Hour)
				w.fake.RevokeTokens()
				tt.fault.Endpoint = crmapitest.EndpointToken
				tt.fault.Header = map[string]string{"Retry-After": "30"}
				w.fake.Push(tt.fault)
				_, got := modify(t, w.client, crmapi.Call{Update: sample()})
				if got == nil || got.Class != tt.want || got.Code != 20016 || !got.Sent || got.OutcomeUnknown {
					t.Fatalf("%+v", got)
				}
				wait(31 * time.Second)
				if _, got := modify(t, w.client, crmapi.Call{Update: sample()}); got != nil {
					t.Errorf("after that: %v", got)
				}
			})
		})
	}
}

func TestResendNotAllowed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, stop := newFixture(t, issuing()), errors.New("no permit")
		w.token(t)
		wait(time.Hour)
		w.fake.RevokeTokens()
		_, got := modify(t, w.client, crmapi.Call{Update: sample(), BeforeResend: func(context.Context) error { return stop }})
		if got == nil || got.Class != crmapi.ClassToken || !errors.Is(got, stop) || len(w.fake.Calls()) != 1 {
			t.Errorf("%+v", got)
		}
	})
}

// TestRefreshOfAnOldToken: another call has already renewed the token.
func TestRefreshOfAnOldToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, began := newFixture(t, issuing()), time.Now()
		want := w.token(t)
		got, err := w.source.Refresh(t.Context(), "TOKEN_OLD")
		if got != want || err != nil || len(w.fetches(began)) != 1 {
			t.Errorf("%v, %v", got == want, err)
		}
	})
}

// TestRefreshReturnsTheSameToken: the vendor returns the same token for 6600 s, so a second request
// cannot succeed.
func TestRefreshReturnsTheSameToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, began := newFixture(t, issuing()), time.Now()
		stale := w.token(t)
		wait(time.Minute)
		_, err := w.source.Refresh(t.Context(), stale)
		if e := typed(t, err); e.Class != crmapi.ClassRefused || len(w.fetches(began)) != 2 {
			t.Errorf("%v, %d fetches", err, len(w.fetches(began)))
		}
		w.fake.Push(crmapitest.Fault{Code: 20016, Times: -1})
		client := newClient(t, parseURL(t, "http://crm.test"), func(c *crmapi.Config) {
			c.HTTP, c.Token = inMemory(t, w.fake), slowToken(0)
		})
		if _, got := modify(t, client, crmapi.Call{Update: sample()}); got == nil || got.Class != crmapi.ClassRefused || len(w.fake.Calls()) != 1 {
			t.Errorf("%+v, %d calls", got, len(w.fake.Calls()))
		}
	})
}

// TestRefusedTokenIsNotReturnedAgain: while the token is renewed, other calls wait. They would be
// refused with the old one.
func TestRefusedTokenIsNotReturnedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newFixture(t, issuing())
		stale := w.token(t)
		wait(time.Hour)
		w.fake.RevokeTokens()
		w.fake.Push(crmapitest.Fault{Endpoint: crmapitest.EndpointToken, Latency: time.Second})
		var all sync.WaitGroup
		all.Go(func() {
			if got, err := w.source.Refresh(t.Context(), stale); err != nil || got == stale {
				t.Errorf("same token: %v, %v", got == stale, err)
			}
		})
		synctest.Wait()
		if w.token(t) == stale {
			t.Error("Token returned the refused token")
		}
		all.Wait()
	})
}

func TestFixedToken(t *testing.T) {
	t.Parallel()
	fixed := crmapi.FixedToken("TOKEN_FIXED")
	if got, err := fixed.Token(t.Context()); got != "TOKEN_FIXED" || err != nil {
		t.Error(got, err)
	}
	_, err := fixed.Refresh(t.Context(), "TOKEN_FIXED")
	if e := typed(t, err); e.Class != crmapi.ClassRefused {
		t.Error(e)
	}
	fake := crmapitest.New(options())
	client := newClient(t, loopback(t, fake), func(c *crmapi.Config) { c.Token = fixed })
	_, got := modify(t, client, crmapi.Call{Update: sample()})
	if got == nil || got.Class != crmapi.ClassRefused || got.Code != 20016 || got.TraceID == "" || len(fake.Calls()) != 1 {
		t.Errorf("%+v", got)
	}
}

// A failingToken is a token source that always fails with the given error.
type failingToken struct{ err error }

func (s failingToken) Token(context.Context) (string, error)           { return "", s.err }
func (s failingToken) Refresh(context.Context, string) (string, error) { return "", s.err }

func TestErrorOfAnotherTokenSource(t *testing.T) {
	t.Parallel()
	failing := failingToken{err: errors.New("CANARY")}
	client := newClient(t, parseURL(t, "http://crm.test"), func(c *crmapi.Config) { c.Token = failing })
	_, got := modify(t, client, crmapi.Call{Update: sample()})
	if got == nil || got.Class != crmapi.ClassTransient || got.Sent || !errors.Is(got, failing.err) || strings.Contains(got.Error(), "CANARY") {
		t.Errorf("%+v", got)
	}
	failing.err = &crmapi.Error{Class: crmapi.ClassQuota, Sent: true, OutcomeUnknown: true}
	client = newClient(t, parseURL(t, "http://crm.test"), func(c *crmapi.Config) { c.Token = failing })
	if _, got := modify(t, client, crmapi.Call{Update: sample()}); got == nil || got.Class != crmapi.ClassQuota || got.Sent || got.OutcomeUnknown {
		t.Errorf("%+v", got)
	}
}
