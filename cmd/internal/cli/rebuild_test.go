package cli

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"
)

// states are the states of employee E1 in Redis, as state show has them, without the digests: a
// rebuildState makes no call.
func states(t *testing.T, o *opsRig) map[string]any {
	t.Helper()
	all := objects(t, o.must(t, "state", "show", "E1", "-o", "json"))
	fields, _ := all[0]["fields"].([]any)
	for _, f := range fields {
		if f, ok := f.(map[string]any); ok {
			delete(f, "digest")
		}
	}
	return map[string]any{"fields": fields, "events": all[0]["events"]}
}

// Redis emptied between incident and redrive: refused until the rebuild, then the same end as
// without the loss.
func TestStateRebuild(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	o.set("DLQ_STORM_SHARE", "0")
	produce := func(sequence int, after string) {
		value := fmt.Sprintf(`{"eventId":"ev-%d","sequence":%[1]d,"employeeId":"E1","openUserId":"FSUID_TEST1","after":%s}`, sequence, after)
		o.hr.send(t, "E1", value)
	}
	produce(1, `{"position":"A","gender":"X"}`)        // fails, and is superseded
	produce(2, `{"qq":"1","gender":"X"}`)              // fails, and is not
	produce(3, `{"position":"B"}`)                     // applied
	produce(4, `{"qq":"4","weixin":"w","gender":"X"}`) // fails, and is redriven before the loss, without its qq
	o.broker.Produce(t, o.topics.Source, kafka.Message{Value: []byte("{")})
	stop := o.running(t)
	o.drained(t)
	o.files["fixed.json"] = `{"eventId":"ev-4","sequence":4,"employeeId":"E1","openUserId":"FSUID_TEST1","after":{"weixin":"w"}}`
	if got := o.must(t, redriveArgs("0:3:0", "--value-file=fixed.json")...); !strings.Contains(got, "applied") {
		t.Fatal(got)
	}
	o.drained(t)
	stop()
	before, listed := states(t, o), o.must(t, "dlq", "list", "--state=all")

	o.state.empty(t)
	if d := cmp.Diff(listed, o.must(t, "dlq", "list", "--state=all")); d != "" {
		t.Errorf("the list changes with Redis: %s", d)
	}
	if status, _, stderr := o.do(t, redriveArgs("0:0:0")...); status != exitFailed || !strings.Contains(stderr, "state rebuild") {
		t.Errorf("status %d: %s", status, stderr)
	}
	if got := o.must(t, "state", "rebuild", "--dry-run"); !strings.Contains(got, "read 6 offsets") {
		t.Error(got)
	}
	if status, _, stderr := o.do(t, "state", "rebuild"); status != exitFailed || !strings.Contains(stderr, "--yes") {
		t.Errorf("status %d: %s", status, stderr)
	}
	for range 2 { // again does no harm
		got := o.must(t, "state", "rebuild", "--yes", "--actor=sample@host", "-o", "json")
		want := `{"action":"state_rebuild","result":"done","records":6,"restored":6,"dead_lettered":4,"expired":0,"invalid":0}` + "\n"
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	}
	if d := cmp.Diff(before, states(t, o)); d != "" {
		t.Errorf("state (-before +rebuilt): %s", d)
	}
	stop = o.running(t)
	defer stop()
	o.files["a.json"] = `{"eventId":"ev-1","sequence":1,"employeeId":"E1","openUserId":"FSUID_TEST1","after":{"position":"A"}}`
	o.files["qq.json"] = `{"eventId":"ev-2","sequence":2,"employeeId":"E1","openUserId":"FSUID_TEST1","after":{"qq":"1"}}`
	if got := o.must(t, redriveArgs("0:0:0", "--value-file=a.json")...); !strings.Contains(got, "superseded") {
		t.Error(got)
	}
	if got := o.must(t, redriveArgs("0:1:0", "--value-file=qq.json")...); !strings.Contains(got, "applied") {
		t.Error(got)
	}
}

// The state key changes: nothing is redriven or replayed, and the rebuild under the new key waits
// until no instance runs. After it all versions are there under the new key.
func TestStateKeyChanges(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	o.hr.change(t, 1, 1, `{"position":"A"}`)
	o.hr.change(t, 2, 2, `{"gender":"X"}`)
	stop := o.running(t)
	o.drained(t)
	before := states(t, o)
	former := o.variable("STATE_KEY")
	o.set("STATE_KEY", "another key made up for tests, 32 bytes or more")
	// An instance runs under the key of the state, so it is the operator's that is wrong.
	for _, args := range [][]string{redriveArgs("0:1:0"), {"replay", "--from=earliest", "--yes"}, {"explain", "E1"}, {"state", "show", "E1"}, {"state", "forget", "E1", "--yes"}} {
		if status, _, stderr := o.do(t, args...); status != exitFailed || !strings.Contains(stderr, "MEMBERSYNC_STATE_KEY here is unset, or not that") {
			t.Errorf("%v: status %d: %s", args, status, stderr)
		}
	}
	if got := o.must(t, "status"); !strings.Contains(got, "MEMBERSYNC_STATE_KEY here is unset, or not that") || strings.Contains(got, "advice: set the former key") {
		t.Error(got)
	}
	if status, _, stderr := o.do(t, "state", "rebuild", "--yes"); status != exitFailed || !strings.Contains(stderr, "stop them before the key changes") {
		t.Errorf("rebuild while an instance runs: status %d: %s", status, stderr)
	}
	stop()
	o.must(t, "state", "rebuild", "--yes")
	if d := cmp.Diff(before, states(t, o)); d != "" {
		t.Errorf("state (-before +rebuilt): %s", d)
	}
	defer o.running(t)()
	o.hr.change(t, 3, 1, `{"position":"B"}`)
	o.drained(t)
	if got := string(o.crm.State("FSUID_TEST1")["position"]); got != `"B"` {
		t.Errorf("position %s after the rebuild", got)
	}
	o.set("STATE_KEY", former)
	if status, _, stderr := o.do(t, "replay", "--from=earliest", "--yes"); status != exitFailed || !strings.Contains(stderr, "MEMBERSYNC_STATE_KEY here") {
		t.Errorf("the former key: status %d: %s", status, stderr)
	}
}

// Without a key, a value cannot be edited.
func TestNoEditWithoutAKey(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	o.unset("STATE_KEY")
	o.hr.change(t, 1, 1, `{"gender":"X"}`)
	o.served(t)
	o.files["fixed.json"] = `{"eventId":"ev-1","sequence":1,"employeeId":"E1","openUserId":"FSUID_TEST1","after":{"qq":"1"}}`
	args := redriveArgs("0:0:0", "--value-file=fixed.json")
	if status, _, stderr := o.do(t, args...); status != exitUsage || !strings.Contains(stderr, "MEMBERSYNC_STATE_KEY") {
		t.Errorf("status %d: %s", status, stderr)
	}
}
