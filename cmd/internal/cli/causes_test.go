package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"membersync/cmd/internal/ops"
	"membersync/crmapi/crmapitest"
)

// A scenario brings about one cause for employee E1 with the service, Kafka, Redis and the CRM.
type scenario struct {
	cause ops.Cause
	play  func(*testing.T, *opsRig)
	says  string // a part of the sentence
	shows string // what the CRM then shows as the position, as JSON; empty: nothing
}

func scenarios() []scenario {
	return []scenario{
		{ops.CauseStateLost, stateIsLost, "run membersync state rebuild", `"needle-A"`},
		{ops.CauseNoEvents, onlyOthersChange, "holds no event of employee E1", ""},
		{ops.CauseIgnored, aDeletionIsIgnored, `ignored by the rule "deletion"`, `"needle-A"`},
		{ops.CauseHeld, mostAreRejected, "is rejected (invalid_field) and held", ""},
		{ops.CauseRedriving, noInstanceTakesTheRedrive, "was dead-lettered (crm_not_found) and is being redriven since", ""},
		{ops.CauseDeadLettered, anEventFails, "then run membersync dlq redrive 0:0:0" + sampleTime + ".", ""},
		{ops.CauseDiscarded, itIsDiscarded, "discarded it (dead letter 0:0:0" + sampleTime + ")", ""},
		{ops.CauseDeadLetterExpired, theTopicForgetsTheDeadLetter, "have the HR system send it again", ""},
		{ops.CauseUnacknowledged, aNewerValueWentUnacknowledged, "A value of position may have reached the CRM", `"needle-B"`},
		{ops.CauseInFlight, theCallHangs, "A call for the member is in flight", ""},
		{ops.CauseNoInstance, noInstanceRuns, "no instance of membersync run is in the group", ""},
		{ops.CauseOutage, theCRMFails, "the CRM does not respond, or fails since 2", ""},
		{ops.CauseThrottled, theCRMThrottles, "the CRM refuses calls as too many since 2", ""},
		{ops.CauseQuota, theQuotaIsUsedUp, "daily quota is used up since 2", ""},
		{ops.CauseRefused, theCRMRefusesCredentials, "refuses our credentials or our address, and an operator must act since 2", ""},
		{ops.CauseStateKey, theKeyIsAnother, "another MEMBERSYNC_STATE_KEY", `"needle-A"`},
		{ops.CauseOperator, callingIsPaused, "because calls were paused by sample@host at", ""},
		{ops.CauseLagging, theLimitIsUsedUp, "is not processed yet", ""},
		{ops.CauseForgotten, theMarkIsRemoved, "its outcome is forgotten", `"needle-A"`},
		{ops.CauseSuperseded, itComesLate, "arrived late", `"needle-B"`},
		{ops.CauseUnchanged, itStatesNothingNew, "changes nothing", `"needle-A"`},
		{ops.CauseEarlierDeadLetter, anEarlierOneFailed, "is applied, but the earlier dead letter 0:0:0" + sampleTime + " (crm_not_found) is open", ""},
		{ops.CauseRedriven, itsRedriveIsApplied, "applied by redrive 1", `"needle-A"`},
		{ops.CauseApplied, anotherChangesTheCRM, "it was changed there afterwards", `"by hand"`},
	}
}

// notProduced are causes of instances during which explain cannot read what it needs, or that need
// a buffer full of held events. Their sentences are tested without a service.
func notProduced() []ops.Cause {
	return []ops.Cause{ops.CauseRedis, ops.CauseKafka, ops.CauseDLQ, ops.CauseStorm, ops.CauseControl}
}

// Each cause is produced by what happens, and explained by the command as it runs.
func TestEveryCause(t *testing.T) {
	t.Parallel()
	for _, s := range scenarios() {
		t.Run(string(s.cause), func(t *testing.T) {
			t.Parallel()
			o := newOpsRig(t)
			o.set("DLQ_STORM_SHARE", "0")
			s.play(t, o)
			explains(t, o, s)
		})
	}
}

// explains asks why the CRM shows what it shows, until the answer is the expected one: what the
// service does becomes known to Redis a moment later.
func explains(t *testing.T, o *opsRig, s scenario) {
	t.Helper()
	answer := func() map[string]any { return objects(t, o.must(t, "explain", "E1", "-o", "json"))[0] }
	got := answer()
	for deadline := time.Now().Add(20 * time.Second); got["cause"] != string(s.cause) && time.Now().Before(deadline); {
		got = answer()
	}
	sentence, _ := got["sentence"].(string)
	if got["cause"] != string(s.cause) || !strings.Contains(sentence, s.says) {
		t.Errorf("%v: %s, want %s: …%s…", got["cause"], sentence, s.cause, s.says)
	}
	text := o.must(t, "explain", "E1")
	before, last, _ := strings.Cut(text, "\nCAUSE  "+string(s.cause)+"\n")
	if strings.Count(last, "\n") != 1 || strings.Count(last, ". ") > 0 || !strings.HasSuffix(last, ".\n") {
		t.Errorf("not one sentence at the end: %q", last)
	}
	if strings.Contains(last, sampleTime) {
		t.Errorf("a full id in a table: %q", last)
	}
	if strings.Contains(before+last+fmt.Sprint(got), "needle") {
		t.Errorf("personal data is shown: %s", text)
	}
	if shows := string(o.crm.State("FSUID_TEST1")["position"]); shows != s.shows {
		t.Errorf("the CRM shows %s, want %s", shows, s.shows)
	}
}

// until asks again and again.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	untilAfter(t, 0, what, is)
}

// untilAfter is until for what cannot be before some time has passed.
func untilAfter(t *testing.T, passed time.Duration, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(max(20*time.Millisecond, passed/200))
	defer tick.Stop()
	for deadline := time.Now().Add(passed + time.Minute); !is(); <-tick.C {
		if time.Now().After(deadline) || t.Context().Err() != nil {
			t.Fatal("waited in vain for " + what)
		}
	}
}

func theKeyIsAnother(t *testing.T, o *opsRig) {
	t.Helper()
	o.hr.change(t, 1, 1, `{"position":"needle-A"}`)
	o.served(t)
	o.set("STATE_KEY", "another key made up for tests, 32 bytes or more")
	t.Cleanup(o.runningSince(t, "was written under another MEMBERSYNC_STATE_KEY"))
	until(t, "its heartbeat", func() bool {
		_, stdout, _ := o.do(t, "status", "-o", "json")
		return strings.Contains(stdout, `"cause":"state_key"`)
	})
}

func stateIsLost(t *testing.T, o *opsRig) {
	t.Helper()
	o.hr.change(t, 1, 1, `{"position":"needle-A"}`)
	o.serving(t)
	o.drained(t)
	o.state.empty(t)
}

func onlyOthersChange(t *testing.T, o *opsRig) {
	t.Helper()
	o.hr.change(t, 1, 2, `{"position":"needle-A"}`)
	o.served(t)
}

func aDeletionIsIgnored(t *testing.T, o *opsRig) {
	t.Helper()
	o.hr.change(t, 1, 1, `{"position":"needle-A"}`)
	o.hr.send(t, "E1", `{"eventId":"ev-2","sequence":2,"employeeId":"E1","openUserId":"FSUID_TEST1","before":{"position":"needle-A"},"after":null}`)
	o.served(t)
}

// mostAreRejected lets the storm guard hold the event of E1 with those of many others.
func mostAreRejected(t *testing.T, o *opsRig) {
	t.Helper()
	o.set("DLQ_STORM_SHARE", "0.5")
	for i := range 60 {
		o.hr.change(t, i+1, i+2, `{"gender":"none"}`)
	}
	o.hr.change(t, 61, 1, `{"gender":"none"}`)
	o.serving(t)
}

// The operator sends what the storm guard holds to the dead-letter topic; plain resume does not.
func TestResumeReleasesWhatIsHeld(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	mostAreRejected(t, o)
	held := func() int {
		n, _ := objects(t, o.must(t, "resume", "--dead-letter-held", "--dry-run", "-o", "json"))[0]["held"].(float64)
		return int(n)
	}
	deadLetters := func() int { return len(objects(t, o.must(t, "dlq", "list", "-o", "json"))) }
	var n int
	until(t, "61 events that are held or, before the storm was detected, dead-lettered", func() bool {
		n = held()
		return n > 0 && n+deadLetters() == 61
	})
	if got := objects(t, o.must(t, "resume", "--yes", "-o", "json"))[0]["held"]; got != nil {
		t.Errorf("plain resume reports %v held events", got)
	}
	if got := held(); got != n {
		t.Errorf("%d held after a plain resume, want %d", got, n)
	}
	if text := o.must(t, "resume", "--dead-letter-held", "--yes"); text != fmt.Sprintf("resumed, %d held events to be dead-lettered\n", n) {
		t.Errorf("printed %q", text)
	}
	o.drained(t)
	if got := deadLetters(); got != 61 {
		t.Errorf("%d dead letters, want 61", got)
	}
}

// anEventFails leaves an open dead letter: the CRM has not known the member for one call.
func anEventFails(t *testing.T, o *opsRig) {
	t.Helper()
	o.crm.Push(crmapitest.Fault{Member: "FSUID_TEST1", Code: crmapitest.CodeNoMember})
	o.hr.change(t, 1, 1, `{"position":"needle-A"}`)
	o.served(t)
}

func noInstanceTakesTheRedrive(t *testing.T, o *opsRig) {
	t.Helper()
	anEventFails(t, o)
	o.app.quiet = 100 * time.Millisecond
	if status, _, stderr := o.do(t, redriveArgs("0:0:0")...); status != exitPart {
		t.Errorf("status %d: %s", status, stderr)
	}
}

func itIsDiscarded(t *testing.T, o *opsRig) {
	t.Helper()
	anEventFails(t, o)
	o.must(t, "dlq", "discard", "0:0:0", "--note=n", "--yes")
}

func theTopicForgetsTheDeadLetter(t *testing.T, o *opsRig) {
	t.Helper()
	anEventFails(t, o)
	for partition, end := range o.broker.Ends(t, o.topics.DLQ) {
		if end > 0 {
			o.broker.DeleteRecords(t, o.topics.DLQ, partition, end)
		}
	}
}

// aNewerValueWentUnacknowledged is told in the README: the answer to a call is lost, the offsets
// are moved past its event, and an older event comes.
func aNewerValueWentUnacknowledged(t *testing.T, o *opsRig) {
	t.Helper()
	o.set("CRM_TIMEOUT", "1s") // a lease of 7 s
	o.set("SHUTDOWN_TIMEOUT", "1s")
	o.crm.Push(crmapitest.Fault{Member: "FSUID_TEST1", Times: -1, At: crmapitest.AfterEffect, Hang: true})
	o.hr.change(t, 9, 1, `{"position":"needle-B"}`)
	stop := o.running(t)
	until(t, "the effect", func() bool { return o.crm.State("FSUID_TEST1") != nil })
	stop()
	o.crm.Clear()
	o.must(t, "offsets", "reset", "--to=latest", "--yes")
	o.hr.change(t, 2, 1, `{"position":"needle-A"}`)
	o.serving(t)
	if !o.state.real {
		o.redis.FastForward(10 * time.Second)
	}
}

func theCallHangs(t *testing.T, o *opsRig) {
	t.Helper()
	o.crm.Block(crmapitest.BeforeEffect)
	t.Cleanup(o.crm.Release)
	o.hr.change(t, 1, 1, `{"position":"needle-A"}`)
	o.set("SHUTDOWN_TIMEOUT", "1s")
	o.serving(t)
	until(t, "the call", func() bool { return o.crm.Stats().Blocked == 1 })
}

func callingIsPaused(t *testing.T, o *opsRig) {
	t.Helper()
	o.must(t, "pause", "--yes", "--actor=sample@host")
	o.hr.change(t, 1, 1, `{"position":"needle-A"}`)
	o.serving(t)
}

// faulty has the CRM fail with every call while 20 members and then E1 change.
func faulty(t *testing.T, o *opsRig, fault crmapitest.Fault) {
	t.Helper()
	fault.Times = -1
	o.crm.Push(fault)
	for i := range 20 {
		o.hr.change(t, i+1, i+2, `{"position":"needle-B"}`)
	}
	o.hr.change(t, 21, 1, `{"position":"needle-A"}`)
	o.serving(t)
}

func theCRMFails(t *testing.T, o *opsRig) {
	t.Helper()
	faulty(t, o, crmapitest.Fault{Status: http.StatusBadGateway})
}

func theCRMThrottles(t *testing.T, o *opsRig) {
	t.Helper()
	faulty(t, o, crmapitest.Fault{Code: crmapitest.CodeThrottled})
}

func theQuotaIsUsedUp(t *testing.T, o *opsRig) {
	t.Helper()
	faulty(t, o, crmapitest.Fault{Code: 30002})
}

func theCRMRefusesCredentials(t *testing.T, o *opsRig) {
	t.Helper()
	faulty(t, o, crmapitest.Fault{Code: crmapitest.CodeCorp})
}

func noInstanceRuns(t *testing.T, o *opsRig) {
	t.Helper()
	o.hr.change(t, 1, 1, `{"position":"needle-A"}`)
}

// theLimitIsUsedUp by another member's call.
func theLimitIsUsedUp(t *testing.T, o *opsRig) {
	t.Helper()
	o.set("CRM_RATE", "1/10m")
	o.hr.change(t, 1, 2, `{"position":"needle-B"}`)
	o.serving(t)
	o.drained(t)
	o.hr.change(t, 2, 1, `{"position":"needle-A"}`)
}

func theMarkIsRemoved(t *testing.T, o *opsRig) {
	t.Helper()
	o.hr.change(t, 1, 1, `{"position":"needle-A"}`)
	o.served(t)
	o.must(t, "state", "forget", "E1", "--yes")
}

func itComesLate(t *testing.T, o *opsRig) {
	t.Helper()
	o.hr.change(t, 5, 1, `{"position":"needle-B"}`)
	o.hr.change(t, 2, 1, `{"position":"needle-A"}`)
	o.served(t)
}

func itStatesNothingNew(t *testing.T, o *opsRig) {
	t.Helper()
	o.hr.change(t, 1, 1, `{"position":"needle-A"}`)
	o.hr.send(t, "E1", `{"eventId":"ev-2","sequence":2,"employeeId":"E1","openUserId":"FSUID_TEST1","before":{"position":"needle-A"},"after":{"position":"needle-A"}}`)
	o.served(t)
}

func anEarlierOneFailed(t *testing.T, o *opsRig) {
	t.Helper()
	anEventFails(t, o)
	o.hr.change(t, 2, 1, `{"qq":"needle-1"}`)
	o.served(t)
}

func itsRedriveIsApplied(t *testing.T, o *opsRig) {
	t.Helper()
	anEventFails(t, o)
	o.serving(t)
	o.must(t, redriveArgs("0:0:0")...)
}

func anotherChangesTheCRM(t *testing.T, o *opsRig) {
	t.Helper()
	o.hr.change(t, 1, 1, `{"position":"needle-A"}`)
	o.served(t)
	o.crm.SetMember("FSUID_TEST1", map[string]json.RawMessage{"position": json.RawMessage(`"by hand"`)})
}

// The causes in the code, those of the README in the same order, and those that a scenario produces
// are the same.
func TestCausesAreDocumentedAndProduced(t *testing.T) {
	t.Parallel()
	var documented, produced []ops.Cause
	_, table, _ := strings.Cut(readme(t), "| cause | what it means |")
	table, _, _ = strings.Cut(table, "\n\n")
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|").FindAllStringSubmatch(table, -1) {
		documented = append(documented, ops.Cause(row[1]))
	}
	for _, s := range scenarios() {
		produced = append(produced, s.cause)
	}
	if d := cmp.Diff(ops.Causes(), documented); d != "" {
		t.Errorf("documented (-in the code +documented): %s", d)
	}
	if d := cmp.Diff(slices.Sorted(slices.Values(ops.Causes())), slices.Sorted(slices.Values(append(produced, notProduced()...)))); d != "" {
		t.Errorf("produced (-in the code +produced): %s", d)
	}
}
