package chaos

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/Shopify/toxiproxy/v2/toxics"
	"github.com/rs/zerolog"
)

// A Way is how connections are cut.
type Way string

// The ways: connections are closed and new ones refused; no data passes in either direction, on all
// connections or on about half of them; responses are dropped; and everything is slow.
const (
	Refused Way = "refused"
	Silent  Way = "silent"
	Partly  Way = "partly"
	Deaf    Way = "deaf"
	Slow    Way = "slow"
)

// Ways lists the ways.
func Ways() []Way { return []Way{Refused, Silent, Partly, Deaf, Slow} }

// toxicsOf returns the toxics of a way. Data that a timeout toxic receives is dropped, and its
// connections are closed when it is removed: nothing arrives long after it was sent.
func toxicsOf(way Way) []string {
	silence := func(stream string, share float64) string {
		return fmt.Sprintf(`{"type":"timeout","stream":%q,"toxicity":%v,"attributes":{"timeout":0}}`, stream, share)
	}
	const half = 0.5
	switch way {
	case Refused:
	case Silent:
		return []string{silence("upstream", 1), silence("downstream", 1)}
	case Partly:
		return []string{silence("upstream", half), silence("downstream", half)}
	case Deaf:
		return []string{silence("downstream", 1)}
	case Slow:
		return []string{`{"type":"latency","stream":"downstream","attributes":{"latency":200,"jitter":150}}`}
	}
	return nil
}

// Proxies opens proxies.
type Proxies struct{ server *toxiproxy.ApiServer }

// NewProxies returns a Proxies.
func NewProxies() *Proxies {
	toxics.Register(sessionToxic, new(session))
	return &Proxies{toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())}
}

// A Proxy forwards connections to a server, on loopback. It is safe for concurrent use.
type Proxy struct {
	proxy *toxiproxy.Proxy

	mu      sync.Mutex
	cut     bool
	removal []string // toxics of the cut
}

// Open opens a proxy. listen is its host:port, upstream the server's.
func (p *Proxies) Open(listen, upstream string) (*Proxy, error) {
	proxy := &Proxy{proxy: toxiproxy.NewProxy(p.server, listen, listen, upstream)}
	return proxy, proxy.proxy.Start()
}

// Addr returns the host:port of the proxy.
func (p *Proxy) Addr() string { return p.proxy.Listen }

// Close closes the proxy with all its connections.
func (p *Proxy) Close() { p.proxy.Stop() }

// ErrCut means that the connections are already cut.
var ErrCut = errors.New("chaos: this proxy is cut already")

// Cut cuts the connections until Restore.
func (p *Proxy) Cut(way Way) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut {
		return ErrCut
	}
	p.cut = true
	if way == Refused {
		p.proxy.Stop()
		return nil
	}
	for _, toxic := range toxicsOf(way) {
		added, err := p.proxy.Toxics.AddToxicJson(strings.NewReader(toxic))
		if err != nil {
			return err
		}
		p.removal = append(p.removal, added.Name)
	}
	return nil
}

// Restore ends the cut. On a proxy without a cut it does nothing.
func (p *Proxy) Restore(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.cut {
		return nil
	}
	p.cut = false
	if len(p.removal) == 0 {
		return p.proxy.Start()
	}
	var faults []error
	for _, name := range p.removal {
		faults = append(faults, p.proxy.Toxics.RemoveToxic(ctx, name))
	}
	p.removal = nil
	return errors.Join(faults...)
}
