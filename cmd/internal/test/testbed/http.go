package testbed

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// An HTTP is a server on loopback, such as a fake CRM, that can be taken down and come back on the
// same port.
type HTTP struct {
	handler http.Handler
	addr    string

	mu     sync.Mutex
	server *http.Server // nil: down
	done   chan struct{}
}

// Serve serves the handler on a free port, until Close.
func Serve(ctx context.Context, handler http.Handler) (*HTTP, error) {
	l, err := listen(ctx)
	if err != nil {
		return nil, err
	}
	h := &HTTP{handler: handler, addr: l.Addr().String()}
	h.serve(l)
	return h, nil
}

// URL returns the base URL.
func (h *HTTP) URL() string { return "http://" + h.addr }

// Up serves again after Down.
func (h *HTTP) Up(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.server != nil {
		return nil
	}
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", h.addr)
	if err != nil {
		return err
	}
	h.serve(l)
	return nil
}

func (h *HTTP) serve(l net.Listener) {
	h.server = &http.Server{Handler: h.handler, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	h.done = make(chan struct{})
	go func(server *http.Server, done chan struct{}) {
		defer close(done)
		_ = server.Serve(l) // ended by Close
	}(h.server, h.done)
}

// Down closes all connections and refuses new ones, until Up.
func (h *HTTP) Down() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.server == nil {
		return nil
	}
	err := h.server.Close()
	<-h.done
	h.server = nil
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Close stops the server.
func (h *HTTP) Close() error { return h.Down() }
