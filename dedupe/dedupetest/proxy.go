package dedupetest

import (
	"bytes"
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// A Proxy forwards the traffic of a server. It can lose a reply: the request takes effect, and its
// sender gets no reply. It can also make the server unavailable for a while. The alternative, to
// stop and start the server, can fail because another process may take its port in between.
type Proxy struct {
	upstream string
	listener net.Listener
	lose     atomic.Pointer[string]
	lost     atomic.Int32
	conns    sync.WaitGroup
	mu       sync.Mutex
	open     map[net.Conn]bool
	away     bool
}

// NewProxy starts a proxy in front of the server at the address. It stops when the test ends.
func NewProxy(tb testing.TB, upstream string) *Proxy {
	tb.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &Proxy{upstream: upstream, listener: l, open: map[net.Conn]bool{}}
	p.conns.Go(func() { p.accept(tb.Context()) })
	tb.Cleanup(p.close)
	return p
}

// Addr returns the address on which the proxy listens.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// LoseReply drops the reply to the next request that contains the text, in upper or lower case, and
// closes its connection.
func (p *Proxy) LoseReply(text string) {
	text = strings.ToLower(text)
	p.lose.Store(&text)
}

// Away closes all connections, and each new one at once, until [Proxy.Back].
func (p *Proxy) Away() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away = true
	for c := range p.open {
		_ = c.Close()
	}
}

// Back accepts connections again.
func (p *Proxy) Back() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away = false
}

// Lost returns the number of replies lost.
func (p *Proxy) Lost() int { return int(p.lost.Load()) }

func (p *Proxy) accept(ctx context.Context) {
	for {
		down, err := p.listener.Accept()
		if err != nil {
			return
		}
		var d net.Dialer
		up, err := d.DialContext(ctx, "tcp", p.upstream)
		if err != nil {
			_ = down.Close()
			continue
		}
		if !p.track(down, up) {
			_, _ = down.Close(), up.Close()
			continue
		}
		var losing atomic.Bool
		p.conns.Go(func() {
			defer p.drop(down, up)
			forward(up, down, func(b []byte) bool { return p.request(b, &losing) })
		})
		p.conns.Go(func() {
			defer p.drop(down, up)
			forward(down, up, func([]byte) bool { return p.reply(&losing) })
		})
	}
}

// request records whether the next reply is the one to lose.
func (p *Proxy) request(b []byte, losing *atomic.Bool) bool {
	if text := p.lose.Load(); text != nil && bytes.Contains(bytes.ToLower(b), []byte(*text)) && p.lose.CompareAndSwap(text, nil) {
		losing.Store(true)
	}
	return true
}

func (p *Proxy) reply(losing *atomic.Bool) bool {
	if losing.Load() {
		p.lost.Add(1)
		return false
	}
	return true
}

// forward copies until either side ends or a chunk must not be forwarded.
func forward(to, from net.Conn, ok func([]byte) bool) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil || !ok(buf[:n]) {
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// track registers connections, and reports whether they may be used.
func (p *Proxy) track(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		if !p.away {
			p.open[c] = true
		}
	}
	return !p.away
}

func (p *Proxy) drop(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
		delete(p.open, c)
	}
}

func (p *Proxy) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	for c := range p.open {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.conns.Wait()
}
