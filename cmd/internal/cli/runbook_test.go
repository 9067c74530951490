package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"membersync/crmapi/crmapitest"
	"membersync/dlq"
)

// A recipe says how a dead letter of a reason is produced, and how each block of commands in the
// runbook fixes it.
type recipe struct {
	setup func(o *opsRig)                      // before the service runs
	event func(t *testing.T, o *opsRig, i int) // of employee i, which is dead-lettered
	ways  []way
}

// A way is one block of commands, and what is done before they are given.
type way struct {
	fix     func(t *testing.T, o *opsRig, i int) // the cause, for the dead letter of employee i
	restart bool                                 // of the service
	ends    dlq.State
	shows   string // as the position of the member
}

const (
	sent     = `{"eventId":"ev-%d","sequence":%[1]d,"employeeId":"E%[1]d","openUserId":"FSUID_TEST%[1]d","after":{"position":"needle"%s}}`
	noNumber = `{"eventId":"ev-%d","occurredAt":"2026-11-22T08:00:00Z","employeeId":"E%[1]d","openUserId":"FSUID_TEST%[1]d","after":{"position":"needle"}}`
	routing  = `{"eventId":"ev-%d","sequence":%[1]d,"employeeId":"E%[1]d","openUserId":"FSUID_TEST%[1]d","type":%q,"now":{"position":"needle"}}`
	hired    = `,"hireDate":"2020-01-02"`
	needle   = `"needle"`
)

// hr is a mapping of canonical events, except for what it is given.
func hr(openUserID, after, rest string) string {
	return "version: 1\nidentity: {event_id: $event.eventId, employee_id: $event.employeeId, open_user_id: " + openUserID + ", type: $event.type}\n" +
		"order: {kind: sequence, from: $event.sequence}\nstates: {after: " + after + "}\nfields: {position: position}\n" + rest
}

// recipes are by reason, their ways in the order of the runbook.
func recipes() map[dlq.Reason]recipe {
	discarded := way{fix: nothing, ends: dlq.StateDiscarded}
	byHand := func(more string) way {
		return way{fix: func(_ *testing.T, o *opsRig, i int) { o.files["fixed.json"] = fmt.Sprintf(sent, i, more) }, ends: dlq.StateApplied, shows: needle}
	}
	restarted := func(fix func(*testing.T, *opsRig, int)) way {
		return way{fix: fix, restart: true, ends: dlq.StateApplied, shows: needle}
	}
	fixed := func(fix func(*testing.T, *opsRig, int)) way {
		return way{fix: fix, ends: dlq.StateApplied, shows: needle}
	}
	return map[dlq.Reason]recipe{
		dlq.ReasonMalformed: {nil, value(`{"eventId":"ev-%d"`), []way{discarded, byHand("")}},
		dlq.ReasonOversized: {
			setting("KAFKA_MAX_RECORD_BYTES", "2KiB"), value(strings.ReplaceAll(sent, "%s", `,"note":"`+strings.Repeat("x", 3000)+`"`)),
			[]way{discarded, restarted(changed("KAFKA_MAX_RECORD_BYTES", "1MiB"))},
		},
		dlq.ReasonInvalidEvent: {nil, value(noNumber), []way{restarted(changed("MAPPING", "canonical-time")), byHand("")}},
		dlq.ReasonInvalidField: {
			nil, value(strings.ReplaceAll(sent, "%s", hired)), []way{discarded, byHand(""), restarted(changed("TIMEZONE", "Asia/Shanghai"))},
		},
		dlq.ReasonUnresolved: {mappedBy(hr("{from: $event.employeeId, lookup: members}", "$event.after", "lookups: {members: {redis: HASH}}\n")), value(strings.ReplaceAll(sent, "%s", "")), []way{fixed(addEntry)}},
		dlq.ReasonNeedsFetch: {
			mappedBy(hr("$event.openUserId", "$event.after", "")), ofType("changed"),
			[]way{restarted(remapped(hr("$event.openUserId", "$event.now", "")))},
		},
		dlq.ReasonRouted: {
			mappedBy(hr("$event.openUserId", "$event.now", "routes: [{name: by hand, when: {type: [moved, changed]}, do: dead_letter}]\n")), ofType("changed"),
			[]way{discarded, restarted(remapped(hr("$event.openUserId", "$event.now", "routes: [{name: by hand, when: {type: moved}, do: dead_letter}]\n")))},
		},
		dlq.ReasonCRMNotFound: {refusing(crmapitest.CodeNoMember), value(strings.ReplaceAll(sent, "%s", "")), []way{discarded, fixed(crmFixed)}},
		dlq.ReasonCRMInvalid: {
			func(o *opsRig) {
				o.set("CRM_ERROR_CODES", fmt.Sprintf("%d:poison:crm_invalid", crmapitest.CodeDuplicate))
				takenMobile(o)
			},
			value(strings.ReplaceAll(sent, "%s", `,"mobile":"00000000001"`)),
			[]way{discarded, byHand(`,"mobile":"00000000002"`)},
		},
		dlq.ReasonCRMRejected: {
			func(o *opsRig) {
				o.set("CRM_ERROR_CODES", fmt.Sprintf("%d:poison:crm_rejected", crmapitest.CodeDuplicate))
				takenMobile(o)
			},
			value(strings.ReplaceAll(sent, "%s", `,"mobile":"00000000001"`)),
			[]way{fixed(func(_ *testing.T, o *opsRig, _ int) { o.crm.RemoveMember("FSUID_OTHER") })},
		},
		dlq.ReasonRetriesExhausted: {
			func(o *opsRig) { refusing(-1)(o); o.set("CRM_RETRY_BUDGET", "1s") }, whileOthersAreServed, []way{fixed(crmFixed)},
		},
		dlq.ReasonInvalidRedrive: {refusing(crmapitest.CodeNoMember), copiedByHand, []way{fixed(crmFixed)}},
	}
}

func nothing(*testing.T, *opsRig, int) {}

// value produces an event of this form, which is dead-lettered.
func value(form string) func(*testing.T, *opsRig, int) {
	return func(t *testing.T, o *opsRig, i int) {
		t.Helper()
		text := form
		if strings.Contains(form, "%") {
			text = fmt.Sprintf(form, i)
		}
		o.hr.send(t, fmt.Sprintf("E%d", i), text)
	}
}

func ofType(kind string) func(*testing.T, *opsRig, int) {
	return func(t *testing.T, o *opsRig, i int) {
		t.Helper()
		value(fmt.Sprintf(routing, i, kind))(t, o, i)
	}
}

func setting(name, to string) func(*opsRig) { return func(o *opsRig) { o.set(name, to) } }

func changed(name, to string) func(*testing.T, *opsRig, int) {
	return func(_ *testing.T, o *opsRig, _ int) { o.set(name, to) }
}

// mappedBy is a mapping file. HASH in it is a name in Redis that no other test has.
func mappedBy(text string) func(*opsRig) {
	return func(o *opsRig) {
		o.set("MAPPING", "hr.yaml")
		o.files["hr.yaml"] = strings.ReplaceAll(text, "HASH", o.state.members)
	}
}

func remapped(text string) func(*testing.T, *opsRig, int) {
	return func(_ *testing.T, o *opsRig, _ int) { mappedBy(text)(o) }
}

func addEntry(t *testing.T, o *opsRig, i int) {
	t.Helper()
	if err := o.state.HSet(t.Context(), o.state.members, fmt.Sprintf("E%d", i), fmt.Sprintf("FSUID_TEST%d", i)).Err(); err != nil {
		t.Fatal(err)
	}
}

// refusing lets the CRM answer each call for the first members with a code.
func refusing(code int) func(*opsRig) {
	return func(o *opsRig) {
		for i := range 4 {
			o.crm.Push(crmapitest.Fault{Member: fmt.Sprintf("FSUID_TEST%d", i), Times: -1, Code: code})
		}
	}
}

func crmFixed(_ *testing.T, o *opsRig, _ int) { o.crm.Clear() }

// takenMobile gives another member a mobile.
func takenMobile(o *opsRig) {
	o.crm.SetMember("FSUID_OTHER", map[string]json.RawMessage{"mobile": json.RawMessage(`"00000000001"`)})
}

// whileOthersAreServed has the calls for one member fail, while those for others succeed, until its
// event is dead-lettered.
func whileOthersAreServed(t *testing.T, o *opsRig, i int) {
	t.Helper()
	value(strings.ReplaceAll(sent, "%s", ""))(t, o, i)
	sequence := 1000
	until(t, "the dead letter", func() bool {
		for employee := range 4 {
			sequence++
			o.hr.change(t, sequence, 10+employee, fmt.Sprintf(`{"position":"P%d"}`, sequence))
		}
		return len(o.ids(t)) > 0
	})
}

// copiedByHand is a dead letter as it stands, in the redrive topic.
func copiedByHand(t *testing.T, o *opsRig, i int) {
	t.Helper()
	value(strings.ReplaceAll(sent, "%s", ""))(t, o, i)
	o.drained(t)
	copied := o.broker.ReadAll(t, o.topics.DLQ)[0]
	copied.Partition = 0
	o.broker.Produce(t, o.topics.Redrive, copied)
}

// blocks are the commands of a reason's section: those of each way, as they are written.
func blocks(t *testing.T, reason dlq.Reason) (ways [][]string) {
	t.Helper()
	text, err := os.ReadFile("../../../dlq/RUNBOOK.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## `"+string(reason)+"`\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(section, -1) {
		ways = append(ways, strings.Split(strings.TrimSpace(block[1]), "\n"))
	}
	return ways
}

// Each block of the runbook is tried on a dead letter of its reason: the cause is fixed, the
// commands are typed as they are written, their questions are answered with yes, and at the end the
// dead letter is not open any more.
func TestRunbook(t *testing.T) {
	t.Parallel()
	all := recipes()
	for _, reason := range dlq.Reasons() {
		t.Run(string(reason), func(t *testing.T) {
			t.Parallel()
			o := newOpsRig(t)
			o.set("DLQ_STORM_SHARE", "0")
			o.set("CRM_RATE", "0")
			follow(t, o, reason, all[reason], blocks(t, reason))
		})
	}
	if len(all) != len(dlq.Reasons()) {
		t.Errorf("%d recipes for %d reasons", len(all), len(dlq.Reasons()))
	}
}

// follow tries the blocks of one reason, each on a dead letter of its own. A block for all dead
// letters of the reason comes last.
func follow(t *testing.T, o *opsRig, reason dlq.Reason, r recipe, written [][]string) {
	t.Helper()
	if len(written) != len(r.ways) || len(written) == 0 {
		t.Fatalf("the runbook has %d ways, the test %d", len(written), len(r.ways))
	}
	if r.setup != nil {
		r.setup(o)
	}
	stop := o.running(t)
	defer func() { stop() }()
	order := make([]int, 0, len(written))
	for i := range written {
		order = append(order, i)
		r.event(t, o, i+1)
		until(t, "the dead letter", func() bool { return len(o.ids(t, "--reason", string(reason))) == i+1 })
	}
	slices.SortStableFunc(order, func(a, b int) int { return rankOf(written[a]) - rankOf(written[b]) })
	for _, i := range order {
		w, id := r.ways[i], deadLetterOf(t, o, reason, i)
		w.fix(t, o, i+1)
		if w.restart {
			stop()
			stop = o.running(t)
		}
		typed(t, o, written[i], id)
		isFixed(t, o, id, w, i+1)
	}
	if open := o.ids(t); len(open) > 0 {
		t.Errorf("still open: %v", open)
	}
}

// rankOf puts what is for all dead letters of a reason after what is for one.
func rankOf(commands []string) int {
	for _, c := range commands {
		if strings.Contains(c, "redrive --reason") {
			return 1
		}
	}
	return 0
}

// deadLetterOf is the id of the i-th dead letter.
func deadLetterOf(t *testing.T, o *opsRig, reason dlq.Reason, i int) string {
	t.Helper()
	ids := o.ids(t, "--state=all", "--reason", string(reason))
	if len(ids) <= i {
		t.Fatalf("%d dead letters", len(ids))
	}
	return ids[i]
}

// typed types commands, with the placeholders of the runbook replaced.
func typed(t *testing.T, o *opsRig, commands []string, id string) {
	t.Helper()
	if place, invalid := strings.CutPrefix(id, "redrive:"); invalid {
		partition, offset, _ := strings.Cut(place, ":")
		id = o.ids(t, "--reason=crm_not_found")[0]
		commands = replaced(commands, "redrive:PARTITION:OFFSET", "redrive:"+partition+":"+offset)
	}
	for _, line := range replaced(commands, "ID", id) {
		o.app.Terminal, o.app.Stdin = true, strings.NewReader("y\n")
		status, stdout, stderr := o.do(t, words(line)[1:]...)
		if status != exitDone {
			t.Errorf("%s: status %d: %s%s", line, status, stdout, stderr)
		}
	}
	o.app.Terminal = false
}

func replaced(commands []string, placeholder, by string) []string {
	word := regexp.MustCompile(`(^| )` + placeholder + `( |$)`)
	all := make([]string, len(commands))
	for i, line := range commands {
		all[i] = word.ReplaceAllString(line, "${1}"+by+"${2}")
	}
	return all
}

// isFixed checks the state of the dead letter, and what the CRM shows.
func isFixed(t *testing.T, o *opsRig, id string, w way, employee int) {
	t.Helper()
	ends := w.ends
	if strings.HasPrefix(id, "redrive:") { // a record of the redrive topic is never processed
		ends = dlq.StateDiscarded
	}
	if !slices.Contains(o.ids(t, "--state", string(ends)), id) {
		t.Errorf("%s is not %s: %s", id, ends, o.must(t, "dlq", "show", id))
	}
	if d := cmp.Diff(w.shows, string(o.crm.State(fmt.Sprintf("FSUID_TEST%d", employee))["position"])); d != "" {
		t.Errorf("the CRM's member of %s: %s", id, d)
	}
}
