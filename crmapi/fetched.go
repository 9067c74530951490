package crmapi

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// IssuePath is the path of the API that issues access tokens.
const IssuePath = "/cgi/corpAccessToken/get/V2"

const (
	// The vendor hands out a new token only in the last 600 s of the old one. A token is renewed after the
	// first 30 s of them, since the clocks differ by the time an answer takes, and in the first half, so
	// that time is left to try again; where in it is random, so that instances do not come all at once.
	renewBefore = 570 * time.Second
	renewSpread = 270 * time.Second
	renewRetry  = 30 * time.Second
	// The vendor allows 10 calls a minute.
	fetchFloor = 7 * time.Second
)

// A TokenConfig says how to fetch access tokens.
type TokenConfig struct {
	// BaseURL is the CRM's. Required.
	BaseURL *url.URL
	// AppID, AppSecret and PermanentCode identify the company's app. Required.
	AppID, AppSecret, PermanentCode string
	// CorpID, if set, is the company that the token must belong to.
	CorpID string
	// Timeout bounds one fetch, waiting for Lock included; 0 is 10 s.
	Timeout time.Duration
	// HTTP sends the requests; nil is a client of its own. Redirects are never followed.
	HTTP *http.Client
	// Codes are rows on top of the published error table.
	Codes Table
	// Lock, if set, keeps the fetches of all instances apart.
	Lock Locker
	// Log gets a line when a renewal fails that nobody waits for; nil is none.
	Log *slog.Logger
}

// A Locker is a lock that all instances share. The vendor allows no two fetches at once and ten a minute, so
// an implementation may keep the lock for a few seconds after it was given back.
type Locker interface {
	// Lock waits for the lock. The context bounds the wait and how long the lock will be needed.
	Lock(ctx context.Context) (unlock func(), err error)
}

func (c TokenConfig) validate() error {
	faults := []error{validBase(c.BaseURL)}
	for _, part := range [][2]string{{"AppID", c.AppID}, {"AppSecret", c.AppSecret}, {"PermanentCode", c.PermanentCode}} {
		if part[1] == "" {
			faults = append(faults, errors.New("crmapi: "+part[0]+" is required"))
		}
	}
	if c.Timeout < 0 {
		faults = append(faults, errors.New("crmapi: Timeout must not be negative"))
	}
	return errors.Join(faults...)
}

// String masks the secrets, and with them the rest.
func (TokenConfig) String() string { return mask }

// GoString masks the secrets, and with them the rest.
func (TokenConfig) GoString() string { return mask }

// LogValue masks the secrets, and with them the rest.
func (TokenConfig) LogValue() slog.Value { return slog.StringValue(mask) }

// A FetchedToken fetches the access token and renews it before it dies. One fetch is in flight at most;
// whoever needs its result waits. While a token is renewed in good time, the old one is still handed out.
type FetchedToken struct {
	fetcher fetcher

	mu        sync.Mutex
	current   issued
	flight    *flight
	notBefore time.Time // of the next fetch
	last      *Error    // of the last fetch, nil if it succeeded
	closed    bool
	running   sync.WaitGroup
}

// A flight is one fetch under way.
type flight struct {
	done   chan struct{} // closed when token and err are there
	cancel context.CancelCauseFunc
	token  string
	err    *Error
}

// NewFetchedToken returns a source that has not fetched yet. All faults of the configuration are
// reported at once.
func NewFetchedToken(cfg TokenConfig) (*FetchedToken, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg.Timeout = cmp.Or(cfg.Timeout, 10*time.Second)
	cfg.Log = cmp.Or(cfg.Log, slog.New(slog.DiscardHandler))
	return &FetchedToken{fetcher: fetcher{cfg: cfg, client: httpClient(cfg.HTTP, 1)}}, nil
}

// Token returns the current token. It fetches the first one, and another when that has died.
func (f *FetchedToken) Token(ctx context.Context) (string, error) {
	f.mu.Lock()
	now := time.Now()
	if now.Before(f.current.dies) {
		if !now.Before(f.current.renewAt) {
			_, _ = f.start(ctx, now) // the old one still works
		}
		token := f.current.token
		f.mu.Unlock()
		return token, nil
	}
	fl, err := f.start(ctx, now)
	f.mu.Unlock()
	if err != nil {
		return "", err
	}
	return fl.wait(ctx)
}

// Refresh returns another token than the stale one. If that is the current one and was fetched just
// now, it is the configuration that is wrong.
func (f *FetchedToken) Refresh(ctx context.Context, stale string) (string, error) {
	f.mu.Lock()
	if f.current.token != stale {
		f.mu.Unlock()
		return f.Token(ctx) // renewed by another call already
	}
	now := time.Now()
	if f.flight == nil && f.last == nil && now.Before(f.notBefore) {
		f.mu.Unlock()
		return "", refusedJustNow()
	}
	f.current.dies = now // it works for nobody
	fl, err := f.start(ctx, now)
	f.mu.Unlock()
	if err != nil {
		return "", err
	}
	token, waitErr := fl.wait(ctx)
	if waitErr == nil && token == stale {
		return "", refusedJustNow()
	}
	return token, waitErr
}

// Close ends a fetch that is under way and closes idle connections.
func (f *FetchedToken) Close() {
	f.mu.Lock()
	f.closed = true
	if f.flight != nil {
		f.flight.cancel(ErrClosed)
	}
	f.mu.Unlock()
	f.running.Wait()
	f.fetcher.client.CloseIdleConnections()
}

// String hides the secrets.
func (*FetchedToken) String() string { return mask }

// GoString hides the secrets.
func (*FetchedToken) GoString() string { return mask }

// start joins the fetch under way or begins one, unless the last was too short a while ago. The fetch does
// not end with the context of the caller, since others may wait for it. The caller holds mu.
func (f *FetchedToken) start(ctx context.Context, now time.Time) (*flight, error) {
	if f.flight != nil {
		return f.flight, nil
	}
	if f.closed {
		return nil, &Error{Class: ClassTransient, op: "token", what: whatNotSent, causes: []error{ErrClosed}}
	}
	if wait := f.notBefore.Sub(now); wait > 0 {
		return nil, f.tooSoon(wait)
	}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	fl := &flight{done: make(chan struct{}), cancel: cancel}
	f.flight = fl
	f.running.Go(func() { f.fly(ctx, fl) })
	return fl, nil
}

// tooSoon repeats the error of the last fetch.
func (f *FetchedToken) tooSoon(wait time.Duration) *Error {
	e := Error{Class: ClassTransient, op: "token", what: whatPause}
	if f.last != nil {
		e = *f.last
	}
	e.RetryAfter = wait
	return &e
}

func (f *FetchedToken) fly(ctx context.Context, fl *flight) {
	defer fl.cancel(nil)
	got, err := f.fetcher.fetch(ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	f.flight, f.last, f.notBefore = nil, err, now.Add(fetchFloor)
	switch {
	case err != nil:
		f.notBefore = now.Add(max(fetchFloor, err.RetryAfter))
		f.current.renewAt = now.Add(renewRetry)
		if !f.closed {
			f.report(ctx, err)
		}
	case got.token == f.current.token && now.Before(f.current.dies):
		f.current.renewAt = now.Add(renewRetry) // asked before the vendor's window opened
	default:
		f.current = got
	}
	fl.token, fl.err = got.token, err
	close(fl.done)
}

func (f *FetchedToken) report(ctx context.Context, err *Error) {
	f.fetcher.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "access token not fetched",
		slog.String("class", err.Class.String()), slog.Int("status", err.Status), slog.Int("crm_code", err.Code),
		slog.String("crm_trace_id", err.TraceID))
}

// wait returns the result of the fetch, or gives up waiting when the context ends.
func (fl *flight) wait(ctx context.Context) (string, error) {
	select {
	case <-fl.done:
	case <-ctx.Done():
		return "", &Error{Class: ClassTransient, op: "token", what: whatNotSent, causes: endedContext(ctx)}
	}
	if fl.err != nil {
		return "", fl.err
	}
	return fl.token, nil
}

// An issued token and its times.
type issued struct {
	token         string
	renewAt, dies time.Time
}

func newIssued(token string, asked time.Time, life time.Duration) issued {
	dies := asked.Add(life)
	renewAt := dies.Add(rand.N(renewSpread) - renewBefore)
	if soonest := asked.Add(renewRetry); renewAt.Before(soonest) {
		renewAt = soonest
	}
	return issued{token: token, renewAt: renewAt, dies: dies}
}

func refusedJustNow() *Error {
	return &Error{Class: ClassRefused, op: "token", what: whatJustIssued}
}
