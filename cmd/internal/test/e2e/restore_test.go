package e2e

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"membersync/cmd/internal/test/incident"
	"membersync/cmd/internal/test/oracle/outcome"
	"membersync/cmd/internal/test/testbed/servicetest"
	"membersync/crmapi/crmapitest"
)

// The CRM is restored from a backup that is two hours old. The service trusts its digests and
// continues to change the same employees. Events that state again what the CRM held before arrive
// before the replay and during it. At the end each field has the value of the newest event.
func TestCRMRestoredFromABackup(t *testing.T) {
	t.Parallel()
	o := newScenario(t)
	o.Variables["STATE_KEY"] = "key-of-the-test-with-enough-bytes"
	story := incident.Around(99, 6, time.Now())
	first := o.start(nil)
	o.produce(story.Old)
	o.settle()
	backup := o.CRM.Snapshot()
	first.Stop()
	o.writeTable(true)
	service := o.start(nil)
	o.produce(story.Recent)
	o.settle()
	redriven := o.cli.must("dlq", "redrive", "--reason=unresolved_reference", "--yes")
	e, _ := o.expect()
	o.CRM.wantMembers(e.After)
	if n := e.Plan(story.At, false).Redrives; len(redriven) != n {
		t.Fatalf("%d redriven, want %d", len(redriven), n)
	}

	o.CRM.Restore(backup)
	calls := len(o.CRM.appliedCalls())
	o.produce(story.Between)
	o.settle()
	e, _ = o.expect()
	from := story.At.Format(time.RFC3339Nano)
	for _, reapply := range []bool{false, true} {
		wantReplayPlan(o, e.Plan(story.At, reapply), "replay", "--from="+from, "--dry-run", "--reapply="+strconv.FormatBool(reapply))
	}
	// The replay is over after this member's events at the earliest, however slow the live events are.
	const last = "FSUID_TEST00000"
	o.CRM.Push(crmapitest.Fault{Member: last, Times: -1, Status: http.StatusServiceUnavailable})
	replay := o.cli.begin("replay", "--from="+from, "--reapply", "--rate=20", "--yes", "--actor=sample@host", "-o", "json")
	replay.Await(0, "until no instance leaves out")
	o.produce(story.Waiting)
	servicetest.Eventually(t, "the replay to begin", func() bool { // and with it the end of its range to be fixed
		return slices.ContainsFunc(o.audit(), func(a auditRecord) bool { return a.Action == "replay" && a.Result == "requested" })
	})
	of := func(rec outcome.Record) bool { return strings.Contains(string(rec.Value), last) }
	o.produce(slices.DeleteFunc(slices.Clone(story.During), of))
	o.settle()
	select {
	case <-replay.Done():
		t.Errorf("the replay was over before the live events were: %s", &replay.Err)
	default:
	}
	o.CRM.Clear()
	o.produce(slices.DeleteFunc(slices.Clone(story.During), func(rec outcome.Record) bool { return !of(rec) }))
	o.settle()
	if status := replay.Status(); status != 0 {
		t.Errorf("status %d: %s", status, &replay.Err)
	}
	service.Stop()

	e, _ = o.expect()
	o.CRM.wantMembers(e.After)
	held := slices.Concat(heldBy(t, backup), o.CRM.appliedCalls()[calls:])
	for _, problem := range e.Back(held) {
		t.Error(problem)
	}
	t.Logf("real Kafka %t; replayed: %s", o.Broker.Real(), strings.TrimSpace(replay.Out.String()))
}

// wantReplayPlan checks that the dry run reports the same counts as the oracle.
func wantReplayPlan(o *scenario, want incident.Plan, args ...string) {
	o.t.Helper()
	got := o.cli.must(args...)[0]
	count := func(name string) int {
		n, _ := strconv.Atoi(text(got, name))
		return n
	}
	plan := incident.Plan{
		Records: count("records"), Send: count("send"), Done: count("done"), Superseded: count("superseded"), Poison: count("poison"),
		Redrives: count("redrives"), Calls: count("calls"),
	}
	if d := cmp.Diff(want, plan); d != "" || count("unchanged")+count("ignored") > 0 {
		o.t.Errorf("the plan of %q: %s; in all: %v", args, d, got)
	}
	o.t.Logf("%q: %+v", args[2:], plan)
}

// heldBy returns a snapshot as calls that could have produced it.
func heldBy(t *testing.T, snapshot map[string]map[string]json.RawMessage) []outcome.Call {
	t.Helper()
	var calls []outcome.Call
	for member, fields := range snapshot {
		user, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		calls = append(calls, outcome.Call{Member: member, User: user, Applied: true})
	}
	return calls
}
