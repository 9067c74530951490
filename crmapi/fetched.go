package crmapi

import (
	"cmp"
	"context"
	"crypto/tls"
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
	// The vendor issues a new token only in the last 600 s of the old one. A token is renewed 30 s
	// to 300 s after this window opens. Not earlier: the two clocks differ by the time that a
	// response takes. Not later: there must be time to try again. The moment is random, so that the
	// instances do not all renew at once.
	renewBefore        = 570 * time.Second
	renewJitter        = 270 * time.Second
	renewRetryInterval = 30 * time.Second
	// The vendor allows 10 calls per minute. This bounds one instance, and Locker all of them.
	minFetchInterval = 7 * time.Second
)

// A TokenConfig sets how to fetch access tokens.
type TokenConfig struct {
	// BaseURL is the CRM's scheme and host, with a path prefix if there is one. Required.
	BaseURL *url.URL
	// AppID, AppSecret and PermanentCode identify the company's app. Required.
	AppID, AppSecret, PermanentCode string
	// Secrets, if set, returns the app secret and the permanent code before each fetch, in place of
	// AppSecret and PermanentCode: they may change. It must be safe for concurrent use.
	Secrets func() (appSecret, permanentCode string)
	// CorpID, if set, is the company that the token must belong to.
	CorpID string
	// Timeout bounds one fetch, including the wait for Lock; 0 means 10 s.
	Timeout time.Duration
	// HTTP sends the requests; nil means a client of its own. Redirects are never followed.
	HTTP *http.Client
	// TLS and Proxy are as in [Config].
	TLS   func() *tls.Config
	Proxy *url.URL
	// Codes are rows in addition to the published error table.
	Codes Table
	// Lock, if set, makes sure that only one instance fetches at a time.
	Lock Locker
	// Log gets a warning for every fetch that failed; nil means none.
	Log *slog.Logger
}

// A Locker is a lock that all instances share. The vendor allows one fetch at a time and ten per
// minute, failed ones included, so an implementation grants it less often than that.
type Locker interface {
	// Lock waits for the lock. The deadline of the context bounds the wait, and how long the caller
	// needs the lock.
	Lock(ctx context.Context) (unlock func(), err error)
}

func (c TokenConfig) validate() error {
	faults := []error{validateBaseURL(c.BaseURL)}
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

// String masks the whole configuration, because it contains secrets.
func (TokenConfig) String() string { return mask }

// GoString masks the whole configuration, because it contains secrets.
func (TokenConfig) GoString() string { return mask }

// LogValue masks the whole configuration, because it contains secrets.
func (TokenConfig) LogValue() slog.Value { return slog.StringValue(mask) }

// A FetchedToken fetches the access token and renews it before it expires. At most one fetch is in
// flight, and all callers that need its result wait for it. During a renewal before the expiry,
// callers still get the old token. A FetchedToken is safe for concurrent use.
type FetchedToken struct {
	fetcher fetcher

	mu          sync.Mutex  // guards the fields below, except running
	current     issuedToken // the zero value before the first fetch
	inFlight    *tokenFetch // nil if none
	nextFetchAt time.Time   // no fetch may start before that
	lastError   *Error      // of the last fetch; nil if it succeeded
	closed      bool
	running     sync.WaitGroup // the goroutines of fetches; Close waits for them
}

// A tokenFetch is one fetch in flight.
type tokenFetch struct {
	done   chan struct{} // closed when token and err are set
	cancel context.CancelCauseFunc
	token  string
	err    *Error
}

// NewFetchedToken returns a source that has not fetched a token yet. Its error reports all faults
// of the configuration at once.
func NewFetchedToken(cfg TokenConfig) (*FetchedToken, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg.Timeout = cmp.Or(cfg.Timeout, 10*time.Second)
	cfg.Log = cmp.Or(cfg.Log, slog.New(slog.DiscardHandler))
	return &FetchedToken{fetcher: fetcher{cfg: cfg, client: httpClient(cfg.HTTP, connections{1, cfg.TLS, cfg.Proxy})}}, nil
}

// Token returns the current token. It fetches the first one, and a new one when the current one has
// expired.
func (f *FetchedToken) Token(ctx context.Context) (string, error) {
	f.mu.Lock()
	now := time.Now()
	if now.Before(f.current.expiresAt) {
		if !now.Before(f.current.renewAt) {
			_, _ = f.startLocked(ctx, now) // the old one still works
		}
		token := f.current.token
		f.mu.Unlock()
		return token, nil
	}
	pending, err := f.startLocked(ctx, now)
	f.mu.Unlock()
	if err != nil {
		return "", err
	}
	return pending.wait(ctx)
}

// Refresh returns a token other than stale. If stale is the current token and was just fetched, the
// configuration is wrong, and the error has the class ClassRefused.
func (f *FetchedToken) Refresh(ctx context.Context, stale string) (string, error) {
	f.mu.Lock()
	if f.current.token != stale {
		f.mu.Unlock()
		return f.Token(ctx) // another call has already renewed it
	}
	now := time.Now()
	if f.inFlight == nil && f.lastError == nil && now.Before(f.nextFetchAt) {
		f.mu.Unlock()
		return "", justIssuedError()
	}
	f.current.expiresAt = now // no other call may use it
	pending, err := f.startLocked(ctx, now)
	f.mu.Unlock()
	if err != nil {
		return "", err
	}
	token, waitErr := pending.wait(ctx)
	if waitErr == nil && token == stale {
		return "", justIssuedError()
	}
	return token, waitErr
}

// Close cancels a fetch in flight, waits for its end, and closes idle connections.
func (f *FetchedToken) Close() {
	f.mu.Lock()
	f.closed = true
	if f.inFlight != nil {
		f.inFlight.cancel(ErrClosed)
	}
	f.mu.Unlock()
	f.running.Wait()
	f.fetcher.client.CloseIdleConnections()
}

// String hides the secrets.
func (*FetchedToken) String() string { return mask }

// GoString hides the secrets.
func (*FetchedToken) GoString() string { return mask }

// startLocked returns the fetch in flight, or starts one unless the last one was too recent. The
// fetch does not end with the caller's context, because other callers may wait for it. The caller
// must hold mu.
func (f *FetchedToken) startLocked(ctx context.Context, now time.Time) (*tokenFetch, error) {
	if f.inFlight != nil {
		return f.inFlight, nil
	}
	if f.closed {
		return nil, &Error{Class: ClassTransient, op: "token", detail: detailNotSent, causes: []error{ErrClosed}}
	}
	if wait := f.nextFetchAt.Sub(now); wait > 0 {
		return nil, f.tooSoonError(wait)
	}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	pending := &tokenFetch{done: make(chan struct{}), cancel: cancel}
	f.inFlight = pending
	f.running.Go(func() { f.runFetch(ctx, pending) })
	return pending, nil
}

// tooSoonError returns the error of the last fetch again, with the remaining wait as RetryAfter.
func (f *FetchedToken) tooSoonError(wait time.Duration) *Error {
	e := Error{Class: ClassTransient, op: "token", detail: detailTooSoon}
	if f.lastError != nil {
		e = *f.lastError
	}
	e.RetryAfter = wait
	return &e
}

// runFetch makes the fetch, stores the result, and wakes all callers that wait for it.
func (f *FetchedToken) runFetch(ctx context.Context, pending *tokenFetch) {
	defer pending.cancel(nil)
	got, err := f.fetcher.fetch(ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	f.inFlight, f.lastError, f.nextFetchAt = nil, err, now.Add(minFetchInterval)
	switch {
	case err != nil:
		f.nextFetchAt = now.Add(max(minFetchInterval, err.RetryAfter))
		f.current.renewAt = now.Add(renewRetryInterval)
		if !f.closed {
			f.logFailure(ctx, err)
		}
	case got.token == f.current.token && now.Before(f.current.expiresAt):
		f.current.renewAt = now.Add(renewRetryInterval) // the same token: the vendor's window is not open yet
	default:
		f.current = got
	}
	pending.token, pending.err = got.token, err
	close(pending.done)
}

func (f *FetchedToken) logFailure(ctx context.Context, err *Error) {
	f.fetcher.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "access token not fetched",
		slog.String("class", err.Class.String()), slog.Int("status", err.Status), slog.Int("crm_code", err.Code),
		slog.String("crm_trace_id", err.TraceID))
}

// wait returns the result of the fetch, or an error when the context ends first.
func (pending *tokenFetch) wait(ctx context.Context) (string, error) {
	select {
	case <-pending.done:
	case <-ctx.Done():
		return "", &Error{Class: ClassTransient, op: "token", detail: detailNotSent, causes: contextCauses(ctx)}
	}
	if pending.err != nil {
		return "", pending.err
	}
	return pending.token, nil
}

// An issuedToken is a token with its times.
type issuedToken struct {
	token              string
	renewAt, expiresAt time.Time
}

// newIssuedToken returns a token that was requested at a time and is valid for a lifetime from then
// on.
func newIssuedToken(token string, requestedAt time.Time, lifetime time.Duration) issuedToken {
	expiresAt := requestedAt.Add(lifetime)
	renewAt := expiresAt.Add(rand.N(renewJitter) - renewBefore)
	if soonest := requestedAt.Add(renewRetryInterval); renewAt.Before(soonest) {
		renewAt = soonest
	}
	return issuedToken{token: token, renewAt: renewAt, expiresAt: expiresAt}
}

// justIssuedError returns the error for a token that the CRM refuses although it was just issued.
func justIssuedError() *Error {
	return &Error{Class: ClassRefused, op: "token", detail: detailJustIssued}
}
