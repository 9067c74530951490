package cli

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"

	"membersync/cmd/internal/ops"
	"membersync/cmd/internal/test/goldentest"
	"membersync/crmapi/crmapitest"
)

// story lets employee E1 have events of all fates.
func story(t *testing.T) *opsRig {
	t.Helper()
	o := newOpsRig(t)
	o.set("DLQ_STORM_SHARE", "0")
	o.hr.change(t, 3, 1, `{"position":"needle-B"}`)
	o.hr.change(t, 2, 1, `{"position":"needle-A"}`) // late
	o.hr.send(t, "E1", `{"eventId":"ev-4","sequence":4,"employeeId":"E1","openUserId":"FSUID_TEST1","before":{"qq":"1"},"after":{"qq":"1"}}`)
	o.hr.send(t, "E1", `{"eventId":"ev-5","sequence":5,"employeeId":"E1","openUserId":"FSUID_TEST1","before":{"qq":"1"},"after":null}`)
	o.hr.change(t, 6, 1, `{"gender":"X"}`)
	o.served(t)
	o.hr.change(t, 7, 1, `{"weixin":"needle-w"}`) // not processed
	return o
}

// What explain says of a replay is what the replay's own dry run counts, and what the replay then
// does.
func TestExplainPreviewsAReplay(t *testing.T) {
	t.Parallel()
	o := story(t)
	replay, reapply, _ := previewed(t, o)
	if d := cmp.Diff([]string{"done", "done", "done", "ignored", "done", "send"}, replay); d != "" {
		t.Errorf("replay: %s", d)
	}
	if d := cmp.Diff([]string{"send", "superseded", "unchanged", "ignored", "done", "send"}, reapply); d != "" {
		t.Errorf("with --reapply: %s", d)
	}
	if d := cmp.Diff(planned(t, o), tally(replay)); d != "" {
		t.Errorf("the dry run differs: %s", d)
	}
	if d := cmp.Diff(planned(t, o, "--reapply"), tally(reapply)); d != "" {
		t.Errorf("the dry run with --reapply differs: %s", d)
	}
	calls := len(o.crm.Calls())
	o.must(t, "replay", "--from=earliest", "--employee=E1", "--yes")
	if n := len(o.crm.Calls()) - calls; n != 1 || string(o.crm.State("FSUID_TEST1")["weixin"]) != `"needle-w"` {
		t.Errorf("%d calls", n)
	}
	if replay, _, _ := previewed(t, o); replay[5] != "done" {
		t.Errorf("after the replay: %v", replay)
	}
	o.state.empty(t)
	replay, reapply, next := previewed(t, o)
	refused := []string{"refused", "refused", "refused", "ignored", "refused", "refused"}
	if d := cmp.Diff([][]string{refused, refused}, [][]string{replay, reapply}); d != "" || !strings.HasPrefix(next, "refused: ") {
		t.Errorf("state lost, redrive %q: %s", next, d)
	}
}

// previewed is what explain says that a replay, one with --reapply, and a redrive would do.
func previewed(t *testing.T, o *opsRig) (replay, reapply []string, redrive string) {
	t.Helper()
	var told struct {
		Events []struct{ Replay, Reapply string }
		Next   []struct{ What string }
	}
	if err := json.Unmarshal([]byte(o.must(t, "explain", "E1", "-o", "json")), &told); err != nil {
		t.Fatal(err)
	}
	for _, e := range told.Events {
		replay, reapply = append(replay, e.Replay), append(reapply, e.Reapply)
	}
	if len(told.Next) > 0 {
		redrive = told.Next[0].What
	}
	return replay, reapply, redrive
}

func tally(fates []string) map[string]float64 {
	count := map[string]float64{}
	for _, f := range fates {
		count[f]++
	}
	return count
}

// planned is what the dry run of a replay counts.
func planned(t *testing.T, o *opsRig, more ...string) map[string]float64 {
	t.Helper()
	plan := objects(t, o.must(t, append([]string{"replay", "--from=0:0", "--employee=E1", "--dry-run", "-o", "json"}, more...)...))[0]
	count := map[string]float64{}
	for _, name := range []string{"send", "done", "superseded", "unchanged", "ignored", "poison"} {
		if n, _ := plan[name].(float64); n > 0 {
			count[name] = n
		}
	}
	return count
}

// The text has the events in the order of time, each with its outcome, and that in a replay.

// stamp is a time of today, which differs from run to run, with its fraction and what fills its
// column.
var stamp = regexp.MustCompile(`20[0-9-]+T[0-9:]+(\.[0-9]+)?Z( )? *`)

// hash is a member's name in Redis.
var (
	hash       = regexp.MustCompile(`[0-9a-f]{32}`)
	memberHash = regexp.MustCompile(`(in Redis |"member":")[\w-]{22}`)
)

func TestExplainText(t *testing.T) {
	t.Parallel()
	o := story(t)
	early := `{"eventId":"ev-1","sequence":1,"employeeId":"E1","openUserId":"FSUID_TEST1","after":{"qq":"needle"}}`
	o.broker.Produce(t, o.topics.Source, kafka.Message{Partition: 2, Value: []byte(early), Time: o.hr.at.Add(-60e9)})
	text := o.must(t, "explain", "E1")
	goldentest.Compare(t, "testdata/explain-table.txt", stamp.ReplaceAllString(noAges(hash.ReplaceAllString(memberHash.ReplaceAllString(text, "${1}HASH"), "HASH")), "TIME$2"))
	_, events, _ := strings.Cut(text, "\nRECORD")
	events, rest, _ := strings.Cut(events, "\n\n")
	var got []string
	for line := range strings.Lines(events) {
		if cells := strings.Fields(line); len(cells) > 3 && strings.Contains(cells[0], ":") {
			got = append(got, strings.Join(append(cells[:1:1], cells[3:]...), " "))
		}
	}
	want := []string{
		"2:0:0 0 - send send", "0:0:0 0 applied done send", "0:1:0 0 superseded done superseded", "0:2:0 0 unchanged done unchanged",
		"0:3:0 0 - ignored ignored", "0:4:0 0 dead_lettered done done", "0:5:0 0 - send send",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s in %s", d, text)
	}
	if !strings.Contains(rest, "a redrive of 0:4:0: rejected") || !strings.Contains(rest, "CAUSE  no_instance") || strings.Contains(text, "needle") {
		t.Error(text)
	}
}

// The dead letter of a record that could not be read as a whole names no employee; the record's key
// does.
func TestExplainOfARecordThatCannotBeRead(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	o.set("DLQ_STORM_SHARE", "0")
	o.hr.send(t, "E1", `{"eventId":`)
	o.served(t)
	explains(t, o, scenario{ops.CauseDeadLettered, nil, "is dead letter 0:0" + sampleTime + " (malformed)", ""})
}

// Of two events in one record, each has its own end.
func TestExplainOfTwoEventsInARecord(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		first, second string
		want          scenario
	}{
		"the first fails":  {"X", "M", scenario{ops.CauseEarlierDeadLetter, nil, "the earlier dead letter 0:0:0", `"needle-2"`}},
		"the second fails": {"M", "X", scenario{ops.CauseDeadLettered, nil, "dead letter 0:0:1", `"needle-1"`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOpsRig(t)
			o.set("DLQ_STORM_SHARE", "0")
			o.set("MAPPING", "list.yaml")
			o.files["list.yaml"] = "version: 1\nenvelope: {kind: plain, list: $event.changes}\n" +
				"identity: {event_id: $item.id, employee_id: $item.employee, open_user_id: $item.member}\n" +
				"order: {kind: sequence, from: $item.n}\nstates: {after: $item.is}\nfields: {position: position, gender: sex}\n"
			o.hr.send(t, "E1", `{"changes":[{"id":"a","employee":"E1","member":"FSUID_TEST1","n":1,"is":{"position":"needle-1","sex":"`+tc.first+`"}},
				{"id":"b","employee":"E1","member":"FSUID_TEST1","n":2,"is":{"position":"needle-2","sex":"`+tc.second+`"}}]}`)
			o.served(t)
			explains(t, o, tc.want)
		})
	}
}

// A latest event that was redriven is not "dead_lettered", although an earlier dead letter is open.
func TestExplainOfARedrivenEventBehindAnOpenDeadLetter(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	o.set("DLQ_STORM_SHARE", "0")
	o.crm.Push(crmapitest.Fault{Member: "FSUID_TEST1", Times: 2, Code: crmapitest.CodeNoMember})
	o.hr.change(t, 1, 1, `{"qq":"needle-1"}`)
	o.served(t)
	o.hr.change(t, 2, 1, `{"position":"needle-A"}`)
	o.served(t)
	o.serving(t)
	o.must(t, redriveArgs("0:1:0")...)
	explains(t, o, scenario{ops.CauseEarlierDeadLetter, nil, "is applied, but the earlier dead letter 0:0:0", `"needle-A"`})
}

// A record that repeats an event is a duplicate: only the first one was sent.
func TestExplainOfADuplicate(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		play     func(*opsRig)
		want     scenario
		outcomes []any
	}{
		"of an applied event": {
			func(*opsRig) {},
			scenario{ops.CauseApplied, nil, ") repeats the one at 0:0, which was applied; ", `"needle-A"`},
			[]any{"applied", "duplicate"},
		},
		"of a dead letter": {
			func(o *opsRig) { o.crm.Push(crmapitest.Fault{Member: "FSUID_TEST1", Code: crmapitest.CodeNoMember}) },
			scenario{ops.CauseDeadLettered, nil, ") repeats the one at 0:0, which is dead letter 0:0:0" + sampleTime, ""},
			[]any{"dead_lettered", "duplicate"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOpsRig(t)
			o.set("DLQ_STORM_SHARE", "0")
			tc.play(o)
			for range 2 {
				o.hr.change(t, 1, 1, `{"position":"needle-A"}`)
				o.served(t)
			}
			explains(t, o, tc.want)
			if n := len(o.crm.Calls()); n != 1 {
				t.Errorf("%d calls", n)
			}
			var got []any
			events, _ := objects(t, o.must(t, "explain", "E1", "-o", "json"))[0]["events"].([]any)
			for _, e := range events {
				one, _ := e.(map[string]any)
				got = append(got, one["outcome"])
			}
			if d := cmp.Diff(tc.outcomes, got); d != "" {
				t.Error(d)
			}
		})
	}
}
