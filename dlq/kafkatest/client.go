package kafkatest

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
)

// Client returns a client whose connections are closed at the end of the test. It notices changes of topics quickly.
func (b *Broker) Client(tb testing.TB) *kafka.Client {
	tb.Helper()
	return b.ClientLooking(tb, 200*time.Millisecond)
}

// ClientLooking returns a client that looks at the cluster again when its last look is so old. kafka-go's own interval is
// its time-out of a look too: a short one fails on a busy machine, and all requests with it.
func (b *Broker) ClientLooking(tb testing.TB, every time.Duration) *kafka.Client {
	tb.Helper()
	l := &looking{every: every}
	tb.Cleanup(l.close)
	return &kafka.Client{Addr: kafka.TCP(b.addrs...), Transport: l, Timeout: opTimeout}
}

// A looking is a transport that is replaced now and then. A new one begins with a look.
type looking struct {
	every time.Duration

	mu  sync.Mutex
	now *look // nil at first
}

type look struct {
	transport *kafka.Transport
	since     time.Time
	users     int // requests under way
	over      bool
}

// RoundTrip implements kafka.RoundTripper.
func (l *looking) RoundTrip(ctx context.Context, addr net.Addr, req kafka.Request) (kafka.Response, error) {
	at := l.enter()
	defer l.leave(at)
	return at.transport.RoundTrip(ctx, addr, req)
}

func (l *looking) enter() *look {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now == nil || time.Since(l.now.since) > l.every {
		l.end()
		l.now = &look{transport: &kafka.Transport{MetadataTTL: time.Hour}, since: time.Now()}
	}
	l.now.users++
	return l.now
}

func (l *looking) leave(at *look) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at.users--
	at.closeUnused()
}

func (l *looking) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end()
}

// end has the lock.
func (l *looking) end() {
	if l.now != nil {
		l.now.over = true
		l.now.closeUnused()
	}
}

// closeUnused closes the connections of a look that is over once nobody uses it. Whoever used it later would open new ones.
func (l *look) closeUnused() {
	if l.over && l.users == 0 {
		l.transport.CloseIdleConnections()
	}
}
