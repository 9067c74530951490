package simulation

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

var errNoRoute = errors.New("simulation: connection refused")

// A host is the network of one instance: all connections that it opened. After kill it opens no
// more.
type host struct {
	mu    sync.Mutex
	conns map[*hostConn]struct{}
	down  bool
}

type hostConn struct {
	net.Conn
	host *host
	to   string
}

func newHost() *host { return &host{conns: make(map[*hostConn]struct{})} }

func (h *host) dial(ctx context.Context, to string, dial func(context.Context) (net.Conn, error)) (net.Conn, error) {
	h.mu.Lock()
	down := h.down
	h.mu.Unlock()
	if down {
		return nil, errNoRoute
	}
	c, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	conn := &hostConn{Conn: c, host: h, to: to}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.down {
		_ = c.Close()
		return nil, errNoRoute
	}
	h.conns[conn] = struct{}{}
	return conn, nil
}

// redis returns a client of Redis that uses the host's connections.
func (h *host) redis(w *world, instance int) redis.UniversalClient {
	return redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs: []string{"localhost:6379"}, ContextTimeoutEnabled: true, DialTimeout: time.Second, DialerRetries: 1,
		ReadTimeout: 2 * time.Second, WriteTimeout: 2 * time.Second, MaxRetries: 1, PoolSize: 64,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		Dialer: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return h.dial(ctx, "redis", func(ctx context.Context) (net.Conn, error) { return w.redisProxy.dial(ctx, instance) })
		},
	})
}

// Close implements net.Conn.
func (c *hostConn) Close() error {
	c.host.mu.Lock()
	delete(c.host.conns, c)
	c.host.mu.Unlock()
	return c.Conn.Close()
}

// cut breaks the connections to one address, or all of them.
func (h *host) cut(to string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.conns {
		if to == "" || c.to == to {
			_ = c.Conn.Close()
			delete(h.conns, c)
		}
	}
}

// kill takes the host off the network for good.
func (h *host) kill() {
	h.mu.Lock()
	h.down = true
	h.mu.Unlock()
	h.cut("")
}
