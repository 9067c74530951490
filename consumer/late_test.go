package consumer_test

import (
	"sync/atomic"
	"testing"
	"time"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
)

// stalls blocks the process before its first completion until the lease has expired.
func stalls(r *rig) tap {
	var stalled atomic.Bool
	return tap{at: func(o op, after bool) error {
		if o != opComplete || after || stalled.Swap(true) {
			return nil
		}
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for r.redis.leases() > 0 {
			<-tick.C
		}
		return nil
	}}
}

// The lease expired between a dead letter and its done mark. The mark is set under another lease,
// and the dead letter is not written again.
func TestLateDoneMarkIsSetAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{}).quick()
	r.crm.Push(crmapitest.Fault{Member: member(1), Code: 10001})
	inst := r.start(stalls(r).install)
	refused := event("refused", 1, 1, fields{"position": "x"})
	for range 2 {
		r.process(refused)
	}
	r.wantOutcomes("refused", consumer.DeadLettered, consumer.Duplicate)
	r.crm.wantCalls(1)
	r.dlq.wantCount(1)
	if n := inst.metric("membersync_late_calls_total"); n != 0 {
		t.Errorf("%v late calls, want 0: the call was refused", n)
	}
}
