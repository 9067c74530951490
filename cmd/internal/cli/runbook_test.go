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
	"github.com/segmentio/kafka-go"

	"membersync/crmapi/crmapitest"
	"membersync/dlq"
)

// A remedy is how a dead letter of a reason comes to be, and how its cause is mended, for each way that the runbook offers.
type remedy struct {
	setup func(o *office)                      // before the service runs
	dies  func(t *testing.T, o *office, i int) // an event of employee i, which dies
	ways  []way
}

// A way is one block of commands, and what is done before they are given.
type way struct {
	mend    func(t *testing.T, o *office, i int) // the cause, for the letter of employee i
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

// hr is a mapping of canonical events but for what it is given.
func hr(openUserID, after, rest string) string {
	return "version: 1\nidentity: {event_id: $event.eventId, employee_id: $event.employeeId, open_user_id: " + openUserID + ", type: $event.type}\n" +
		"order: {kind: sequence, from: $event.sequence}\nstates: {after: " + after + "}\nfields: {position: position}\n" + rest
}

// remedies are by reason, their ways in the order of the runbook.
func remedies() map[dlq.Reason]remedy {
	discarded := way{mend: nothing, ends: dlq.StateDiscarded}
	byHand := func(more string) way {
		return way{mend: func(_ *testing.T, o *office, i int) { o.files["fixed.json"] = fmt.Sprintf(sent, i, more) }, ends: dlq.StateApplied, shows: needle}
	}
	restarted := func(mend func(*testing.T, *office, int)) way {
		return way{mend: mend, restart: true, ends: dlq.StateApplied, shows: needle}
	}
	mended := func(mend func(*testing.T, *office, int)) way {
		return way{mend: mend, ends: dlq.StateApplied, shows: needle}
	}
	return map[dlq.Reason]remedy{
		dlq.ReasonMalformed: {nil, value(`{"eventId":"ev-%d"`), []way{discarded, byHand("")}},
		dlq.ReasonOversized: {
			setting("KAFKA_MAX_RECORD_BYTES", "2KiB"), value(strings.ReplaceAll(sent, "%s", `,"note":"`+strings.Repeat("x", 3000)+`"`)),
			[]way{discarded, restarted(changed("KAFKA_MAX_RECORD_BYTES", "1MiB"))},
		},
		dlq.ReasonInvalidEvent: {nil, value(noNumber), []way{restarted(changed("MAPPING", "canonical-time")), byHand("")}},
		dlq.ReasonInvalidField: {
			nil, value(strings.ReplaceAll(sent, "%s", hired)), []way{discarded, byHand(""), restarted(changed("TIMEZONE", "Asia/Shanghai"))},
		},
		dlq.ReasonUnresolved: {mappedBy(hr("{from: $event.employeeId, lookup: members}", "$event.after", "lookups: {members: {redis: HASH}}\n")), value(strings.ReplaceAll(sent, "%s", "")), []way{mended(addEntry)}},
		dlq.ReasonNeedsFetch: {
			mappedBy(hr("$event.openUserId", "$event.after", "")), ofType("changed"),
			[]way{restarted(remapped(hr("$event.openUserId", "$event.now", "")))},
		},
		dlq.ReasonRouted: {
			mappedBy(hr("$event.openUserId", "$event.now", "routes: [{name: by hand, when: {type: [moved, changed]}, do: dead_letter}]\n")), ofType("changed"),
			[]way{discarded, restarted(remapped(hr("$event.openUserId", "$event.now", "routes: [{name: by hand, when: {type: moved}, do: dead_letter}]\n")))},
		},
		dlq.ReasonCRMNotFound: {refusing(crmapitest.CodeNoMember), value(strings.ReplaceAll(sent, "%s", "")), []way{discarded, mended(crmMended)}},
		dlq.ReasonCRMInvalid: {
			func(o *office) {
				o.set("CRM_ERROR_CODES", fmt.Sprintf("%d:poison:crm_invalid", crmapitest.CodeDuplicate))
				takenMobile(o)
			},
			value(strings.ReplaceAll(sent, "%s", `,"mobile":"00000000001"`)),
			[]way{discarded, byHand(`,"mobile":"00000000002"`)},
		},
		dlq.ReasonCRMRejected: {
			func(o *office) {
				o.set("CRM_ERROR_CODES", fmt.Sprintf("%d:poison:crm_rejected", crmapitest.CodeDuplicate))
				takenMobile(o)
			},
			value(strings.ReplaceAll(sent, "%s", `,"mobile":"00000000001"`)),
			[]way{mended(func(_ *testing.T, o *office, _ int) { o.crm.RemoveMember("FSUID_OTHER") })},
		},
		dlq.ReasonRetriesExhausted: {
			func(o *office) { refusing(-1)(o); o.set("CRM_RETRY_BUDGET", "1s") }, whileOthersAreServed, []way{mended(crmMended)},
		},
		dlq.ReasonInvalidRedrive: {refusing(crmapitest.CodeNoMember), copiedByHand, []way{mended(crmMended)}},
	}
}

func nothing(*testing.T, *office, int) {}

// value lets an event die that has this form.
func value(form string) func(*testing.T, *office, int) {
	return func(t *testing.T, o *office, i int) {
		t.Helper()
		text := form
		if strings.Contains(form, "%") {
			text = fmt.Sprintf(form, i)
		}
		o.broker.Produce(t, o.topics.Source, kafka.Message{Key: fmt.Appendf(nil, "E%d", i), Value: []byte(text), Time: o.died})
	}
}

func ofType(kind string) func(*testing.T, *office, int) {
	return func(t *testing.T, o *office, i int) {
		t.Helper()
		value(fmt.Sprintf(routing, i, kind))(t, o, i)
	}
}

func setting(name, to string) func(*office) { return func(o *office) { o.set(name, to) } }

func changed(name, to string) func(*testing.T, *office, int) {
	return func(_ *testing.T, o *office, _ int) { o.set(name, to) }
}

// mappedBy is a mapping file. HASH in it is a name in Redis that no other test has.
func mappedBy(text string) func(*office) {
	return func(o *office) {
		o.set("MAPPING", "hr.yaml")
		o.files["hr.yaml"] = strings.ReplaceAll(text, "HASH", o.hash())
	}
}

func remapped(text string) func(*testing.T, *office, int) {
	return func(_ *testing.T, o *office, _ int) { mappedBy(text)(o) }
}

func (o *office) hash() string { return "members-of-" + o.variable("REDIS_PREFIX") }

func addEntry(t *testing.T, o *office, i int) {
	t.Helper()
	employee, member := fmt.Sprintf("E%d", i), fmt.Sprintf("FSUID_TEST%d", i)
	if o.real == nil {
		o.redis.HSet(o.hash(), employee, member)
	} else if err := o.real.HSet(t.Context(), o.hash(), employee, member).Err(); err != nil {
		t.Fatal(err)
	}
}

// refusing lets the CRM answer each call for the first members with a code.
func refusing(code int) func(*office) {
	return func(o *office) {
		for i := range 4 {
			o.crm.Push(crmapitest.Fault{Member: fmt.Sprintf("FSUID_TEST%d", i), Times: -1, Code: code})
		}
	}
}

func crmMended(_ *testing.T, o *office, _ int) { o.crm.Clear() }

// takenMobile lets somebody else have a mobile.
func takenMobile(o *office) {
	o.crm.SetMember("FSUID_OTHER", map[string]json.RawMessage{"mobile": json.RawMessage(`"00000000001"`)})
}

// whileOthersAreServed lets a member fail beside others whose calls succeed, until its event has died.
func whileOthersAreServed(t *testing.T, o *office, i int) {
	t.Helper()
	value(strings.ReplaceAll(sent, "%s", ""))(t, o, i)
	sequence := 1000
	until(t, "the death", func() bool {
		for employee := range 4 {
			sequence++
			o.change(t, sequence, 10+employee, fmt.Sprintf(`{"position":"P%d"}`, sequence))
		}
		return len(o.ids(t)) > 0
	})
}

// copiedByHand is a dead letter as it stands, in the redrive topic.
func copiedByHand(t *testing.T, o *office, i int) {
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

// Each way of the runbook is gone with a dead letter of its reason: the cause is mended, the commands are typed as they are written,
// their questions are answered with yes, and at the end the letter is not open any more.
func TestRunbook(t *testing.T) {
	t.Parallel()
	all := remedies()
	for _, reason := range dlq.Reasons() {
		t.Run(string(reason), func(t *testing.T) {
			t.Parallel()
			o := newOffice(t)
			o.set("DLQ_STORM_SHARE", "0")
			o.set("CRM_RATE", "0")
			o.follow(t, reason, all[reason], blocks(t, reason))
		})
	}
	if len(all) != len(dlq.Reasons()) {
		t.Errorf("%d remedies for %d reasons", len(all), len(dlq.Reasons()))
	}
}

// follow goes the ways of one reason, a letter for each. A way that takes all letters of the reason comes last.
func (o *office) follow(t *testing.T, reason dlq.Reason, r remedy, written [][]string) {
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
		r.dies(t, o, i+1)
		until(t, "the dead letter", func() bool { return len(o.ids(t, "--reason", string(reason))) == i+1 })
	}
	slices.SortStableFunc(order, func(a, b int) int { return rankOf(written[a]) - rankOf(written[b]) })
	for _, i := range order {
		w, letter := r.ways[i], o.letterOf(t, reason, i)
		w.mend(t, o, i+1)
		if w.restart {
			stop()
			stop = o.running(t)
		}
		o.typed(t, written[i], letter)
		o.isMended(t, letter, w, i+1)
	}
	if open := o.ids(t); len(open) > 0 {
		t.Errorf("still open: %v", open)
	}
}

// rankOf puts what takes all letters of a reason behind what takes one.
func rankOf(commands []string) int {
	for _, c := range commands {
		if strings.Contains(c, "redrive --reason") {
			return 1
		}
	}
	return 0
}

// letterOf is the id of the letter that died as the i-th.
func (o *office) letterOf(t *testing.T, reason dlq.Reason, i int) string {
	t.Helper()
	ids := o.ids(t, "--state=all", "--reason", string(reason))
	if len(ids) <= i {
		t.Fatalf("%d letters", len(ids))
	}
	return ids[i]
}

// typed types commands, with the placeholders of the runbook replaced.
func (o *office) typed(t *testing.T, commands []string, id string) {
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

// isMended checks the state of the letter, and what the CRM shows.
func (o *office) isMended(t *testing.T, id string, w way, employee int) {
	t.Helper()
	ends := w.ends
	if strings.HasPrefix(id, "redrive:") { // the letter in the redrive topic is never run
		ends = dlq.StateDiscarded
	}
	if !slices.Contains(o.ids(t, "--state", string(ends)), id) {
		t.Errorf("%s is not %s: %s", id, ends, o.must(t, "dlq", "show", id))
	}
	if d := cmp.Diff(w.shows, string(o.crm.State(fmt.Sprintf("FSUID_TEST%d", employee))["position"])); d != "" {
		t.Errorf("the CRM's member of %s: %s", id, d)
	}
}
