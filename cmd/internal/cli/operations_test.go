package cli

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"membersync/crmapi/crmapitest"
)

// A canary that fails again stops the redrive: the rest stays open and is not requested.
func TestCanary(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	o.set("DLQ_STORM_SHARE", "0")
	o.crm.Push(crmapitest.Fault{Code: crmapitest.CodeNoDepartment, Times: 3})
	for i := range 3 {
		o.hr.change(t, i+1, i+1, `{"position":"P"}`)
	}
	defer o.running(t)()
	o.drained(t)
	o.crm.Push(crmapitest.Fault{Code: crmapitest.CodeNoDepartment})
	status, stdout, stderr := o.do(t, redriveArgs("--all", "--canary=1")...)
	if status != exitFailed || !strings.Contains(stderr, "the canary is not good: 1 failed again, 0 have no result; the rest was not sent") {
		t.Errorf("status %d: %s%s", status, stdout, stderr)
	}
	if n := len(o.broker.ReadAll(t, o.topics.Redrive)); n != 1 {
		t.Errorf("%d redrives sent, want 1", n)
	}
	if got := o.ids(t); len(got) != 3 {
		t.Errorf("open: %v", got)
	}
	// The cause is fixed: now the canary is good, and the rest follows.
	if status, stdout, stderr := o.do(t, redriveArgs("--all", "--canary=2")...); status != exitDone || strings.Count(stdout, "applied") != 3 {
		t.Errorf("status %d: %s%s", status, stdout, stderr)
	}
}

// A scheduled job leaves out what is too young, and what was redriven often enough.
func TestScheduledRedrive(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	o.set("DLQ_STORM_SHARE", "0")
	defer o.running(t)()
	ids := failing(t, o, 1)
	if got := o.must(t, redriveArgs("--all", "--older-than=1h")...); strings.Contains(got, ids[0]) || len(o.broker.ReadAll(t, o.topics.Redrive)) > 0 {
		t.Errorf("a young one is redriven: %s", got)
	}
	job := redriveArgs("--all", "--max-redrives=1")
	if status, stdout, stderr := o.do(t, job...); status != exitFailed || !strings.Contains(stdout, "dead_lettered") {
		t.Errorf("status %d: %s%s", status, stdout, stderr)
	}
	if got := o.must(t, job...); !strings.Contains(got, "left out") || !strings.Contains(got, "redriven 1 times already") {
		t.Error(got)
	}
	if n := len(o.broker.ReadAll(t, o.topics.Redrive)); n != 1 {
		t.Errorf("%d redrives sent, want 1", n)
	}
}

// Dead letters that need the same fix are one group, whatever their ids are.
func TestGroupByCause(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	o.set("DLQ_STORM_SHARE", "0")
	o.crm.Push(crmapitest.Fault{Code: crmapitest.CodeNoDepartment, Times: -1})
	for i := range 4 {
		o.hr.change(t, i+1, i/2+1, `{"position":"P"}`)
	}
	o.hr.change(t, 5, 3, `{"gender":"X"}`)
	defer o.running(t)()
	o.drained(t)
	groups := objects(t, o.must(t, "dlq", "list", "--group-by=cause", "-o", "json"))
	got := map[any][2]any{}
	for _, g := range groups {
		got[g["group"]] = [2]any{g["count"], g["employees"]}
	}
	want := map[any][2]any{
		"crm_not_found 30007 department not found":               {4.0, 2.0},
		"invalid_field after.gender is neither M nor F (byte …)": {1.0, 1.0},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if got := o.ids(t, "--text", "DEPARTMENT not"); len(got) != 4 {
		t.Errorf("by text: %v", got)
	}
	list := objects(t, o.must(t, "dlq", "list", "--text=department", "-o", "json"))
	if list[0]["error"] != "department not found (30007)" || list[0]["cause"] != "crm_not_found 30007 department not found" {
		t.Errorf("%v", list[0])
	}
}

// The audit topic says who did what.
func TestAudit(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	o.must(t, "pause", "--yes", "--actor=sample-1@host", "--note=maintenance")
	o.must(t, "resume", "--yes", "--actor=sample-2@host")
	o.must(t, "offsets", "reset", "--to=latest", "--yes", "--actor=sample-1@host")
	for args, want := range map[string]string{
		"":                                       "pause done, resume done, offsets_reset requested, offsets_reset done",
		"--actor=sample-2@host":                  "resume done",
		"--action=pause,resume --since=1h":       "pause done, resume done",
		"--limit=1":                              "offsets_reset done",
		"--subject=" + o.variable("KAFKA_GROUP"): "pause done, resume done, offsets_reset requested, offsets_reset done",
		"--subject=another --actor=another":      "",
	} {
		var got []string
		for _, a := range objects(t, o.must(t, append([]string{"audit", "-o", "json"}, strings.Fields(args)...)...)) {
			got = append(got, a["action"].(string)+" "+a["result"].(string)) //nolint:errcheck,forcetypeassert // a test
		}
		if joined := strings.Join(got, ", "); joined != want {
			t.Errorf("%s: %s, want %s", args, joined, want)
		}
	}
	if got := o.must(t, "audit"); !strings.Contains(got, "sample-1@host") || !strings.Contains(got, "maintenance") {
		t.Error(got)
	}
	if _, _, stderr := o.do(t, "audit", "--limit=1"); !strings.Contains(stderr, "3 older records left out") {
		t.Error(stderr)
	}
}

// The records of a dead letter are found by both forms of its id, those of another subject only by
// all of it.
func TestAuditOfADeadLetter(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	o.set("DLQ_STORM_SHARE", "0")
	o.hr.change(t, 1, 1, `{"gender":"X"}`)
	o.served(t)
	o.must(t, "dlq", "discard", "0:0:0", "--yes", "--note=n")
	o.must(t, "state", "forget", "0:7@sample", "--open-user-id=FSUID_TEST1", "--yes")
	for subject, want := range map[string]int{
		"0:0:0": 1, "0:0:0" + sampleTime: 1, "0:0": 0, "0:0:0@1": 0, "0:7@sample": 2, "0:7": 0,
	} {
		if got := objects(t, o.must(t, "audit", "--subject="+subject, "-o", "json")); len(got) != want {
			t.Errorf("%s: %v, want %d", subject, got, want)
		}
	}
}

// A replay that runs is listed as running; canceled by another process, it stops and stays ended.
func TestReplayListAndCancel(t *testing.T) {
	t.Parallel()
	o, stop := replayed(t)
	stop()
	for i := range 200 {
		o.hr.change(t, 10+i, 1, `{"position":"C"}`)
	}
	other := newRig()
	other.app.Environ = append(other.app.Environ, o.app.Environ...)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan int, 1)
	go func() {
		done <- other.app.run(ctx, []string{"replay", "--from=earliest", "--rate=2", "--yes", "--actor=sample@host", "--note=n"})
	}()
	list := func() []map[string]any { return objects(t, o.must(t, "replay", "list", "-o", "json")) }
	until(t, "a running replay", func() bool { all := list(); return len(all) == 1 && all[0]["state"] == "running" })
	one := list()[0]
	if one["actor"] != "sample@host" || one["note"] != "n" || one["records"] != 203.0 {
		t.Errorf("%v", one)
	}
	id, _ := one["id"].(string)
	if got := o.must(t, "replay", "cancel", id, "--dry-run"); !strings.Contains(got, "would cancel replay "+id) {
		t.Error(got)
	}
	if status, _, stderr := o.do(t, "replay", "--resume", id, "--yes"); status != exitFailed || !strings.Contains(stderr, "this replay is running") {
		t.Errorf("status %d: %s", status, stderr)
	}
	o.must(t, "replay", "cancel", id, "--yes", "--actor=sample-2@host")
	if status := <-done; status != exitPart || !strings.Contains(other.out.String(), "replay "+id+" canceled") {
		t.Errorf("status %d: %s%s", status, other.out, other.errs)
	}
	if got := list(); got[0]["state"] != "canceled" {
		t.Errorf("%v", got)
	}
	for _, args := range [][]string{{"replay", "--resume", id, "--yes"}, {"replay", "cancel", id, "--yes"}} {
		if status, _, stderr := o.do(t, args...); status != exitFailed || !strings.Contains(stderr, "done or was canceled") {
			t.Errorf("%v: status %d: %s", args, status, stderr)
		}
	}
	if status, _, stderr := o.do(t, "replay", "cancel", "none", "--yes"); status != exitFailed || !strings.Contains(stderr, "unknown replay") {
		t.Errorf("status %d: %s", status, stderr)
	}
}
