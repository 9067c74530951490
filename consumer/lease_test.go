package consumer_test

import (
	"sync/atomic"
	"testing"
	"time"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
)

// Redis answers late. The remaining lease time is too short for a call, so no call is made under
// it.
func TestNoCallUnderALeaseThatIsTooOld(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{}).quick() // a call may begin within 1.6 s of asking for its lease
	var asked, sent atomic.Int32
	var slow tap
	slow.at = func(o op, after bool) error {
		switch {
		case o == opAcquire && after && asked.Add(1) == 1:
			<-time.After(1700 * time.Millisecond)
		case o == opModify && after:
			sent.CompareAndSwap(0, asked.Load())
		}
		return nil
	}
	inst := r.start(slow.install)
	r.process(r.change(1, fields{"position": "A"}))
	if n := sent.Load(); n < 2 {
		t.Errorf("the call was made under lease %d, want a later one: the first was too old", n)
	}
	r.crm.wantCalls(1)
	r.wantOutcomes("ev-1", consumer.Applied)
	inst.wantMetric(0, "membersync_late_calls_total")
}

// A lease under which a call went unacknowledged is never released, whatever the response to the
// repetition is. The first request may still take effect, and another process must not call before
// that.
func TestLeaseOfAnUnacknowledgedCallIsKept(t *testing.T) {
	t.Parallel()
	for name, second := range map[string]crmapitest.Fault{
		"applied":   {},
		"refused":   {Code: 10001},
		"not found": {Code: 20012},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1, crmapitest.Options{})
			r.crm.Push(crmapitest.Fault{Member: member(1), Status: 502})
			if second.Code != 0 {
				second.Member = member(1)
				r.crm.Push(second)
			}
			r.start()
			r.process(r.change(1, fields{"position": "A"}))
			r.crm.wantCalls(2)
			if n := r.redis.leases(); n != 1 {
				t.Errorf("%d leases, want the one that is kept", n)
			}
		})
	}
}

// A repetition renews the lease: its lifetime counts from the latest send.
func TestRepetitionRenewsTheLease(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.crm.Push(crmapitest.Fault{Member: member(1), Status: 503, Header: map[string]string{"Retry-After": "2"}})
	r.start()
	r.process(r.change(1, fields{"position": "A"}))
	keys := r.redis.keys("*:lease")
	if len(keys) != 1 {
		t.Fatal(keys)
	}
	left, err := r.redis.client.PTTL(t.Context(), keys[0]).Result()
	if err != nil {
		t.Fatal(err)
	}
	calls := r.crm.callsOf(1)
	if len(calls) != 2 {
		t.Fatalf("%d calls", len(calls))
	}
	if lives := time.Now().Add(left).Sub(calls[0].Arrived); lives < r.redis.lease+time.Second {
		t.Errorf("the lease lives until %v after the first call, want %v after the second, which came %v later",
			lives, r.redis.lease, calls[1].Arrived.Sub(calls[0].Arrived))
	}
}
