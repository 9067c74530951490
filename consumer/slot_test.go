package consumer_test

import (
	"fmt"
	"testing"
	"time"

	"membersync/crmapi/crmapitest"
)

// With a single slot, members that wait for their next try let all others pass.
func TestALaneThatWaitsHoldsNoSlot(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]crmapitest.Fault{
		"answered":       {Code: -1, Header: map[string]string{"Retry-After": "4"}},
		"unacknowledged": {Status: 503, Header: map[string]string{"Retry-After": "4"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1, crmapitest.Options{})
			for m := range 3 {
				f.Member = member(m)
				r.crm.Push(f)
				r.produce(r.change(m, fields{"position": "Patient"}))
			}
			inst := r.start(oneByOne)
			r.eventually("all three to wait", func() bool { return r.metric(inst, "membersync_lanes_retrying") == 3 })
			r.produce(r.change(3, fields{"position": "Quick"}))
			r.eventually("the other", func() bool { return r.field(3, "position") == `"Quick"` })
			r.settled()
			calls := r.crm.Calls()
			if len(calls) != 7 || calls[3].OpenUserID != member(3) {
				t.Fatalf("%d calls, the fourth of %s", len(calls), calls[3].OpenUserID)
			}
			for m := range 3 {
				if own := r.callsOf(m); own[1].Arrived.Sub(own[0].Arrived) < 4*time.Second {
					t.Errorf("member %d was tried again after %v", m, own[1].Arrived.Sub(own[0].Arrived))
				}
			}
			r.wantNoDeadLetters()
		})
	}
}

// However much waits in a lane, one update takes in 500 events.
func TestAFoldIsBounded(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	inst := r.start(oneByOne)
	var msgs []message
	for i := range 1200 {
		msgs = append(msgs, r.change(1, fields{"position": fmt.Sprint(i)}))
	}
	r.backlog(inst, msgs...)
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
	r.wantField(1, "position", `"1199"`)
}

// Two employee ids of one member, from different partitions, are one member's: one call at a time, and the newest value stands.
func TestTwoEmployeeIDsOfAMemberShareALane(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, crmapitest.Options{})
	as := func(employee string, sequence int, position string) message {
		return message{Key: []byte(employee), Value: fmt.Appendf(nil,
			`{"eventId":%q,"employeeId":%q,"openUserId":%q,"sequence":%d,"after":{"position":%q}}`, position, employee, member(1), sequence, position)}
	}
	r.crm.Block(crmapitest.BeforeEffect)
	inst := r.start()
	r.produce(on(0, as("E-old", 1, "A")))
	r.eventually("the first call", func() bool { return r.crm.Blocked() == 1 })
	r.produce(on(1, as("E-new", 3, "C")), on(0, as("E-old", 2, "B")))
	r.waiting(inst, 3)
	r.never("a second call beside it", 200*time.Millisecond, func() bool { return len(r.crm.Calls()) > 1 })
	r.crm.Release()
	r.settled()
	r.wantField(1, "position", `"C"`)
	r.wantCalls(2) // what waited is one fold, not two lanes' worth
	r.wantNoOverlap()
}
