package credentials

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

const (
	// tokenTimeout bounds one fetch. kafka-go gives a whole connection 5 s.
	tokenTimeout = 4 * time.Second
	// renewShare is the share of a token's lifetime after which a new one is fetched, in percent,
	// as in Kafka's own client (sasl.login.refresh.window.factor).
	renewShare = 80
	// unstatedLifetime is assumed of a token whose response states none.
	unstatedLifetime = 5 * time.Minute
	// After a fetch that failed, the next one waits: shortly if there is no token at all, longer
	// while the old one is valid.
	retryWithout   = time.Second
	retryWith      = 30 * time.Second
	maxTokenHeader = 64 << 10 // bytes
)

var (
	errTokenConnection = errors.New("connection failed")
	errTokenTimeout    = errors.New("no response in time")
	errNoToken         = errors.New("the response holds no access token that can be used")
	errRefused         = errors.New("the last one was refused")
	errClosed          = errors.New("the program ends")
)

// A TokenError says why no access token was fetched. Its text holds no secret, and nothing that the
// endpoint wrote except an error code of RFC 6749.
type TokenError struct {
	Status int    // of HTTP; 0: there was no response
	Code   string // of RFC 6749, section 5.2; empty: none that is known
	Err    error  // of the network or the response; nil: the endpoint refused
}

// Error states what the endpoint responded, or why it did not.
func (e *TokenError) Error() string {
	const text = "no access token: "
	switch {
	case e.Err != nil:
		return text + e.Err.Error()
	case e.Code != "":
		return fmt.Sprintf("%sHTTP %d, %s", text, e.Status, e.Code)
	default:
		return fmt.Sprintf("%sHTTP %d", text, e.Status)
	}
}

// Unwrap returns the error of the network.
func (e *TokenError) Unwrap() error { return e.Err }

// Unavailable reports whether a later fetch may succeed without any intervention.
func (e *TokenError) Unavailable() bool {
	_, certificate := errors.AsType[*tls.CertificateVerificationError](e.Err)
	switch {
	case certificate, errors.Is(e.Err, errNoToken):
		return false
	case e.Err != nil:
		return true
	default:
		return e.Status >= 500 || e.Status == http.StatusTooManyRequests || e.Status == http.StatusRequestTimeout
	}
}

// A TokenConfig says how to fetch access tokens by client credentials (RFC 6749, section 4.4). All
// fields are required.
type TokenConfig struct {
	URL      string
	ClientID string
	Secret   func() string // the current client secret
	HTTP     *http.Client  // see TokenClient
	Log      *slog.Logger
	// Renew is called when a token is due for renewal. It must not block.
	Renew func()
}

// TokenClient returns a client that follows no redirect and uses no proxy.
func TokenClient(config func() *tls.Config) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialTLSContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				return (&tls.Dialer{Config: config()}).DialContext(ctx, network, addr)
			},
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: maxTokenHeader,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Tokens fetches access tokens, keeps the current one, and renews it before it expires. It is safe
// for concurrent use.
type Tokens struct {
	cfg TokenConfig

	// turn is a lock that can be waited for with a context. Its holder may use the fields below.
	turn    chan struct{}
	current accessToken
	failed  error       // of the last fetch; nil: it succeeded
	fetchAt time.Time   // no fetch before that
	fetched time.Time   // when current was fetched
	renewal *time.Timer // calls Renew; nil before the first token
	closed  bool
}

type accessToken struct {
	text               string
	renewAt, expiresAt time.Time
}

// NewTokens returns a source that has not fetched a token yet.
func NewTokens(cfg TokenConfig) *Tokens {
	return &Tokens{cfg: cfg, turn: make(chan struct{}, 1)}
}

// Token returns a token that has not expired. It fetches one if there is none, or the current one
// is due for renewal. Its error is a [*TokenError], or that of the context.
func (t *Tokens) Token(ctx context.Context) (string, error) {
	if err := t.acquire(ctx); err != nil {
		return "", err
	}
	defer t.release()
	now := time.Now()
	if now.Before(t.current.renewAt) {
		return t.current.text, nil
	}
	if !now.Before(t.fetchAt) {
		t.renewLocked(ctx)
	}
	if now.Before(t.current.expiresAt) {
		return t.current.text, nil
	}
	return "", t.failed
}

// Invalidate makes sure that a token is not returned again: a server has refused it. The next one
// is fetched at once, but not within a second of the last, so that an issuer whose tokens are all
// refused is not flooded.
func (t *Tokens) Invalidate(ctx context.Context, refused string) {
	if t.acquire(ctx) != nil {
		return
	}
	defer t.release()
	if t.current.text == refused && refused != "" {
		t.failed, t.fetchAt = &TokenError{Err: errRefused}, t.fetched.Add(retryWithout)
		t.current = accessToken{}
	}
}

// Close stops the timer of the renewal.
func (t *Tokens) Close() {
	t.turn <- struct{}{}
	defer t.release()
	t.closed = true
	if t.renewal != nil {
		t.renewal.Stop()
	}
}

func (t *Tokens) acquire(ctx context.Context) error {
	select {
	case t.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *Tokens) release() { <-t.turn }

// renewLocked fetches a token. The caller must hold the turn.
func (t *Tokens) renewLocked(ctx context.Context) {
	if t.closed {
		t.failed = &TokenError{Err: errClosed}
		return
	}
	token, err := t.fetch(ctx)
	now := time.Now()
	switch {
	case err != nil && ctx.Err() != nil: // the caller's end says nothing about the endpoint
		t.failed = err
		return
	case err != nil:
		t.failed, t.fetchAt = err, now.Add(retryWithout)
		if now.Before(t.current.expiresAt) {
			t.fetchAt = now.Add(retryWith)
			t.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "access token not renewed; the old one is still valid",
				slog.Time("until", t.current.expiresAt), slog.String("error", err.Error()))
		}
		return
	}
	t.current, t.fetched, t.failed = token, now, nil
	if t.renewal != nil {
		t.renewal.Stop()
	}
	t.renewal = time.AfterFunc(token.renewAt.Sub(now), t.cfg.Renew)
}

func (t *Tokens) fetch(ctx context.Context) (accessToken, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, tokenTimeout, errTokenTimeout)
	defer cancel()
	cfg := clientcredentials.Config{
		ClientID: t.cfg.ClientID, ClientSecret: t.cfg.Secret(), TokenURL: t.cfg.URL, AuthStyle: oauth2.AuthStyleInHeader,
	}
	requested := time.Now()
	got, err := cfg.Token(context.WithValue(ctx, oauth2.HTTPClient, t.cfg.HTTP))
	if err != nil {
		return accessToken{}, tokenError(ctx, err)
	}
	lifetime := unstatedLifetime
	if !got.Expiry.IsZero() {
		lifetime = got.Expiry.Sub(requested)
	}
	if lifetime <= 0 || !isBearerToken(got.AccessToken) {
		return accessToken{}, &TokenError{Status: http.StatusOK, Err: errNoToken}
	}
	return accessToken{got.AccessToken, requested.Add(lifetime / 100 * renewShare), requested.Add(lifetime)}, nil
}

// isBearerToken reports whether a token has the form of RFC 6750, section 2.1. Another one could
// end the message that carries it.
func isBearerToken(text string) bool {
	isOther := func(c rune) bool {
		alphanumeric := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		return !alphanumeric && !strings.ContainsRune("-._~+/=", c)
	}
	return text != "" && !strings.ContainsFunc(text, isOther)
}

// tokenError leaves what the endpoint wrote out of an error.
func tokenError(ctx context.Context, err error) *TokenError {
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		known := []string{
			"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope",
		}
		e := &TokenError{Status: refused.Response.StatusCode}
		if slices.Contains(known, refused.ErrorCode) {
			e.Code = refused.ErrorCode
		}
		return e
	}
	if _, ok := errors.AsType[*url.Error](err); !ok {
		return &TokenError{Status: http.StatusOK, Err: errNoToken}
	}
	return &TokenError{Err: networkError(ctx, err)}
}

// networkError returns the part of a net/http error whose text cannot quote the response.
func networkError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return e
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return e
	}
	if e, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return e
	}
	return errTokenConnection
}
