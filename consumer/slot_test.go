package consumer_test

import (
	"fmt"
	"testing"
	"time"

	"membersync/crmapi/crmapitest"
)

// With a single call slot, lanes that wait for a retry delay no other member. The events are there
// before the start, so that the time between the first and the fourth call is the service's own.
func TestALaneThatWaitsHoldsNoSlot(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]crmapitest.Fault{
		"with a response": {Code: -1, Header: map[string]string{"Retry-After": "8"}},
		"unacknowledged":  {Status: 503, Header: map[string]string{"Retry-After": "8"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1, crmapitest.Options{})
			for m := range 3 {
				f.Member = member(m)
				r.crm.Push(f)
				r.kafka.produce(r.change(m, fields{"position": "Retried"}))
			}
			r.kafka.produce(r.change(3, fields{"position": "Quick"}))
			inst := r.start(oneByOne)
			r.eventually("the other member", func() bool { return r.crm.field(3, "position") == `"Quick"` })
			if n := inst.metric("membersync_lanes_retrying"); n != 3 {
				t.Errorf("%v lanes wait, want three", n)
			}
			r.settled()
			calls := r.crm.Calls()
			if len(calls) != 7 || calls[3].OpenUserID != member(3) {
				t.Fatalf("%d calls, the fourth for %s", len(calls), calls[3].OpenUserID)
			}
			for m := range 3 {
				if own := r.crm.callsOf(m); own[1].Arrived.Sub(own[0].Arrived) < 8*time.Second {
					t.Errorf("member %d was tried again after %v, want at least 8 s", m, own[1].Arrived.Sub(own[0].Arrived))
				}
			}
			r.wantNoDeadLetters()
		})
	}
}

// At most 500 events are folded into one update.
func TestAFoldHasAtMost500Events(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	inst := r.start(oneByOne)
	var msgs []message
	for i := range 1200 {
		msgs = append(msgs, r.change(1, fields{"position": fmt.Sprint(i)}))
	}
	inst.backlog(msgs...)
	r.settled()
	var folds []int
	for _, c := range r.outcome.called() {
		if c.Update.OpenUserID == member(1) {
			folds = append(folds, c.Events)
		}
	}
	if got := fmt.Sprint(folds); got != "[500 500 200]" {
		t.Errorf("folds of %s events, want 500, 500 and 200", got)
	}
	r.crm.wantField(1, "position", `"1199"`)
}

// The events of two employee ids of one member, in different partitions, share a lane: one call at
// a time, and the newest value wins.
func TestTwoEmployeeIDsOfAMemberShareALane(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, crmapitest.Options{})
	as := func(employee string, sequence int, position string) message {
		return message{Key: []byte(employee), Value: fmt.Appendf(nil,
			`{"eventId":%q,"employeeId":%q,"openUserId":%q,"sequence":%d,"after":{"position":%q}}`,
			position, employee, member(1), sequence, position)}
	}
	r.crm.Block(crmapitest.BeforeEffect)
	inst := r.start()
	r.kafka.produce(on(0, as("E-old", 1, "A")))
	r.eventually("the first call", func() bool { return r.crm.Blocked() == 1 })
	r.kafka.produce(on(1, as("E-new", 3, "C")), on(0, as("E-old", 2, "B")))
	inst.waiting(3)
	r.never("a second call was made during the first", 200*time.Millisecond, func() bool { return len(r.crm.Calls()) > 1 })
	r.crm.Release()
	r.settled()
	r.crm.wantField(1, "position", `"C"`)
	r.crm.wantCalls(2) // the two waiting events are one fold
	r.wantNoOverlap()
}
