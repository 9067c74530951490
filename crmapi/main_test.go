package crmapi_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"membersync/crmapi"
	"membersync/crmapi/crmapitest"
)

func TestMain(m *testing.M) {
	if err := setProxies(); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

const (
	corp   = "CORP_TEST"
	token  = "TOKEN_TEST"
	member = "FSUID_TEST0001"
)

// options returns options with one member and one token.
func options() crmapitest.Options {
	return crmapitest.Options{CorpID: corp, Tokens: []string{token}, Members: []string{member}}
}

// sample returns an update that the fake accepts.
func sample() crmapi.Update {
	return crmapi.Update{OpenUserID: member}.With(crmapi.Position, crmapi.Text("Sample Position"))
}

// loopback runs a handler on a real socket and returns its base URL.
func loopback(t *testing.T, h http.Handler) *url.URL {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return parseURL(t, server.URL)
}

func parseURL(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// newClient returns a client of the CRM at base. The functions change its configuration.
func newClient(t *testing.T, base *url.URL, change ...func(*crmapi.Config)) *crmapi.Client {
	t.Helper()
	cfg := crmapi.Config{BaseURL: base, CorpID: corp, Token: crmapi.FixedToken(token)}
	for _, f := range change {
		f(&cfg)
	}
	client, err := crmapi.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// inMemory runs a handler on in-memory pipes, which work in virtual time. It returns a client
// that dials them.
func inMemory(t *testing.T, h http.Handler) *http.Client {
	t.Helper()
	l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(l) })
	transport := &http.Transport{DialContext: l.dial, MaxIdleConnsPerHost: 100}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = server.Close()
		running.Wait()
	})
	return &http.Client{Transport: transport}
}

type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case l.conns <- there:
		return here, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (*pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }
