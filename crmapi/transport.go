package crmapi

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// maxResponseHeader bounds the headers of a response, in bytes. The CRM's have less than 1 KiB.
const maxResponseHeader = 64 << 10

// connections says how to connect to the CRM.
type connections struct {
	idle  int                // connections kept for reuse, one for each call in flight
	tls   func() *tls.Config // nil means the default configuration
	proxy *url.URL           // nil means none
}

// httpClient returns a client that follows no redirect: a redirect would carry the token to another
// host.
func httpClient(given *http.Client, conns connections) *http.Client {
	var c http.Client
	switch {
	case given != nil:
		c = *given
	case conns.tls != nil:
		c.Transport = &transport{connections: conns}
	default:
		c.Transport = conns.open(nil)
	}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &c
}

// open returns a transport with a TLS configuration. HTTP/2 is off: with HTTP/2, one lost
// connection would leave all calls in flight unacknowledged.
func (c connections) open(config *tls.Config) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy:                  http.ProxyURL(c.proxy),
		OnProxyConnectResponse: connectStatus,
		TLSClientConfig:        config,
		Protocols:              protocols,
		MaxIdleConns:           c.idle,
		MaxIdleConnsPerHost:    c.idle,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: maxResponseHeader,
		DisableCompression:     true,
	}
}

// connectStatus keeps the text that a proxy writes with its status out of the error.
func connectStatus(_ context.Context, _ *url.URL, _ *http.Request, res *http.Response) error {
	if res.StatusCode != http.StatusOK {
		return &proxyError{res.StatusCode}
	}
	return nil
}

// A transport sends requests over connections of the current TLS configuration. When that changes,
// calls in flight end on their old connections, which are not used again.
type transport struct {
	connections

	mu      sync.Mutex // guards the fields below
	config  *tls.Config
	current *http.Transport // nil before the first request
}

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	return t.now().RoundTrip(req)
}

func (t *transport) now() *http.Transport {
	config := t.tls()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current == nil || config != t.config {
		if t.current != nil {
			t.current.CloseIdleConnections()
		}
		t.config, t.current = config, t.open(config)
	}
	return t.current
}

// CloseIdleConnections is called by [http.Client.CloseIdleConnections].
func (t *transport) CloseIdleConnections() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current != nil {
		t.current.CloseIdleConnections()
	}
}
