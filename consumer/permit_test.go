package consumer_test

import (
	"fmt"
	"testing"
	"time"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
	"membersync/dedupe"
)

// A batch that needs no call passes its permit to the next lane. So a range of duplicates costs
// about one permit a second, not one permit each.
func TestAnUnneededPermitIsUsedByTheNextLane(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	const members = 60
	var all []message
	for i := range members {
		all = append(all, event(fmt.Sprint("old ", i), i, 1, fields{"position": "A"}))
	}
	r.kafka.produce(all...)
	inst := r.start()
	r.settled()
	inst.stop()
	r.kafka.produce(all...)
	r.kafka.produce(event("new", 99, 1, fields{"position": "B"}))
	l := &limiter{store: r.redis.store(), limit: 100000, window: time.Second, hold: r.redis.lease}
	began := time.Now()
	r.start(l.install, oneByOne)
	r.settled()
	most := 4 + int(time.Since(began)/time.Second)
	if n := l.asked(); n > most {
		t.Errorf("%d permits were asked for, want at most %d", n, most)
	}
	r.crm.wantField(99, "position", `"B"`)
	r.crm.wantCalls(members + 1)
	r.eventually("all permits to be returned", func() bool { return l.out() == 0 })
}

// A lane that waits for a permit has not acquired its member. Until it has the permit, another
// process can acquire the member, and later events are folded into the same update.
func TestNothingIsAcquiredBeforeThePermit(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	store := r.redis.store()
	l := &limiter{store: store, limit: 1, window: 100 * time.Millisecond, hold: r.redis.lease}
	granted, _, _, err := store.Permit(t.Context(), dedupe.PermitRequest{
		Limit: 1, Window: l.window, ID: "another-process", Hold: time.Minute,
	})
	if err != nil || !granted {
		t.Fatal(granted, err)
	}
	var ops counting
	inst := r.start(l.install, ops.tap().install)
	r.kafka.produce(r.change(1, fields{"position": "A"}))
	r.eventually("the permit to be refused", func() bool { return l.asked() > 0 })
	r.kafka.produce(r.change(1, fields{"qq": "1"}))
	inst.waiting(2)
	if n := ops.of(opAcquire); n != 0 || r.redis.leases() != 0 {
		t.Errorf("%d acquires without a permit", n)
	}
	if err := store.PermitDone(t.Context(), "another-process", false); err != nil {
		t.Fatal(err)
	}
	r.settled()
	r.crm.wantCalls(1)
	r.wantOutcomes("ev-1", consumer.Applied)
	r.wantOutcomes("ev-2", consumer.Applied)
}
