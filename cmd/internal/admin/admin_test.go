package admin

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// state is what the test says.
type state struct {
	ready, live atomic.Pointer[answer]
}

type answer struct {
	ok   bool
	text string
}

func (s *state) Ready() (bool, string) { a := s.ready.Load(); return a.ok, a.text }
func (s *state) Live() (bool, string)  { a := s.live.Load(); return a.ok, a.text }

func start(t *testing.T, handler http.Handler) *Server {
	t.Helper()
	s, err := Start(t.Context(), "127.0.0.1:0", handler, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func client(t *testing.T) *http.Client {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func do(t *testing.T, c *http.Client, method, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func TestHealth(t *testing.T) {
	t.Parallel()
	var st state
	registry := prometheus.NewRegistry()
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "membersync_test_total", Help: "Test."})
	registry.MustRegister(counter)
	counter.Inc()
	s := start(t, Handler(&st, registry))
	c := client(t)
	for _, tc := range []struct {
		ready, live  answer
		method, path string
		status       int
		body         string
	}{
		{answer{true, ""}, answer{true, ""}, "GET", "/readyz", 200, "ok\n"},
		{answer{true, "paused: crm_outage"}, answer{true, ""}, "GET", "/readyz", 200, "paused: crm_outage\n"},
		{answer{false, "starting"}, answer{true, ""}, "GET", "/readyz", 503, "starting\n"},
		{answer{false, ""}, answer{true, ""}, "GET", "/readyz", 503, "not ok\n"},
		{answer{false, "starting"}, answer{true, ""}, "GET", "/livez", 200, "ok\n"},
		{answer{true, ""}, answer{false, "stuck"}, "GET", "/livez", 503, "stuck\n"},
		{answer{true, ""}, answer{true, ""}, "HEAD", "/livez", 200, ""},
		{answer{true, ""}, answer{true, ""}, "POST", "/livez", 405, "Method Not Allowed\n"},
		{answer{true, ""}, answer{true, ""}, "GET", "/", 404, "404 page not found\n"},
		{answer{true, ""}, answer{true, ""}, "GET", "/debug/pprof/", 404, "404 page not found\n"},
	} {
		st.ready.Store(&tc.ready)
		st.live.Store(&tc.live)
		status, body := do(t, c, tc.method, "http://"+s.Addr()+tc.path)
		if status != tc.status || body != tc.body {
			t.Errorf("%s %s with %v: %d %q, want %d %q", tc.method, tc.path, tc.ready, status, body, tc.status, tc.body)
		}
	}
	if status, body := do(t, c, "GET", "http://"+s.Addr()+"/metrics"); status != 200 || !strings.Contains(body, "membersync_test_total 1\n") {
		t.Errorf("metrics: %d %q", status, body)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

// A request under way is answered, even when the caller's context has ended.
func TestStopWaits(t *testing.T) {
	t.Parallel()
	inside, leave := make(chan struct{}), make(chan struct{})
	s := start(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(inside)
		<-leave
		_, _ = io.WriteString(w, "late")
	}))
	c := client(t)
	got := make(chan string)
	go func() {
		_, body := do(t, c, "GET", "http://"+s.Addr())
		got <- body
	}()
	<-inside
	stopped := make(chan error)
	go func() {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		stopped <- s.Stop(ctx)
	}()
	close(leave)
	if body := <-got; body != "late" {
		t.Errorf("body %q", body)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// A request that does not end is cut off, so that the process can.
func TestStopCutsOff(t *testing.T) {
	t.Parallel()
	inside := make(chan struct{})
	s := start(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(inside)
		<-r.Context().Done()
	}))
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-inside
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestStartOnATakenPort(t *testing.T) {
	t.Parallel()
	s := start(t, http.NotFoundHandler())
	if _, err := Start(t.Context(), s.Addr(), http.NotFoundHandler(), slog.New(slog.DiscardHandler)); err == nil {
		t.Error("two servers on one port")
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}
