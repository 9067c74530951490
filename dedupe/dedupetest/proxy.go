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

// A Proxy passes a server's traffic on. It can lose a reply: the request takes effect, and its sender never hears of it. And it can
// take the server away for a while. A server that is stopped and started again may find its port taken meanwhile.
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

// NewProxy starts a proxy before the server at the address. It ends with the test.
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

// Addr is where the proxy listens.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// LoseReply has the reply to the next request that holds the text lost, in any case of
// letters, and its connection closed.
func (p *Proxy) LoseReply(text string) {
	text = strings.ToLower(text)
	p.lose.Store(&text)
}

// Away ends all connections, and every new one at once, until [Proxy.Back].
func (p *Proxy) Away() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away = true
	for c := range p.open {
		_ = c.Close()
	}
}

// Back lets connections pass again.
func (p *Proxy) Back() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away = false
}

// Lost is how many replies were lost.
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
			pass(up, down, func(b []byte) bool { return p.request(b, &losing) })
		})
		p.conns.Go(func() {
			defer p.drop(down, up)
			pass(down, up, func([]byte) bool { return p.reply(&losing) })
		})
	}
}

// request notes whether the reply to come is the one to lose.
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

// pass copies until either side ends or a chunk is not to be passed on.
func pass(to, from net.Conn, ok func([]byte) bool) {
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

// track reports whether connections are to pass.
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
