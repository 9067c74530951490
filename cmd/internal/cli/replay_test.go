package cli

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"membersync/cmd/internal/interrupt"
	"membersync/cmd/internal/test/goldentest"
	"membersync/dlq"
)

// replayed is an opsRig whose service has run three events of two employees, one of them poison,
// and a redrive.
func replayed(t *testing.T) (o *opsRig, stop func()) {
	t.Helper()
	o = newOpsRig(t)
	o.app.digestWait = time.Millisecond
	o.set("DLQ_STORM_SHARE", "0")
	o.hr.change(t, 1, 1, `{"position":"A","qq":"1"}`)
	o.hr.change(t, 2, 1, `{"position":"B"}`)
	o.hr.change(t, 3, 2, `{"gender":"X"}`)
	stop = o.running(t)
	o.drained(t)
	return o, stop
}

// What is done is skipped; a range has a fixed end, and may be of one employee.
func TestReplay(t *testing.T) {
	t.Parallel()
	o, stop := replayed(t)
	defer stop()
	goldentest.Compare(t, "testdata/replay-dry.txt", o.must(t, "replay", "--from=earliest", "--dry-run"))
	if len(o.topics.audit(t)) != 0 {
		t.Error("a dry run writes")
	}
	if status, _, stderr := o.do(t, "replay", "--from=earliest"); status != exitFailed || !strings.Contains(stderr, "--yes") {
		t.Errorf("status %d: %s", status, stderr)
	}
	id := regexp.MustCompile(`replay [a-z0-9]+ `)
	got := id.ReplaceAllString(o.must(t, "replay", "--from", "2026-11-22T08:00:00Z", "--yes", "--actor=sample@host", "--note=n"), "replay ID ")
	if d := cmp.Diff("replay ID done: 3 of 3 offsets\n  duplicate      3\n", got); d != "" {
		t.Error(d)
	}
	got = id.ReplaceAllString(o.must(t, "replay", "--from=0:0", "--to=0:2", "--employee=E1", "--reapply", "--yes"), "replay ID ")
	// Both fold into one call; of equal versions each is sent again, the older one only what it
	// alone states.
	if d := cmp.Diff("replay ID done: 2 of 2 offsets\n  applied        2\n", got); d != "" {
		t.Error(d)
	}
	got = id.ReplaceAllString(o.must(t, "replay", "--from=0:0", "--to=0:1", "--reapply", "--yes"), "replay ID ")
	if d := cmp.Diff("replay ID done: 1 of 1 offset\n  applied        1\n", got); d != "" { // qq; its position is older
		t.Error(d)
	}
	if n := len(o.ids(t, "--state=all")); n != 1 {
		t.Errorf("%d dead letters", n)
	}
	if n := len(o.topics.audit(t)); n != 6 {
		t.Errorf("audit: %q", o.topics.audit(t))
	}
}

// Stopped, it says how to go on, and goes on where it was, with what was asked for then.
func TestReplayResumes(t *testing.T) {
	t.Parallel()
	o, stop := replayed(t)
	stop()
	for i := range 30 {
		o.hr.change(t, 10+i, 1, `{"position":"C"}`)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan int)
	go func() {
		done <- o.app.run(ctx, []string{"replay", "--from=0:0", "--to=0:23", "--rate=10", "--yes", "--actor=sample@host", "--note=after the outage"})
	}()
	group := o.variable("KAFKA_GROUP")
	name := regexp.MustCompile(group + `\.replay\.([a-z0-9]+)`)
	id := ""
	for id == "" || len(o.broker.Committed(t, group+".replay."+id, o.topics.Source)) == 0 {
		if found := name.FindStringSubmatch(strings.Join(o.topics.audit(t), "\n")); found != nil {
			id = found[1]
		}
		if t.Context().Err() != nil {
			t.Fatal("nothing is replayed")
		}
	}
	cancel(&interrupt.Error{Signal: os.Interrupt})
	if status := <-done; status != exitInterrupted || !strings.Contains(o.errs.String(), "membersync replay --resume "+id) {
		t.Errorf("status %d: %s", status, o.errs)
	}
	at := o.broker.Committed(t, group+".replay."+id, o.topics.Source)[0]
	if at == 0 || at >= 23 {
		t.Fatalf("stopped at %d", at)
	}
	got := objects(t, o.must(t, "replay", "--resume", id, "--yes", "-o", "json"))
	outcomes, _ := got[0]["outcomes"].(map[string]any)
	n := 0.0
	for _, count := range outcomes {
		c, _ := count.(float64)
		n += c
	}
	if got[0]["result"] != "done" || got[0]["records"] != 23.0 || got[0]["done"] != 23.0 || int64(n) != 23-at {
		t.Errorf("from %d: %v", at, got)
	}
	if len(o.broker.Committed(t, group+".replay."+id, o.topics.Source)) > 0 {
		t.Error("the group of a replay that is over stays")
	}
	for _, a := range o.topics.records(t) {
		if a.Action == dlq.ActionReplay && a.Note != "after the outage" {
			t.Errorf("the audit record of a replay that is %s has the note %q", a.Result, a.Note)
		}
	}
	if status, _, stderr := o.do(t, "replay", "--resume", id, "--yes"); status != exitFailed || !strings.Contains(stderr, "done or was canceled") {
		t.Errorf("status %d: %s", status, stderr)
	}
	if status, _, stderr := o.do(t, "replay", "--resume=none", "--yes"); status != exitFailed || !strings.Contains(stderr, "unknown replay") {
		t.Errorf("status %d: %s", status, stderr)
	}
}

// A replay that was stopped is listed as such at once, with the command that resumes it. What it
// prints is what is committed: it may have made progress since the last report, and in the drain.
func TestReplayStopped(t *testing.T) {
	t.Parallel()
	o, stop := replayed(t)
	o.do(t, redriveArgs("0:2:0")...) // it fails again; a replay reads all redrives
	stop()
	for i := range 30 {
		o.hr.change(t, 10+i, 1, `{"position":"C"}`)
	}
	calls := len(o.crm.Calls())
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan int)
	o.out, o.errs = &output{changed: make(chan struct{}, 1)}, &output{changed: make(chan struct{}, 1)}
	o.app.Stdout, o.app.Stderr = o.out, o.errs
	go func() { done <- o.app.run(ctx, []string{"replay", "--from=0:0", "--rate=5", "--yes"}) }()
	until(t, "a call of the replay", func() bool { return len(o.crm.Calls()) > calls })
	cancel(&interrupt.Error{Signal: os.Interrupt})
	if status := <-done; status != exitInterrupted {
		t.Fatalf("status %d: %s", status, o.errs)
	}
	printed := regexp.MustCompile(`replay (\w+) stopped: (\d+ of 34) offsets\n`).FindStringSubmatch(o.out.String())
	if printed == nil {
		t.Fatal(o.out)
	}
	committed := int64(0)
	for _, topic := range []string{o.topics.Source, o.topics.Redrive} {
		for _, offset := range o.broker.Committed(t, o.variable("KAFKA_GROUP")+".replay."+printed[1], topic) {
			committed += max(offset, 0)
		}
	}
	if printed[2] != fmt.Sprint(committed, " of 34") || committed < 4 {
		t.Errorf("committed %d, printed: %s", committed, o.out)
	}
	list := o.must(t, "replay", "list")
	for _, want := range []string{" stopped ", " " + printed[2] + " ", "\nto resume " + printed[1] + ": membersync replay --resume " + printed[1] + "\n"} {
		if !strings.Contains(list, want) {
			t.Errorf("no %q: %s", want, list)
		}
	}
	if got := o.must(t, "replay", "--resume", printed[1], "--dry-run"); !strings.HasPrefix(got, fmt.Sprintf("would replay %d offsets\n", 34-committed)) {
		t.Errorf("committed %d: %s", committed, got)
	}
	o.must(t, "replay", "cancel", printed[1], "--yes")
	if list := o.must(t, "replay", "list"); strings.Contains(list, "--resume") || !strings.Contains(list, " "+printed[2]+" ") {
		t.Errorf("committed %d: %s", committed, list)
	}
}

func TestReplayRefuses(t *testing.T) {
	t.Parallel()
	o, stop := replayed(t)
	stop()
	for args, want := range map[string]string{
		"": "--from: is required", "--resume=x --reapply": "--resume: takes no range", "--from=never": "--from: should be", "--from=0:0 --rate=x": "--rate",
		"--from=2026-11-22T08:00:00Z --to=2026-11-22T07:00:00Z": "the range ends at 2026-11-22T07:00:00Z, which is not after its beginning 2026-11-22T08:00:00Z",
		"--from=1:7 --from=0:2 --to=0:1 --to=1:9":               "the range ends at 0:1, which is not after its beginning 0:2",
		"--from=0:1 --to=0:1":                                   "the range ends at 0:1, which is not after its beginning 0:1",
		"--from=0:1 --to=1:2":                                   "the range ends at 1:2, but does not begin in partition 1",
		"--from=latest --to=2h":                                 "which is not after its beginning latest",
		"--from=2026-11-22T08:00:00Z --to=earliest":             "the range ends at earliest, which is not after its beginning 2026-11-22T08:00:00Z",
	} {
		if status, _, stderr := o.do(t, append([]string{"replay"}, strings.Fields(args)...)...); status != exitUsage || !strings.Contains(stderr, want) {
			t.Errorf("%s: status %d: %s", args, status, stderr)
		}
	}
	if status, _, stderr := o.do(t, "replay", "--from=0:2", "--to=2026-11-22T07:00:00Z", "--dry-run"); status != exitFailed ||
		!strings.Contains(stderr, "the range ends at 2026-11-22T07:00:00Z (0:0), which is not after its beginning 0:2") {
		t.Errorf("an offset and a time: status %d: %s", status, stderr)
	}
	o.state.empty(t)
	if status, _, stderr := o.do(t, "replay", "--from=earliest", "--yes"); status != exitFailed || !strings.Contains(stderr, "state rebuild") {
		t.Errorf("status %d: %s", status, stderr)
	}
}

// A dry run says that an employee has no event in the range, and writes numbers as English does.
func TestReplayOfAnUnknownEmployee(t *testing.T) {
	t.Parallel()
	o, stop := replayed(t)
	stop()
	const unknown = "no record in the range is of employee E4711"
	status, stdout, stderr := o.do(t, "replay", "--from=0:0", "--to=0:1", "--employee=E4711", "--dry-run")
	if status != exitDone || !strings.Contains(stderr, unknown) || !strings.HasPrefix(stdout, "would replay 1 offset\n") {
		t.Errorf("status %d: %s%s", status, stderr, stdout)
	}
	if _, _, stderr := o.do(t, "replay", "--from=earliest", "--employee=E1", "--dry-run"); strings.Contains(stderr, "no record") {
		t.Error(stderr)
	}
	if _, _, stderr := o.do(t, "replay", "--from=0:0", "--to=0:1", "--yes"); !strings.Contains(stderr, ": 1 offset of 1 partition;") {
		t.Error(stderr)
	}
}

// The differences are those of the first members, and hold no values.
func TestReplayDiff(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	for i := range 3 {
		o.hr.change(t, i+1, i+1, `{"position":"needle","email":""}`)
	}
	o.hr.change(t, 4, 1, `{"qq":"needle"}`)
	for n, want := range map[string]int{"0": 0, "2": 2, "9": 3} {
		plan := objects(t, o.must(t, "replay", "--from=earliest", "--dry-run", "--diff="+n, "-o", "json"))[0]
		members, _ := plan["members"].([]any)
		if len(members) != want {
			t.Errorf("--diff=%s: %v", n, members)
		}
		for _, m := range members {
			one, _ := m.(map[string]any)
			fields := map[string]any{"position": "***", "email": "cleared"}
			if one["employee_id"] == "E1" {
				fields["qq"] = "***"
			}
			if d := cmp.Diff(fields, one["fields"]); d != "" {
				t.Errorf("%v: %s", one["employee_id"], d)
			}
		}
	}
	if got := o.must(t, "replay", "--from=earliest", "--dry-run", "--diff=9"); strings.Contains(got, "needle") || !strings.Contains(got, "employee E1\n  email ") {
		t.Error(got)
	}
}
