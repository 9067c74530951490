package consumer_test

import (
	"strings"
	"testing"
	"time"

	"membersync/crmapi/crmapitest"
)

// Until the control state has been read, a pause could be missed: no call is made, and the service
// is not ready and says why.
func TestNoCallBeforeTheControlStateIsRead(t *testing.T) {
	t.Parallel()
	r, control := newRig(t, 1, crmapitest.Options{}), &failableControl{}
	control.failing.Store(true)
	r.kafka.produce(r.change(1, fields{"position": "Waits"}))
	inst := r.start(control.install)
	r.eventually("the cause", func() bool { ok, cause := inst.service.Ready(); return !ok && cause == "control" })
	r.eventually("the metric", func() bool { return inst.paused("control") })
	r.never("a call", 500*time.Millisecond, func() bool { return len(r.crm.Calls()) > 0 })
	log := r.logs.String()
	if strings.Count(log, "control state not read") != 1 || !strings.Contains(log, `"calls_wait":true`) {
		t.Error("the log does not say, once, that calls wait for the control state")
	}
	control.failing.Store(false)
	r.settled()
	r.crm.wantField(1, "position", `"Waits"`)
	if ok, cause := inst.service.Ready(); !ok || cause != "" || inst.paused("control") {
		t.Errorf("ready %v, cause %q after the control state was read", ok, cause)
	}
}

// An instance that cannot read the control state makes no call, for good if the state has the
// format of another version. Its share of the partitions would wait for it, so it takes none.
func TestNoPartitionBeforeTheControlStateIsRead(t *testing.T) {
	t.Parallel()
	const partitions = 4
	r, control := newRig(t, partitions, crmapitest.Options{}), &failableControl{}
	r.start()
	r.process(r.change(1, fields{"position": "First"}))
	control.failing.Store(true)
	second := r.start(control.install)
	r.eventually("the cause", func() bool { ok, cause := second.service.Ready(); return !ok && cause == "control" })
	joins := func() float64 { return second.metric("membersync_rebalances_total") }
	r.never("a join", time.Second, func() bool { return joins() > 0 })
	for member := range 10 * partitions {
		r.kafka.produce(r.change(member, fields{"position": "Served"}))
	}
	r.settled()
	control.failing.Store(false)
	r.eventually("the second instance to be ready", func() bool { ok, _ := second.service.Ready(); return ok && joins() > 0 })
	for member := range 10 * partitions {
		r.kafka.produce(r.change(member, fields{"position": "Served again"}))
	}
	r.settled()
	r.wantNoOverlap()
}

// An instance whose state key is not that of the state makes no call either. In a rolling update
// with a wrong key, those with the right one keep all partitions, and the new one is never ready.
func TestNoPartitionUnderAnotherStateKey(t *testing.T) {
	t.Parallel()
	const partitions = 4
	r := newRig(t, partitions, crmapitest.Options{})
	first := r.start()
	r.process(r.change(1, fields{"position": "First"}))
	right := r.redis.key
	r.redis.key = "another key made up for tests, of 32 bytes"
	second := r.start()
	r.eventually("the cause", func() bool { ok, cause := second.service.Ready(); return !ok && cause == "state_key" })
	r.never("a join", time.Second, func() bool { return second.metric("membersync_rebalances_total") > 0 })
	for member := range 10 * partitions {
		r.kafka.produce(r.change(member, fields{"position": "Served"}))
	}
	r.settled()
	r.redis.rebuilt(r.kafka.group)
	r.eventually("the first instance to notice the new key", func() bool { return first.paused("state_key") })
	first.wantReady("state_key") // it keeps its partitions: the key may come back
	r.eventually("the second instance to be ready", func() bool { ok, cause := second.service.Ready(); return ok && cause == "" })
	r.redis.key = right
	r.redis.rebuilt(r.kafka.group)
	r.eventually("the first instance to resume", func() bool { return !first.paused("state_key") })
}
