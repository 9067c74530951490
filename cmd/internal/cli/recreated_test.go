package cli

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"membersync/cmd/internal/ops"
	"membersync/dlq/kafkatest"
)

// Full ids of the first event of a topic, and of that of the topic which was created in its place
// an hour later.
const (
	formerID    = "0:0:0" + sampleTime
	recreatedID = "0:0:0@1795338000000"
)

// discardedAndRecreated is an opsRig with a discarded dead letter, whose source topic was deleted
// and created again since.
func discardedAndRecreated(t *testing.T) *opsRig {
	t.Helper()
	o := newOpsRigOn(t, kafkatest.StartFake(t))
	o.set("DLQ_STORM_SHARE", "0")
	o.hr.change(t, 1, 1, `{"gender":"X"}`)
	o.served(t)
	o.must(t, "dlq", "discard", "0:0:0", "--note=n", "--yes", "--actor=a")
	o.broker.Recreate(t, o.topics.Source, 3, nil)
	o.hr.at = o.hr.at.Add(time.Hour)
	return o
}

// A dead letter of the new topic at the coordinates of the discarded one is an open item of its
// own.
func TestDeadLettersOfARecreatedTopic(t *testing.T) {
	t.Parallel()
	o := discardedAndRecreated(t)
	o.hr.change(t, 2, 1, `{"gender":"X"}`)
	o.serving(t)
	until(t, "the second dead letter", func() bool { return len(o.ids(t, "--state=all")) == 2 })
	if d := cmp.Diff([]string{recreatedID}, o.ids(t)); d != "" {
		t.Errorf("open: %s", d)
	}
	if d := cmp.Diff([]string{formerID}, o.ids(t, "--state=discarded")); d != "" {
		t.Errorf("discarded: %s", d)
	}
	// Both have the same short id, so tables have the full one, also where only one of them is
	// shown.
	if got := o.must(t, "dlq", "list"); !strings.Contains(got, recreatedID) || strings.Contains(got, formerID) {
		t.Errorf("listed: %s", got)
	}
	if got := o.must(t, "dlq", "list", "--state=all"); !strings.Contains(got, recreatedID+"  open") || !strings.Contains(got, formerID+"  discarded") {
		t.Errorf("listed with --state=all: %s", got)
	}
	if got := o.must(t, "explain", "E1"); !strings.Contains(got, "is dead letter "+recreatedID+" (") {
		t.Errorf("explained: %s", got)
	}
	refusesTheShortID(t, o)

	for id, state := range map[string]string{formerID: "discarded", recreatedID: "open"} {
		exported := objects(t, o.must(t, "dlq", "export", id))
		if len(exported) != 1 || exported[0]["id"] != id || exported[0]["state"] != state {
			t.Errorf("exported by %s: %v", id, exported)
		}
		if got := objects(t, o.must(t, "dlq", "show", id, "-o=json"))[0]; got["id"] != id || got["state"] != state {
			t.Errorf("shown by %s: %v", id, got)
		}
	}
	o.files["fixed.json"] = `{"eventId":"ev-2","sequence":2,"employeeId":"E1","openUserId":"FSUID_TEST1","after":{"position":"P"}}`
	got := o.must(t, redriveArgs(recreatedID, "--value-file=fixed.json")...)
	if want := resultTable().heading() + resultTable().row(recreatedID, "applied", ""); got != want || string(o.crm.State("FSUID_TEST1")["position"]) != `"P"` {
		t.Errorf("redriven: %s", got)
	}
	states := []string{o.ids(t, "--state=applied")[0], o.ids(t, "--state=discarded")[0]}
	if d := cmp.Diff([]string{recreatedID, formerID}, states); d != "" {
		t.Errorf("applied and discarded: %s", d)
	}
}

// refusesTheShortID wants each command that takes ids to refuse the one that stands for two dead
// letters, and to do nothing.
func refusesTheShortID(t *testing.T, o *opsRig) {
	t.Helper()
	audit := sorted(o.topics.audit(t))
	for _, args := range [][]string{
		{"dlq", "show", "0:0:0"},
		{"dlq", "show", "0:0:0", "--reveal", "--note=why"},
		{"dlq", "export", "0:0:0"},
		redriveArgs("0:0:0"),
		redriveArgs("0:0:0", "--dry-run"),
		{"dlq", "discard", recreatedID, "0:0:0", "--note=n", "--yes"},
	} {
		status, stdout, stderr := o.do(t, args...)
		if status != exitFailed || stdout != "" || !strings.Contains(stderr, "id 0:0:0 is ambiguous, give one of "+formerID+", "+recreatedID+"\n") {
			t.Errorf("%v: status %d: %s%s", args, status, stdout, stderr)
		}
	}
	if got := sorted(o.topics.audit(t)); !slices.Equal(got, audit) || len(o.broker.ReadAll(t, o.topics.Redrive)) != 0 {
		t.Errorf("audit records: %q, want %q", got, audit)
	}
}

// An event of the new topic is not taken for the discarded one at its coordinates.
func TestExplainOfARecreatedTopic(t *testing.T) {
	t.Parallel()
	o := discardedAndRecreated(t)
	o.hr.change(t, 2, 1, `{"position":"P"}`)
	o.serving(t)
	until(t, "the call", func() bool { return string(o.crm.State("FSUID_TEST1")["position"]) == `"P"` })
	explains(t, o, scenario{ops.CauseApplied, nil, "(ev-2 at 0:0, 2026-11-22T09:00:00Z) was applied", `"P"`})
}
