package consumer_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
)

// A permitRecorder records when permits are requested.
type permitRecorder struct {
	consumer.Limiter
	mu sync.Mutex
	at []time.Time
}

func (d *permitRecorder) Permit(ctx context.Context, id string, rank int) (granted bool, wait time.Duration, err error) {
	d.mu.Lock()
	d.at = append(d.at, time.Now())
	d.mu.Unlock()
	return d.Limiter.Permit(ctx, id, rank)
}

// shortest returns the shortest time between two requests in a row.
func (d *permitRecorder) shortest() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	shortest := unending
	for i := 1; i < len(d.at); i++ {
		shortest = min(shortest, d.at[i].Sub(d.at[i-1]))
	}
	return shortest
}

// paced gives a service a limit by which it paces its calls. The limiter itself never refuses a
// permit, so each request is for one call.
func paced(r *rig, calls int, window time.Duration) (*permitRecorder, change) {
	d := &permitRecorder{
		Limiter: &limiter{store: r.store(r.redis), limit: 1_000_000, window: window, hold: r.lease},
	}
	return d, func(cfg *consumer.Config, p *consumer.Parts) {
		cfg.Limit, p.Limiter = consumer.Limit{Calls: calls, Window: window}, d
	}
}

// While records wait for room in the buffer, the time between two calls is at least half of what
// the limit implies.
func TestCallsOfABacklogArePaced(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	const members = 40
	for i := range members {
		r.produce(r.change(i, fields{"position": "Engineer"}))
	}
	d, limited := paced(r, 25, 500*time.Millisecond)
	r.start(limited, func(cfg *consumer.Config, _ *consumer.Parts) { cfg.BufferRecords = 4 })
	r.settled()
	r.wantCalls(members)
	if got := d.shortest(); got < 10*time.Millisecond {
		t.Errorf("two permits were requested within %v, want at least 10ms", got)
	}
}

// If no record waits for room in the buffer, calls are made as soon as their events arrive.
func TestCallsWithoutABacklogAreNotPaced(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	d, limited := paced(r, 2, 10*time.Second)
	r.start(limited)
	var all []message
	for i := range 20 {
		all = append(all, r.change(i, fields{"position": "Engineer"}))
	}
	r.produce(all...)
	r.settled()
	r.wantCalls(20)
	if got := d.shortest(); got >= time.Second {
		t.Errorf("the shortest time between two permits was %v, want less than 1s", got)
	}
}

// Until the buffer is full for the first time, few calls are made, since a call that waits folds
// more events. Here an open transaction keeps the reader from the end of the log. So neither the
// end of the log nor the bound of the buffer ends the wait.
func TestCallsAreSlowWhileTheBufferFills(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	const members = 8
	for i := range members {
		r.produce(r.change(i, fields{"position": fmt.Sprint("Level ", i)}))
	}
	tx := r.broker.Begin(t)
	tx.Produce(t, r.topic, r.change(members, fields{"position": "Open"}))
	d, limited := paced(r, 100, time.Second)
	r.gatherFor, r.fillFor = time.Millisecond, unending
	r.start(limited)
	r.eventually("the calls", func() bool { return len(r.crm.Calls()) == members })
	if got := d.shortest(); got < 40*time.Millisecond {
		t.Errorf("two permits were requested within %v, want at least 40ms", got)
	}
	tx.Commit(t)
	r.settled()
	r.wantCalls(members + 1)
}
