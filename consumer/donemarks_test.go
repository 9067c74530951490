package consumer_test

import (
	"sync/atomic"
	"testing"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
)

// A dead letter whose mark did not reach Redis is not the end of its event: delivered again, it would be buried again.
func TestADeadEventEndsWithItsMark(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{}).quick()
	var failed atomic.Bool
	lost := tap{at: func(o op, after bool) error {
		if o == opComplete && !after && failed.CompareAndSwap(false, true) {
			return errInjected
		}
		return nil
	}}
	r.start(lost.install)
	r.crm.Push(crmapitest.Fault{Member: member(3), Code: 10001})
	dead := r.event("refused", 3, 1, fields{"position": "x"})
	r.produce(dead)
	r.settled()
	if !failed.Load() {
		t.Fatal("no mark was lost")
	}
	r.produce(dead)
	r.settled()
	r.wantOutcomes("refused", consumer.DeadLettered, consumer.Duplicate)
	if got := len(r.deadLetters()); got != 1 {
		t.Errorf("%d dead letters, want 1", got)
	}
}
