// Package admin serves what operates the process: health for the orchestrator and
// metrics for Prometheus. Nothing it answers holds personal data or a secret.
package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	requestTimeout = 10 * time.Second // for reading one, and for answering it
	idleTimeout    = time.Minute
	stopTimeout    = 2 * time.Second // for requests under way when it stops
	maxHeaderBytes = 16 << 10
)

var errStopTimeout = errors.New("admin: a request did not end in time")

// A State tells how the service is. Its methods are called from several goroutines
// and do not wait.
type State interface {
	// Ready reports whether the instance should count as rolled out. A cause next to
	// true is that of a pause, which is no reason to stop a roll-out.
	Ready() (ok bool, cause string)
	// Live reports whether the process works, and if not why it should be restarted.
	Live() (ok bool, why string)
}

// Handler answers /livez, /readyz and /metrics.
func Handler(state State, metrics prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /livez", health(state.Live))
	mux.Handle("GET /readyz", health(state.Ready))
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{
		MaxRequestsInFlight: 4, Timeout: requestTimeout,
		DisableCompression: true, // a compressor takes more memory than a thousand records, each time
	}))
	return mux
}

// health answers 200 or 503, with "ok" or what is to be said in the body.
func health(ask func() (bool, string)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		ok, text := ask()
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		if !ok {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		if text == "" {
			text = map[bool]string{true: "ok", false: "not ok"}[ok]
		}
		_, _ = io.WriteString(w, text+"\n")
	})
}

// A Server is a listener and what answers on it.
type Server struct {
	http *http.Server
	addr string
	done chan struct{} // closed when the server no longer serves
	err  error         // to be read once done is closed
}

// Start listens on addr and serves until Stop. Failures of single connections go to
// the log.
func Start(ctx context.Context, addr string, handler http.Handler, log *slog.Logger) (*Server, error) {
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err // names the address; the caller knows the setting
	}
	return Serve(listener, handler, log), nil
}

// Serve is Start with a listener that is open already. Stop closes it.
func Serve(listener net.Listener, handler http.Handler, log *slog.Logger) *Server {
	s := &Server{
		http: &http.Server{
			Handler:           handler,
			ReadHeaderTimeout: requestTimeout,
			ReadTimeout:       requestTimeout,
			WriteTimeout:      2 * requestTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxHeaderBytes,
			ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		},
		addr: listener.Addr().String(),
		done: make(chan struct{}),
	}
	go s.serve(listener)
	return s
}

func (s *Server) serve(listener net.Listener) {
	defer close(s.done)
	if err := s.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		s.err = fmt.Errorf("admin: %w", err)
	}
}

// Addr is where it listens, with the port that was chosen for port 0.
func (s *Server) Addr() string { return s.addr }

// Stop closes the listener, waits shortly for requests under way, cuts the rest off
// and returns what ended the serving before, if anything did.
func (s *Server) Stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), stopTimeout, errStopTimeout)
	defer cancel()
	if err := s.http.Shutdown(ctx); err != nil {
		_ = s.http.Close()
	}
	<-s.done
	return s.err
}
