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
	r.produce(r.change(1, fields{"position": "Waits"}))
	inst := r.start(control.install)
	r.eventually("the cause", func() bool { ok, cause := inst.service.Ready(); return !ok && cause == "control" })
	r.eventually("the metric", func() bool { return r.paused(inst, "control") })
	r.never("a call", 500*time.Millisecond, func() bool { return len(r.crm.Calls()) > 0 })
	log := r.logs.String()
	if strings.Count(log, "control state not read") != 1 || !strings.Contains(log, `"calls_wait":true`) {
		t.Error("the log does not say, once, that calls wait for the control state")
	}
	control.failing.Store(false)
	r.settled()
	r.wantField(1, "position", `"Waits"`)
	if ok, cause := inst.service.Ready(); !ok || cause != "" || r.paused(inst, "control") {
		t.Errorf("ready %v, cause %q after the control state was read", ok, cause)
	}
}
