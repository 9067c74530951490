package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"membersync/cmd/internal/test/testbed"
	"membersync/crmapi/crmapitest"
)

func countNew(n *atomic.Int64) func(net.Conn, http.ConnState) {
	return func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			n.Add(1)
		}
	}
}

func TestTallyNotesFirstAndLast(t *testing.T) {
	t.Parallel()
	tally := newTally(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), 2)
	hit := func() {
		tally.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody))
	}
	isClosed := func(c <-chan struct{}) bool {
		select {
		case <-c:
			return true
		default:
			return false
		}
	}
	for n, want := range []struct{ began, ended bool }{{false, false}, {true, false}, {true, true}, {true, true}} {
		if n > 0 {
			hit()
		}
		if isClosed(tally.began) != want.began || isClosed(tally.ended) != want.ended {
			t.Errorf("after %d requests: began %t, ended %t", n, isClosed(tally.began), isClosed(tally.ended))
		}
	}
	if tally.last.Before(tally.first) || tally.rate() <= 0 {
		t.Errorf("first %v, last %v, rate %v", tally.first, tally.last, tally.rate())
	}
}

func TestVerifyFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	good := string(bodies(1)[0])
	for name, tt := range map[string]struct {
		bodies []string
		want   int
		isFine bool
	}{
		"fine":     {[]string{good}, 1, true},
		"too few":  {[]string{good}, 2, false},
		"too many": {[]string{good, good}, 1, false},
		"refused":  {[]string{strings.Replace(good, testbed.Token, "TOKEN_OTHER", 1)}, 1, false},
		"breach":   {[]string{`{}{}`}, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			crm, err := startCRM(t.Context(), crmapitest.Options{}, tt.want)
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range tt.bodies {
				_ = newBare(crm.URL()+crmapitest.UpdatePath, 1).post(t.Context(), [][]byte{[]byte(b)}, 1) // only the CRM is checked
			}
			if err := crm.Close(); err != nil {
				t.Fatal(err)
			}
			if err := crm.verify(tt.want); (err == nil) != tt.isFine {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestAwait(t *testing.T) {
	t.Parallel()
	closed, never := make(chan struct{}), make(chan struct{})
	close(closed)
	if err := await(t.Context(), closed, never); err != nil {
		t.Error(err)
	}
	if err := await(t.Context(), never, closed); !errors.Is(err, testbed.ErrEnded) {
		t.Errorf("the process has ended: %v", err)
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Nanosecond, errSlow)
	defer cancel()
	if err := await(ctx, never, never); !errors.Is(err, errSlow) {
		t.Errorf("time is up: %v", err)
	}
}
