package consumer_test

import (
	"sync/atomic"
	"testing"
	"time"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
)

// stalls blocks the process before its first completion until the lease has expired.
func (r *rig) stalls() tap {
	var stalled atomic.Bool
	return tap{at: func(o op, after bool) error {
		if o != opComplete || after || stalled.Swap(true) {
			return nil
		}
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			keys, err := r.redis.Keys(r.t.Context(), r.prefix+":*:lease").Result()
			if err != nil || len(keys) == 0 {
				return err
			}
			<-tick.C
		}
	}}
}

// The lease expired between a dead letter and its done mark. The mark is set under another lease,
// and the dead letter is not written again.
func TestLateDoneMarkIsSetAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{}).quick()
	r.crm.Push(crmapitest.Fault{Member: member(1), Code: 10001})
	inst := r.start(r.stalls().install)
	refused := r.event("refused", 1, 1, fields{"position": "x"})
	for range 2 {
		r.produce(refused)
		r.settled()
	}
	r.wantOutcomes("refused", consumer.DeadLettered, consumer.Duplicate)
	r.wantCalls(1)
	if n := len(r.deadLetters()); n != 1 {
		t.Errorf("%d dead letters, want 1", n)
	}
	if n := r.metric(inst, "membersync_late_calls_total"); n != 0 {
		t.Errorf("%v late calls, want 0: the call was refused", n)
	}
}
