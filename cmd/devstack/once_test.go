package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"membersync/cmd/internal/test/testbed/servicetest"
	"membersync/consumer"
	"membersync/dlq"
)

// TestOnce plays the script with each form of an update. The CRM accepts only that form.
func TestOnce(t *testing.T) {
	t.Parallel()
	for api, call := range map[string]string{
		userAPI:   `{"openUserId":"FSUID_TEST0002","mobile":"00000000002"}`,
		objectAPI: `{"dataObjectApiName":"PersonnelObj","_id":"FSUID_TEST0002","phone":"00000000002"}`,
	} {
		t.Run(api, func(t *testing.T) {
			t.Parallel()
			once(t, api, call)
		})
	}
}

func once(t *testing.T, api, sent string) {
	t.Helper()
	status, out, errs := call(t, "--once", "--verbose", "--crm-api", api)
	if status != exitDone || errs != "" {
		t.Fatalf("status %d, stderr %s\n%s", status, errs, out)
	}
	if !strings.Contains(out, "\nAs expected: all 9 members") {
		t.Error("no differences")
	}
	wanted := counted(theScript())
	if diff := cmp.Diff(wanted, summary(t, out)); diff != "" {
		t.Errorf("events by outcome and reason (-script +summary):\n%s", diff)
	}
	assertAccount(t, out, sent)
}

// counted returns the expected result of the script, by outcome and by reason.
func counted(script []act) map[string]int {
	n := map[string]int{}
	for _, act := range script {
		for _, r := range act.rows {
			n[words(string(r.want))]++
			if r.reason != "" {
				n[string(r.reason)]++
			}
		}
	}
	return n
}

// summary reads the numbers of the summary.
func summary(t *testing.T, out string) map[string]int {
	t.Helper()
	_, text, found := strings.Cut(out, "\nSummary\n")
	if !found {
		t.Fatal("no summary")
	}
	n := map[string]int{}
	for _, pattern := range []string{`(?m)^    (\w[\w ]*\w) +(\d+)$`, `(\w+_\w+|malformed|oversized) (\d+)`} {
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
			var count int
			if _, err := fmt.Sscan(m[2], &count); err != nil {
				t.Fatal(err)
			}
			n[m[1]] = count
		}
	}
	return n
}

// assertAccount checks that the output has each row's outcome, and the sparse calls.
func assertAccount(t *testing.T, out, sent string) {
	t.Helper()
	for _, want := range []string{
		"call         " + sent + " -> ok",
		"applied        sent qq; left out position: a newer event states it",
		"superseded     left out position: a newer event in the same batch states it",
		"unchanged      left out position: the CRM holds this value",
		"unchanged      before and after are the same",
		"duplicate      no call",
		"ignored        deletion",
		"repeated after HTTP 503", "repeated after no response", "refused: errorCode 30007 (unknown department)",
		"dead lettered  malformed: sequence occurs twice",
		"dead lettered  invalid_field: after.gender is neither M nor F",
		"dead lettered  crm_not_found: errorCode 20012 (unknown member)",
		"dead lettered  crm_rejected: errorCode 201112011 (another member has it)",
		"(one call for 4 events)",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the account lacks %q", want)
		}
	}
	for _, act := range theScript() {
		for _, r := range act.rows {
			if !strings.Contains(out, "["+shown(r.note)+"]") {
				t.Errorf("the account does not say that %q arrived", r.note)
			}
		}
	}
}

func TestOnceFailsIfTheCRMIsNotAsExpected(t *testing.T) {
	t.Parallel()
	want := map[string]string{
		"FSUID_TEST0001": `{"fullName":"Sample Person 001","employeeNumber":"E0001","position":"Sample Boss","qq":"1"}`,
	}
	for n := 2; n <= samplePeople; n++ {
		want[member(n)] = fmt.Sprintf(`{"fullName":"Sample Person %03d","employeeNumber":"E%04d"}`, n, n)
	}
	delete(want, member(samplePeople))
	script := []act{{title: "One", rows: []row{
		good("a", consumer.Applied, "one", 1, 1, `"after":{"position":"Sample Lead"}`),
		dead("b", dlq.ReasonInvalidField, "poison", 1, 2, `"after":{"gender":"M"}`),
		good("c", consumer.Applied, "no dead letter is expected", 2, 2, `"after":{"gender":"X"}`),
	}}}
	out, errs := &servicetest.Output{}, &servicetest.Output{}
	status := runOnce(t.Context(), &arguments{logLevel: "error"}, env{stdout: out, stderr: errs}, script, want)
	if status != exitFailed {
		t.Errorf("status %d, stderr %s", status, errs)
	}
	_, differences, _ := strings.Cut(out.String(), "\nNOT as expected:\n")
	wantDifferences := `  FSUID_TEST0001.gender is "M", should be not set
  FSUID_TEST0001.position is "Sample Lead", should be "Sample Boss"
  FSUID_TEST0001.qq is not set, should be "1"
  FSUID_TEST0009 is an unexpected member
  no dead letter invalid_field for "poison"
`
	rest, found := strings.CutPrefix(differences, wantDifferences)
	if !found || !regexp.MustCompile(`^  unexpected dead letter \d:\d:0@\d{13} \(invalid_field\)\n$`).MatchString(rest) {
		t.Errorf("differences:\n%s", differences)
	}
}

// The expectation is written by hand. Here a loop over the script's JSON computes it with
// encoding/json alone.
func TestTheExpectationFollowsFromTheScript(t *testing.T) {
	t.Parallel()
	state := map[string]map[string]json.RawMessage{}
	for _, p := range people() {
		state[p.OpenUserID] = p.Fields
	}
	newest := map[string]int{}
	for _, act := range theScript() {
		for _, r := range act.rows {
			if r.want == consumer.Applied || r.want == consumer.Superseded {
				overlay(t, state, newest, r.value)
			}
		}
	}
	got, want := map[string]map[string]string{}, map[string]map[string]string{}
	for id, text := range expectation() {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal([]byte(text), &fields); err != nil {
			t.Fatalf("%s: %v", id, err)
		}
		want[id] = texts(fields)
	}
	for id, fields := range state {
		got[id] = texts(fields)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("members (-expectation +script):\n%s", diff)
	}
}

// overlay sets the fields that an event states, unless a newer one has stated them.
func overlay(t *testing.T, state map[string]map[string]json.RawMessage, newest map[string]int, value []byte) {
	t.Helper()
	var event struct {
		Sequence      int
		OpenUserID    string
		Before, After map[string]json.RawMessage
	}
	if err := json.Unmarshal(value, &event); err != nil {
		t.Fatal(err)
	}
	for name, v := range event.After {
		key := event.OpenUserID + "." + name
		if string(event.Before[name]) == string(v) || newest[key] > event.Sequence {
			continue
		}
		newest[key] = event.Sequence
		switch {
		case string(v) == "null":
			v = json.RawMessage(`""`)
		case name == "hireDate":
			v = json.RawMessage(`"1772438400000"`) // 2026-03-02T08:00:00Z
		}
		state[event.OpenUserID][name] = v
	}
}

func texts(fields map[string]json.RawMessage) map[string]string {
	all := map[string]string{}
	for name, v := range fields {
		all[name] = string(v)
	}
	return all
}

func TestTheScriptHasEachKindOfHappening(t *testing.T) {
	t.Parallel()
	n := counted(theScript())
	for _, o := range consumer.Outcomes() {
		if n[words(string(o))] == 0 {
			t.Errorf("nothing is %s", o)
		}
	}
	elsewhere := []dlq.Reason{
		dlq.ReasonRetriesExhausted,                                   // takes minutes
		dlq.ReasonUnresolved, dlq.ReasonNeedsFetch, dlq.ReasonRouted, // need a mapping file
		dlq.ReasonInvalidRedrive, // not caused by an event
	}
	for _, r := range dlq.Reasons() {
		if n[string(r)] == 0 && !slices.Contains(elsewhere, r) {
			t.Errorf("no dead letter has the reason %s", r)
		}
	}
	var all []string
	for _, act := range theScript() {
		all = append(all, notes(act.rows)...)
	}
	if slices.Sort(all); len(all) < 40 || len(slices.Compact(slices.Clone(all))) != len(all) {
		t.Errorf("%d rows, whose notes should differ: %q", len(all), all)
	}
}
