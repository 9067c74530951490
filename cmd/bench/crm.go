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
	stats := c.Stats()
	if stats.Requests != calls || stats.Overlaps != 0 || len(stats.Violations) != 0 {
		return fmt.Errorf("the CRM saw %d calls, %d at once for one member, %d breaches of the protocol; it should be %d, 0 and 0",
			stats.Requests, stats.Overlaps, len(stats.Violations), calls)
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
	if t.answered.Add(1) == t.want {
		t.last = time.Now()
		close(t.ended)
	}
}

// rate returns responses per second, from the first request to the last response.
func (t *tally) rate() float64 { return float64(t.want) / t.last.Sub(t.first).Seconds() }

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
