package consumer_test

import (
	"testing"
	"time"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
)

// A call gets no response while its partition is taken away. The first owner neither commits nor
// finishes the event, and leaves the lease alone. The next owner waits until the lease has expired,
// then sends the value again.
func TestCallWithoutResponseWhileItsPartitionIsRevoked(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, crmapitest.Options{}).quick().withoutClientTimeout()
	first := r.start()
	r.eventually("the assignment", func() bool { return r.kafka.committed(0) == 0 && r.kafka.committed(1) == 0 })
	for m := range 2 { // of either partition: one of them will be taken away
		r.crm.Push(crmapitest.Fault{Member: member(m), At: crmapitest.AfterEffect, Block: true, Close: true})
		r.kafka.produce(on(m, r.change(m, fields{"position": "Sent twice"})))
	}
	r.eventually("the calls", func() bool { return r.crm.Blocked() == 2 })
	r.start()
	r.eventually("the revoke", first.service.Revoked)
	r.never("a commit during the drain", 100*time.Millisecond, func() bool { return r.kafka.committed(0)+r.kafka.committed(1) > 0 })
	r.crm.Release() // the connections are closed without a response
	r.settled()
	for m := range 2 {
		r.crm.wantField(m, "position", `"Sent twice"`)
		if n := len(r.crm.callsOf(m)); n != 2 {
			t.Errorf("%d calls for member %d, want the unacknowledged one and its repetition", n, m)
		}
	}
	r.wantOutcomes("ev-1", consumer.Applied)
	r.wantOutcomes("ev-2", consumer.Applied)
	r.wantNoDeadLetters()
}
