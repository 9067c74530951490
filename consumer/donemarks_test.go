package consumer_test

import (
	"sync/atomic"
	"testing"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
)

// A dead-lettered event is finished only when its done mark is in Redis. Without the mark, the
// event would be dead-lettered a second time when it is delivered again.
func TestDeadLetteredEventFinishesWithItsDoneMark(t *testing.T) {
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
	refused := event("refused", 3, 1, fields{"position": "x"})
	r.process(refused)
	if !failed.Load() {
		t.Fatal("no done mark was lost")
	}
	r.process(refused)
	r.wantOutcomes("refused", consumer.DeadLettered, consumer.Duplicate)
	r.dlq.wantCount(1)
}
