package crmapi_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"membersync/crmapi"
	"membersync/crmapi/crmapitest"
)

// A changed TLS configuration is that of the next connection, and the old connections are closed.
func TestTLSChanges(t *testing.T) {
	t.Parallel()
	fake := crmapitest.New(options())
	server := httptest.NewUnstartedServer(fake)
	var opened atomic.Int64
	closed := make(chan struct{}, 10)
	note := map[http.ConnState]func(){
		http.StateNew:    func() { opened.Add(1) },
		http.StateClosed: func() { closed <- struct{}{} },
	}
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if f := note[state]; f != nil {
			f()
		}
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	trusting := x509.NewCertPool()
	trusting.AddCert(server.Certificate())
	config := func(pool *x509.CertPool) *tls.Config { return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool} }
	var current atomic.Pointer[tls.Config]
	current.Store(config(x509.NewCertPool()))
	client := newClient(t, parseURL(t, server.URL), func(c *crmapi.Config) { c.TLS = current.Load })
	_, failed := modify(t, client, crmapi.Call{Update: sample()})
	if _, ok := errors.AsType[*tls.CertificateVerificationError](failed); !ok || failed.Sent {
		t.Fatalf("untrusted server: %v, sent %v", failed, failed.Sent)
	}
	for range 2 {
		current.Store(config(trusting))
		for range 2 {
			if _, failed := modify(t, client, crmapi.Call{Update: sample()}); failed != nil {
				t.Fatal(failed)
			}
		}
	}
	if opened.Load() != 3 {
		t.Errorf("%d connections, want 3: one refused, and one for each configuration", opened.Load())
	}
	for range 2 {
		select {
		case <-closed:
		case <-time.After(10 * time.Second):
			t.Fatal("an old connection is not closed")
		}
	}
}

// A response whose headers never end is cut off. The CRM has got the call, so its outcome is
// unknown.
func TestLargeResponseHeaders(t *testing.T) {
	t.Parallel()
	fake := crmapitest.New(options())
	var size atomic.Int64
	base := loopback(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Large", strings.Repeat("a", int(size.Load())))
		fake.ServeHTTP(w, r)
	}))
	for _, config := range []func() *tls.Config{nil, func() *tls.Config { return nil }} {
		client := newClient(t, base, func(c *crmapi.Config) { c.TLS = config })
		size.Store(32 << 10)
		if _, failed := modify(t, client, crmapi.Call{Update: sample()}); failed != nil {
			t.Errorf("32 KiB: %v", failed)
		}
		before := len(fake.Calls())
		size.Store(1 << 20)
		_, failed := modify(t, client, crmapi.Call{Update: sample()})
		if failed == nil || failed.Class != crmapi.ClassUnacknowledged || !failed.OutcomeUnknown || !failed.Sent || strings.Contains(failed.Error(), "aaa") {
			t.Errorf("1 MiB: %v", failed)
		}
		if n := len(fake.Calls()) - before; n != 1 {
			t.Errorf("the CRM got %d calls, want 1", n)
		}
	}
	source, err := crmapi.NewFetchedToken(crmapi.TokenConfig{BaseURL: base, AppID: "A", AppSecret: "S", PermanentCode: "P"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(source.Close)
	_, err = source.Token(t.Context())
	if e, ok := errors.AsType[*crmapi.Error](err); !ok || e.Class != crmapi.ClassTransient {
		t.Errorf("token: %v", err)
	}
}

// A proxy serves a fake CRM at every address, and counts the requests by their credentials.
type proxy struct {
	*httptest.Server

	target   string // of tunnels
	requests atomic.Int64
	login    atomic.Value
	status   atomic.Int64 // 0: it works
}

func newProxy(t *testing.T, crm http.Handler, target string) *proxy {
	t.Helper()
	p := &proxy{target: target}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.requests.Add(1)
		p.login.Store(r.Header.Get("Proxy-Authorization"))
		switch status := int(p.status.Load()); {
		case status != 0:
			w.WriteHeader(status)
		case r.Method == http.MethodConnect:
			p.tunnel(r.Context(), w)
		default:
			crm.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *proxy) tunnel(ctx context.Context, w http.ResponseWriter) {
	there, err := new(net.Dialer).DialContext(ctx, "tcp", p.target)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	here, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		_ = there.Close()
		return
	}
	_, _ = io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n")
	go func() { _, _ = io.Copy(there, here); _ = there.Close() }()
	go func() { _, _ = io.Copy(here, there); _ = here.Close() }()
}

// Calls and token fetches take the proxy that is configured, and no other.
func TestProxy(t *testing.T) {
	t.Parallel()
	fake := crmapitest.New(options())
	secure := httptest.NewTLSServer(fake)
	t.Cleanup(secure.Close)
	via := newProxy(t, fake, secure.Listener.Addr().String())
	pool := x509.NewCertPool()
	pool.AddCert(secure.Certificate())
	proxyURL := parseURL(t, via.URL)
	proxyURL.User = url.UserPassword("user", "CANARY")
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, ServerName: "example.com"}
	for _, base := range []string{"http://crm.invalid", "https://crm.invalid"} {
		before := via.requests.Load()
		client := newClient(t, parseURL(t, base), func(c *crmapi.Config) {
			c.Proxy, c.TLS = proxyURL, func() *tls.Config { return config }
		})
		if _, failed := modify(t, client, crmapi.Call{Update: sample()}); failed != nil {
			t.Errorf("%s: %v", base, errors.Join(failed, errors.Join(failed.Unwrap()...)))
		}
		if via.requests.Load() == before || via.login.Load() != "Basic dXNlcjpDQU5BUlk=" {
			t.Errorf("%s: %d requests at the proxy, login %q", base, via.requests.Load()-before, via.login.Load())
		}
		client.Close()
	}
	via.status.Store(http.StatusProxyAuthRequired)
	client := newClient(t, parseURL(t, "https://crm.invalid"), func(c *crmapi.Config) { c.Proxy = proxyURL })
	_, failed := modify(t, client, crmapi.Call{Update: sample()})
	if failed == nil || failed.Sent || len(failed.Unwrap()) != 1 || !strings.Contains(failed.Unwrap()[0].Error(), "the proxy refuses to connect to the CRM: HTTP 407") {
		t.Errorf("refused by the proxy: %v, %v", failed, failed.Unwrap())
	}
}

// The environment's proxy, which TestMain sets, is not used: neither without a proxy nor with one.
func TestNoProxyOfTheEnvironment(t *testing.T) {
	t.Parallel()
	if proxy, err := http.ProxyFromEnvironment(&http.Request{URL: parseURL(t, "http://crm.invalid/")}); err != nil || proxy == nil {
		t.Fatalf("the environment has no proxy: %v, %v", proxy, err)
	}
	base := parseURL(t, "http://crm.invalid")
	client := newClient(t, base)
	_, failed := modify(t, client, crmapi.Call{Update: sample()})
	if dns, ok := errors.AsType[*net.DNSError](failed); !ok {
		t.Errorf("call: %v, %v", failed, dns)
	}
	source, err := crmapi.NewFetchedToken(crmapi.TokenConfig{BaseURL: base, AppID: "A", AppSecret: "S", PermanentCode: "P"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(source.Close)
	_, err = source.Token(t.Context())
	if _, ok := errors.AsType[*net.DNSError](err); !ok {
		t.Errorf("token: %v", err)
	}
}

// setProxies makes every program that follows the environment use a proxy at an address without a
// listener.
func setProxies() error {
	var faults []error
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
		faults = append(faults, os.Setenv(name, "http://127.0.0.1:1"))
	}
	return errors.Join(append(faults, os.Unsetenv("NO_PROXY"), os.Unsetenv("no_proxy"))...)
}

// The secrets of the moment fetch the token.
func TestSecretsChange(t *testing.T) {
	t.Parallel()
	opts := options()
	opts.AppID, opts.AppSecret, opts.PermanentCode = "APP_TEST", "NEW_SECRET", "NEW_CODE"
	base := loopback(t, crmapitest.New(opts))
	secrets := [2]string{"OLD_SECRET", "OLD_CODE"}
	fetch := func() error {
		source, err := crmapi.NewFetchedToken(crmapi.TokenConfig{
			BaseURL: base, AppID: "APP_TEST", AppSecret: "FIRST", PermanentCode: "FIRST",
			Secrets: func() (string, string) { return secrets[0], secrets[1] },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer source.Close()
		_, err = source.Token(t.Context())
		return err
	}
	if err := fetch(); err == nil {
		t.Error("old secrets fetch a token")
	}
	secrets = [2]string{"NEW_SECRET", "NEW_CODE"}
	if err := fetch(); err != nil {
		t.Error(err)
	}
}

// A fixed token that was replaced is used for the next call, and at once if the old one is refused.
func TestReplaceableToken(t *testing.T) {
	t.Parallel()
	fake := crmapitest.New(options())
	current := "REPLACED_TEST"
	client := newClient(t, loopback(t, fake), func(c *crmapi.Config) { c.Token = crmapi.ReplaceableToken(func() string { return current }) })
	if _, failed := modify(t, client, crmapi.Call{Update: sample()}); failed == nil || failed.Class != crmapi.ClassRefused {
		t.Errorf("wrong token: %v", failed)
	}
	current = token
	if _, failed := modify(t, client, crmapi.Call{Update: sample()}); failed != nil {
		t.Errorf("replaced token: %v", failed)
	}
	asked := 0
	client = newClient(t, loopback(t, fake), func(c *crmapi.Config) {
		c.Token = crmapi.ReplaceableToken(func() string {
			if asked++; asked == 1 {
				return "REPLACED_TEST"
			}
			return token
		})
	})
	if _, failed := modify(t, client, crmapi.Call{Update: sample()}); failed != nil || asked != 2 {
		t.Errorf("token replaced during a call: %v, asked %d times", failed, asked)
	}
}
