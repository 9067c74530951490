package cli

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"membersync/crmapi/crmapitest"
	"membersync/dlq"
)

// A range by time covers the redrive topic, and the dry run looks into it: what it says is what the
// startReplay then does.
func TestReplayPlansRedrives(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	o.set("DLQ_STORM_SHARE", "0")
	for i, member := range []string{"FSUID_TEST1", "FSUID_TEST2"} {
		o.crm.Push(crmapitest.Fault{Member: member, Code: crmapitest.CodeNoMember})
		o.hr.change(t, i+1, i+1, `{"position":"A"}`)
	}
	stop := o.running(t)
	o.drained(t)
	o.must(t, redriveArgs("0:0:0")...)
	stop()
	o.app.quiet = 100 * time.Millisecond
	if status, _, stderr := o.do(t, redriveArgs("0:1:0")...); status != exitPart { // no instance takes it
		t.Errorf("status %d: %s", status, stderr)
	}
	copied := o.broker.ReadAll(t, o.topics.DLQ)[0] // by hand, and refused once an instance takes them
	changed := ordering(copied, dlq.Place{Partition: copied.Partition, Offset: copied.Offset}.String(), 9)
	changed.Value = []byte(event(1, "changed"))
	o.broker.Produce(t, o.topics.Redrive, copied, changed)
	plan := func(more ...string) map[string]any {
		return objects(t, o.must(t, append([]string{"replay", "--from=2026-11-22T08:00:00Z", "--dry-run", "-o", "json"}, more...)...))[0]
	}
	planned := func(send, done, poison, redrives, calls, open float64) map[string]any {
		fields := map[string]any{}
		if calls > 0 {
			fields = map[string]any{"position": calls} // qq has newer values
		}
		return map[string]any{
			"fields": fields, "records": 6.0, "send": send, "done": done, "superseded": 0.0, "unchanged": 0.0, "ignored": 0.0, "poison": poison, "redrives": redrives, "calls": calls,
			"members": []any{}, "seconds": math.Ceil(calls / 5), "expired": 0.0, "with_open_dead_letter": open,
		}
	}
	for _, c := range []struct {
		got, want map[string]any
	}{
		{plan(), planned(1, 3, 2, 4, 1, 0)},
		{plan("--employee=E2"), planned(1, 1, 0, 1, 1, 0)},
		{plan("--reapply"), planned(3, 1, 2, 4, 2, 0)},
	} {
		if d := cmp.Diff(c.want, c.got); d != "" {
			t.Error(d)
		}
	}
	got := objects(t, o.must(t, "replay", "--from=2026-11-22T08:00:00Z", "--yes", "-o", "json"))[0]
	if d := cmp.Diff(map[string]any{"duplicate": 3.0, "applied": 1.0, "dead_lettered": 2.0}, got["outcomes"]); d != "" {
		t.Errorf("what the replay did: %s", d)
	}
	if d := cmp.Diff(planned(0, 6, 0, 4, 0, 2), plan()); d != "" {
		t.Errorf("after the replay: %s", d)
	}
}

// A replay of one employee over a range by time leaves the redrives of others alone.
func TestReplayOfOneEmployeeLeavesOthersRedrivesAlone(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	o.set("DLQ_STORM_SHARE", "0")
	o.hr.change(t, 1, 1, `{"position":"A"}`)
	o.hr.change(t, 2, 2, `{"gender":"X"}`)
	o.crm.Push(crmapitest.Fault{Member: "FSUID_TEST3", Code: crmapitest.CodeNoMember})
	o.hr.change(t, 3, 3, `{"position":"C"}`)
	stop := o.running(t)
	o.drained(t)
	o.files["fixed.json"] = `{"eventId":"ev-2","sequence":2,"employeeId":"E2","openUserId":"FSUID_TEST2","after":{"position":"B"}}`
	o.must(t, redriveArgs("0:1:0", "--value-file=fixed.json")...)
	stop()
	o.app.quiet = 100 * time.Millisecond
	if status, _, stderr := o.do(t, redriveArgs("0:2:0")...); status != exitPart { // no instance takes it
		t.Errorf("status %d: %s", status, stderr)
	}
	before := len(o.broker.ReadAll(t, o.topics.DLQ))
	got := o.must(t, "replay", "--from=2026-11-22T08:00:00Z", "--employee=E1", "--yes")
	if n := len(o.broker.ReadAll(t, o.topics.DLQ)); n != before || strings.Contains(got, "dead_lettered") {
		t.Errorf("%d dead letters more: %s", n-before, got)
	}
	if open := o.ids(t); len(open) > 0 || o.crm.State("FSUID_TEST3") != nil {
		t.Errorf("open: %v; the redrive of another was run: %v", open, o.crm.State("FSUID_TEST3") != nil)
	}
}
