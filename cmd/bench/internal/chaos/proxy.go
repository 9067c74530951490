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

// The ways: connections are closed and new ones refused; nothing comes through in either direction, on all
// connections or on about half of them; answers do not come back; and everything takes long.
const (
	Refused Way = "refused"
	Silent  Way = "silent"
	Partly  Way = "partly"
	Deaf    Way = "deaf"
	Slow    Way = "slow"
)

// Ways lists the ways.
func Ways() []Way { return []Way{Refused, Silent, Partly, Deaf, Slow} }

// toxicsOf are the toxics that a way is made of. What a timeout swallows is gone for good, and its
// connections are closed when it is taken off: nothing arrives long after it was sent.
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

// Proxies makes proxies.
type Proxies struct{ server *toxiproxy.ApiServer }

// NewProxies returns a maker of proxies.
func NewProxies() *Proxies {
	toxics.Register(sessionToxic, new(session))
	return &Proxies{toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())}
}

// A Proxy stands before a server, on loopback. It is safe for concurrent use.
type Proxy struct {
	proxy *toxiproxy.Proxy

	mu      sync.Mutex
	cut     bool
	removal []string // toxics of the cut
}

// Open opens a proxy: host:port to listen on, and host:port of the server.
func (p *Proxies) Open(listen, upstream string) (*Proxy, error) {
	proxy := &Proxy{proxy: toxiproxy.NewProxy(p.server, listen, listen, upstream)}
	return proxy, proxy.proxy.Start()
}

// Addr is host:port of the proxy.
func (p *Proxy) Addr() string { return p.proxy.Listen }

// Close closes it with all its connections.
func (p *Proxy) Close() { p.proxy.Stop() }

// ErrCut says that the connections are cut already.
var ErrCut = errors.New("chaos: this proxy is cut already")

// Cut cuts the connections until Mend.
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

// Mend ends the cut. On a proxy that is not cut it does nothing.
func (p *Proxy) Mend(ctx context.Context) error {
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
