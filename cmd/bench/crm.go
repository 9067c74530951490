package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"membersync/cmd/internal/test/testbed"
	"membersync/crmapi/crmapitest"
)

// A fakeCRM is the strict fake, served over HTTP by this process.
type fakeCRM struct {
	*crmapitest.Server
	*testbed.HTTP
	*tally
}

// startCRM starts a fake CRM that knows the testbed's company, its token and every member. The
// tally ends after the given number of responses.
func startCRM(ctx context.Context, opts crmapitest.Options, answers int) (*fakeCRM, error) {
	opts.CorpID, opts.Tokens, opts.AutoCreate = testbed.CorpID, []string{testbed.Token}, true
	fake := crmapitest.New(opts)
	t := newTally(fake, answers)
	server, err := testbed.Serve(ctx, t)
	if err != nil {
		return nil, err
	}
	return &fakeCRM{Server: fake, HTTP: server, tally: t}, nil
}

// verify checks that there were exactly that many calls, that each was successful, and that no two
// calls of one member overlap.
func (c *fakeCRM) verify(calls int) error {
	if n := c.Stats().Requests; n != calls {
		return fmt.Errorf("the CRM saw %d calls; it should be %d", n, calls)
	}
	return c.wellFormed()
}

// wellFormed is verify for any number of calls.
func (c *fakeCRM) wellFormed() error {
	stats := c.Stats()
	if stats.Overlaps != 0 || len(stats.Violations) != 0 {
		return fmt.Errorf("the CRM saw %d calls at once for one member, and %d breaches of the protocol; it should be none",
			stats.Overlaps, len(stats.Violations))
	}
	for _, call := range c.Calls() {
		if call.Outcome != crmapitest.OutcomeSuccess {
			return fmt.Errorf("call %d: %s, code %d", call.N, call.Outcome, call.Code)
		}
	}
	return nil
}

// A tally records the times of the first request and of the last response at very low cost.
type tally struct {
	next     http.Handler
	want     int64
	arrived  atomic.Int64
	answered atomic.Int64
	latest   atomic.Int64 // nanoseconds from the first request to the latest response

	first, last  time.Time     // read only after began and ended are closed
	began, ended chan struct{} // closed at the first request and at the last response
}

func newTally(next http.Handler, want int) *tally {
	return &tally{next: next, want: int64(want), began: make(chan struct{}), ended: make(chan struct{})}
}

// ServeHTTP implements [http.Handler].
func (t *tally) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if t.arrived.Add(1) == 1 {
		t.first = time.Now()
		close(t.began)
	}
	t.next.ServeHTTP(w, r)
	if t.want == 0 {
		<-t.began // the first request's time is set
		t.latest.Store(int64(time.Since(t.first)))
	}
	if t.answered.Add(1) == t.want {
		t.last = time.Now()
		close(t.ended)
	}
}

// rate returns responses per second, from the first request to the last response.
func (t *tally) rate() float64 { return float64(t.want) / t.last.Sub(t.first).Seconds() }

// rateSoFar is rate for a tally that has no end.
func (t *tally) rateSoFar() float64 {
	return float64(t.answered.Load()) / time.Duration(t.latest.Load()).Seconds()
}

var errSlow = errors.New("the calls did not end in time")

// await waits for an event of the tally, or until the calling process ends.
func await(ctx context.Context, moment, gone <-chan struct{}) error {
	select {
	case <-moment:
		return nil
	case <-gone:
		return testbed.ErrEnded
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
