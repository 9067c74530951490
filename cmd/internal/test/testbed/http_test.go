package testbed

import (
	"errors"
	"net/http"
	"syscall"
	"testing"
)

func TestHTTPGoesAndComesBack(t *testing.T) {
	t.Parallel()
	h, err := Serve(t.Context(), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	get := func() (int, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.URL(), http.NoBody)
		if err != nil {
			return 0, err
		}
		res, err := transport.RoundTrip(req)
		if err != nil {
			return 0, err
		}
		return res.StatusCode, res.Body.Close()
	}
	for range 2 {
		if status, err := get(); err != nil || status != http.StatusTeapot {
			t.Fatalf("up: %d, %v", status, err)
		}
		if err := errors.Join(h.Down(), h.Down()); err != nil {
			t.Fatal(err)
		}
		if _, err := get(); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("away: %v", err)
		}
		if err := errors.Join(h.Up(t.Context()), h.Up(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}

func TestDownEndsCallsUnderWay(t *testing.T) {
	t.Parallel()
	begun, ended := make(chan struct{}), make(chan struct{})
	h, err := Serve(t.Context(), http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
		close(ended)
	}))
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	go func() {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.URL(), http.NoBody)
		if err == nil {
			var res *http.Response
			if res, err = (&http.Transport{DisableKeepAlives: true}).RoundTrip(req); err == nil {
				_ = res.Body.Close()
			}
		}
		failed <- err
	}()
	<-begun
	if err := h.Down(); err != nil {
		t.Error(err)
	}
	<-ended
	if err := <-failed; err == nil {
		t.Error("the call got a response")
	}
}
