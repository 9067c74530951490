package credentials_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"membersync/cmd/internal/wiring/credentials"
	"membersync/cmd/internal/wiring/credentials/certtest"
)

// An issuer issues tokens named canary-token-1 and so on.
type issuer struct {
	issued    atomic.Int64
	requests  atomic.Int64
	expiresIn atomic.Int64 // seconds; 0: not stated
	secret    atomic.Value
	respond   atomic.Value // func(http.ResponseWriter); nil: issue a token
	last      atomic.Pointer[http.Request]
}

func newIssuer(lifetime int64) *issuer {
	i := &issuer{}
	i.expiresIn.Store(lifetime)
	i.secret.Store("canary-secret")
	return i
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.requests.Add(1)
	_ = r.ParseForm()
	i.last.Store(r)
	if respond, ok := i.respond.Load().(func(http.ResponseWriter)); ok && respond != nil {
		respond(w)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if user, secret, _ := r.BasicAuth(); user != "client" || secret != i.secret.Load() {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = fmt.Fprint(w, `{"error":"invalid_client","error_description":"canary-secret is wrong"}`)
		return
	}
	expiry := ""
	if n := i.expiresIn.Load(); n != 0 {
		expiry = fmt.Sprintf(`,"expires_in":%d`, n)
	}
	_, _ = fmt.Fprintf(w, `{"access_token":"canary-token-%d","token_type":"Bearer"%s}`, i.issued.Add(1), expiry)
}

// tokens returns a source for the issuer, and a count of the calls of Renew.
func tokens(t *testing.T, url string, change ...func(*credentials.TokenConfig)) (*credentials.Tokens, chan struct{}) {
	t.Helper()
	renew := make(chan struct{}, 100)
	cfg := credentials.TokenConfig{
		URL: url, ClientID: "client", Secret: func() string { return "canary-secret" },
		HTTP: credentials.TokenClient(func() *tls.Config { return nil }), Log: slog.New(slog.DiscardHandler),
		Renew: func() { renew <- struct{}{} },
	}
	for _, f := range change {
		f(&cfg)
	}
	source := credentials.NewTokens(cfg)
	t.Cleanup(source.Close)
	return source, renew
}

func serveHTTP(t *testing.T, h http.Handler) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

// One token serves all connections until it is due for renewal.
func TestTokenIsKept(t *testing.T) {
	t.Parallel()
	i := newIssuer(3600)
	source, _ := tokens(t, serveHTTP(t, i))
	var callers sync.WaitGroup
	for range 20 {
		callers.Go(func() {
			if got, err := source.Token(t.Context()); got != "canary-token-1" || err != nil {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	callers.Wait()
	if n := i.requests.Load(); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
	if r := i.last.Load(); r.PostForm.Get("grant_type") != "client_credentials" || r.PostForm.Has("client_secret") {
		t.Errorf("form %v", r.PostForm)
	}
}

// A token that a server refused is replaced, at most once a second.
func TestTokenIsInvalidated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(3600)
		source, _ := tokens(t, "http://issuer.test", func(c *credentials.TokenConfig) { c.HTTP = inMemory(t, i) })
		want := func(when, token string) {
			t.Helper()
			if got, err := source.Token(t.Context()); got != token || (err == nil) != (token != "") {
				t.Errorf("%s: %q, %v", when, got, err)
			}
		}
		want("at first", "canary-token-1")
		source.Invalidate(t.Context(), "another")
		want("another was refused", "canary-token-1")
		time.Sleep(time.Minute)
		source.Invalidate(t.Context(), "canary-token-1")
		want("refused", "canary-token-2")
		for range 3 {
			source.Invalidate(t.Context(), "canary-token-2")
			want("refused at once", "")
		}
		time.Sleep(time.Second)
		want("a second later", "canary-token-3")
	})
}

// At 80 % of its lifetime, a token is renewed. If that fails, the old one is used until it expires.
func TestTokenIsRenewed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(3600)
		source, renew := tokens(t, "http://issuer.test", func(c *credentials.TokenConfig) { c.HTTP = inMemory(t, i) })
		want := func(when string, token string, requests int64) {
			t.Helper()
			if got, err := source.Token(t.Context()); got != token || (err == nil) != (token != "") || i.requests.Load() != requests {
				t.Errorf("%s: %q, %v after %d requests, want %q after %d", when, got, err, i.requests.Load(), token, requests)
			}
		}
		began := time.Now()
		want("at first", "canary-token-1", 1)
		<-renew
		if took := time.Since(began).Round(time.Second); took != 48*time.Minute {
			t.Errorf("due for renewal after %v", took)
		}
		i.respond.Store(func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) })
		want("endpoint away", "canary-token-1", 2)
		want("too soon to ask again", "canary-token-1", 2)
		time.Sleep(30 * time.Second)
		want("still away", "canary-token-1", 3)
		time.Sleep(12 * time.Minute)
		want("expired", "", 4)
		i.respond.Store((func(http.ResponseWriter))(nil))
		want("too soon to ask again", "", 4)
		time.Sleep(time.Second)
		want("endpoint back", "canary-token-2", 5)
		<-renew
		want("due again", "canary-token-3", 6)
	})
}

// Without a token, a failed fetch is tried again after a second, and with the secret of that
// moment.
func TestTokenFetchFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i, secret := newIssuer(0), "canary-old"
		i.secret.Store("canary-new")
		source, _ := tokens(t, "http://issuer.test", func(c *credentials.TokenConfig) {
			c.HTTP, c.Secret = inMemory(t, i), func() string { return secret }
		})
		for range 3 {
			_, err := source.Token(t.Context())
			e, ok := errors.AsType[*credentials.TokenError](err)
			if !ok || err.Error() != "no access token: HTTP 401, invalid_client" || e.Unavailable() {
				t.Error(err)
			}
		}
		if n := i.requests.Load(); n != 1 {
			t.Errorf("%d requests within a second, want 1", n)
		}
		secret = "canary-new"
		time.Sleep(time.Second)
		if got, err := source.Token(t.Context()); got != "canary-token-1" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	})
}

// inMemory serves a handler over pipes, which work in virtual time.
func inMemory(t *testing.T, h http.Handler) *http.Client {
	t.Helper()
	l := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(l) })
	t.Cleanup(func() { _ = server.Close(); running.Wait() })
	return &http.Client{Transport: &http.Transport{DialContext: l.dial, DisableKeepAlives: true}}
}

type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case l.conns <- there:
		return here, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept implements net.Listener.
func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *pipes) Close() error { l.once.Do(func() { close(l.closed) }); return nil }

// Addr implements net.Listener.
func (*pipes) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }

// What the endpoint writes is not in an error, which says whether to wait.
func TestTokenErrors(t *testing.T) {
	t.Parallel()
	ca := certtest.NewAuthority(t)
	write := func(status int, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Location", "http://canary.test/")
			w.WriteHeader(status)
			_, _ = fmt.Fprint(w, body)
		})
	}
	large := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Large", strings.Repeat("canary", 1<<18))
	})
	secure := httptest.NewUnstartedServer(write(http.StatusOK, ""))
	secure.TLS = ca.Issue(t).Server(t, nil)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	for name, tc := range map[string]struct {
		url         string
		want        string
		unavailable bool
	}{
		"away":           {"http://127.0.0.1:1/canary?canary=canary", "connection refused", true},
		"down":           {serveHTTP(t, write(503, "canary")), "HTTP 503", true},
		"throttled":      {serveHTTP(t, write(429, `{"error":"canary"}`)), "HTTP 429", true},
		"redirect":       {serveHTTP(t, write(302, "canary")), "HTTP 302", false},
		"wrong path":     {serveHTTP(t, write(404, "canary")), "HTTP 404", false},
		"refused":        {serveHTTP(t, write(400, `{"error":"unauthorized_client","error_description":"canary"}`)), "HTTP 400, unauthorized_client", false},
		"no JSON":        {serveHTTP(t, write(200, "<canary>")), "no access token that can be used", false},
		"no token":       {serveHTTP(t, write(200, `{"canary":1}`)), "no access token that can be used", false},
		"bad token":      {serveHTTP(t, write(200, `{"access_token":"canary\u0001auth=x"}`)), "no access token that can be used", false},
		"expired token":  {serveHTTP(t, write(200, `{"access_token":"canary","expires_in":-5}`)), "no access token that can be used", false},
		"large headers":  {serveHTTP(t, large), "connection failed", true},
		"unknown server": {secure.URL, "unknown authority", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source, _ := tokens(t, tc.url)
			_, err := source.Token(t.Context())
			e, ok := errors.AsType[*credentials.TokenError](err)
			if !ok || !strings.Contains(err.Error(), tc.want) || e.Unavailable() != tc.unavailable || strings.Contains(err.Error(), "canary") {
				t.Errorf("%v, unavailable %v", err, ok && e.Unavailable())
			}
		})
	}
}

// A caller that has no time left does not wait for another's fetch.
func TestTokenWaitIsBounded(t *testing.T) {
	t.Parallel()
	began, hold := make(chan struct{}), make(chan struct{})
	source, _ := tokens(t, serveHTTP(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(began); <-hold })))
	var first sync.WaitGroup
	first.Go(func() { _, _ = source.Token(t.Context()) })
	<-began
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := source.Token(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error("a token came from nowhere")
	}
	close(hold)
	first.Wait()
}
