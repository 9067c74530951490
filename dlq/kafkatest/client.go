package kafkatest

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
)

// Client returns a client whose connections are closed at the end of the test. It notices topic
// changes after at most 200 ms.
func (b *cluster) Client(tb testing.TB) *kafka.Client {
	tb.Helper()
	return b.ClientLooking(tb, 200*time.Millisecond)
}

// ClientLooking returns a client that fetches the cluster's metadata again when its last fetch is
// older than every. kafka-go's own interval (MetadataTTL) is also its timeout for a metadata fetch:
// a short one fails on a busy machine, and with it all requests.
func (b *cluster) ClientLooking(tb testing.TB, every time.Duration) *kafka.Client {
	tb.Helper()
	t := &refreshingTransport{every: every}
	tb.Cleanup(t.close)
	return &kafka.Client{Addr: kafka.TCP(b.addrs...), Transport: t, Timeout: opTimeout}
}

// A refreshingTransport replaces its transport when that is older than every. A new transport
// starts by fetching the metadata.
type refreshingTransport struct {
	every time.Duration

	mu      sync.Mutex
	current *sharedTransport // nil at first
}

// A sharedTransport is one transport with its users. The refreshingTransport's lock guards it.
type sharedTransport struct {
	transport *kafka.Transport
	created   time.Time
	inFlight  int  // requests
	retired   bool // replaced or closed: it takes no new requests
}

// RoundTrip implements kafka.RoundTripper.
func (t *refreshingTransport) RoundTrip(ctx context.Context, addr net.Addr, req kafka.Request) (kafka.Response, error) {
	used := t.acquire()
	defer t.release(used)
	return used.transport.RoundTrip(ctx, addr, req)
}

func (t *refreshingTransport) acquire() *sharedTransport {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current == nil || time.Since(t.current.created) > t.every {
		t.retireLocked()
		t.current = &sharedTransport{transport: &kafka.Transport{MetadataTTL: time.Hour}, created: time.Now()}
	}
	t.current.inFlight++
	return t.current
}

func (t *refreshingTransport) release(used *sharedTransport) {
	t.mu.Lock()
	defer t.mu.Unlock()
	used.inFlight--
	used.closeIfUnusedLocked()
}

func (t *refreshingTransport) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.retireLocked()
}

func (t *refreshingTransport) retireLocked() {
	if t.current != nil {
		t.current.retired = true
		t.current.closeIfUnusedLocked()
	}
}

// closeIfUnusedLocked closes the connections of a retired transport once its last request has
// ended. A request that used it later would open new connections.
func (s *sharedTransport) closeIfUnusedLocked() {
	if s.retired && s.inFlight == 0 {
		s.transport.CloseIdleConnections()
	}
}
