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

// A drawing notes when permits are asked for.
type drawing struct {
	consumer.Limiter
	mu sync.Mutex
	at []time.Time
}

func (d *drawing) Permit(ctx context.Context, id string, rank int) (granted bool, wait time.Duration, err error) {
	d.mu.Lock()
	d.at = append(d.at, time.Now())
	d.mu.Unlock()
	return d.Limiter.Permit(ctx, id, rank)
}

// least returns the shortest time between two askings.
func (d *drawing) least() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	least := unending
	for i := 1; i < len(d.at); i++ {
		least = min(least, d.at[i].Sub(d.at[i-1]))
	}
	return least
}

// paced gives a service a limit to pace its calls by; the limiter itself never refuses, so that each asking is a call.
func paced(r *rig, calls int, window time.Duration) (*drawing, change) {
	d := &drawing{Limiter: &limiter{store: r.store(r.redis), limit: 1_000_000, window: window, hold: r.lease}}
	return d, func(cfg *consumer.Config, p *consumer.Parts) {
		cfg.Limit, p.Limiter = consumer.Limit{Calls: calls, Window: window}, d
	}
}

// While records wait for room in memory, calls are at least half as far apart as the limit asks for.
func TestCallsOfABacklogAreSpread(t *testing.T) {
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
	if got := d.least(); got < 10*time.Millisecond {
		t.Errorf("two permits were asked for within %v, want at least 10ms", got)
	}
}

// Where no record waits for room, calls go out as their events come.
func TestCallsWithoutABacklogAreNotSpread(t *testing.T) {
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
	if got := d.least(); got >= time.Second {
		t.Errorf("the least time between two permits was %v", got)
	}
}

// Until memory is filled for the first time few calls go out, since each that waits folds more: here what the log holds is out
// of reach behind an open transaction, and neither the end of the log nor the bound of memory ends the wait.
func TestCallsAreFewWhileMemoryIsFilled(t *testing.T) {
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
	if got := d.least(); got < 40*time.Millisecond {
		t.Errorf("two permits were asked for within %v, want at least 40ms", got)
	}
	tx.Commit(t)
	r.settled()
	r.wantCalls(members + 1)
}
