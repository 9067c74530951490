package e2e

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"membersync/cmd/internal/test/incident"
)

// A realistic incident. A department is missing in the lookup table, so all events that name it are
// dead-lettered, while newer events arrive for some of the same employees. The operator inspects
// them, fixes the cause while the service runs, and redrives everything at a limited rate from a
// terminal.
func TestIncident(t *testing.T) {
	t.Parallel()
	s := incidentScale()
	o := newScenario(t)
	service := o.start(nil)
	service.awaitReady()
	o.produce(incident.Generate(1, s.events, 6))
	o.settle()
	e, records := o.expect()
	wantEnough(o, s, e, len(records))
	o.CRM.wantMembers(e.Before)
	wantLook(o, e)

	o.cli.must("pause", "--yes", "--note=table is fixed", "--actor=sample@host")
	o.writeTable(true)
	service.Await(0, "lookup table read again")
	o.cli.must("resume", "--yes", "--actor=sample@host")
	wantPlan(o, e)
	redriveAtTerminal(o, s, e)
	service.Stop()

	o.CRM.wantMembers(e.After)
	o.CRM.wantNothingBack(e)
	after, _ := o.records()
	if d := cmp.Diff(records, after); d != "" {
		t.Errorf("the source topic is not what it was: %s", d)
	}
	wantAudit(o, e)
	for id, state := range o.states() {
		if want := e.Items[id].Outcome; state != want && (want != incident.Either || state == "open") {
			t.Errorf("%s is %s, want %s", id, state, want)
		}
	}
}

func wantEnough(o *scenario, s scale, e incident.Expectation, records int) {
	o.t.Helper()
	o.t.Logf("real Kafka %t; %d events, %d dead letters, by newer values: %v", o.Broker.Real(), records, len(e.Items), e.NewerValues())
	for _, how := range []string{incident.All, incident.Some, incident.None} {
		if n := e.NewerValues()[how]; n < s.each {
			o.t.Fatalf("%d have newer values (%s), want %d at least", n, how, s.each)
		}
	}
}

// wantLook checks every view of the dead letters before the cause is fixed.
func wantLook(o *scenario, e incident.Expectation) {
	o.t.Helper()
	groups := o.cli.must("dlq", "list", "--group-by=reason")
	if len(groups) != 1 || text(groups[0], "group") != "unresolved_reference" || text(groups[0], "count") != strconv.Itoa(len(e.Items)) {
		o.t.Errorf("groups %v, want %d of unresolved_reference", groups, len(e.Items))
	}
	listed := map[string]bool{}
	for _, one := range o.cli.must("dlq", "list") {
		id := text(one, "id")
		want := e.Items[id]
		if listed[id] || text(one, "event_id") != "" && text(one, "event_id") != want.EventID || text(one, "employee_id") != want.EmployeeID {
			o.t.Errorf("listed: %v, want %+v", one, want)
		}
		listed[id] = true
	}
	if len(listed) != len(e.Items) {
		o.t.Errorf("%d listed, want %d", len(listed), len(e.Items))
	}
	one := slices.Sorted(maps.Keys(e.Items))[0]
	o.cli.must("dlq", "show", one, "--reveal", "--note=which department?", "--actor=sample@host")
	_, _, stderr := o.cli.do("dlq", "redrive", "--all", "--dry-run")
	if want := fmt.Sprintf("newer values: 0 all, 0 some, 0 none, 0 unknown; %d state no fields or would fail again", len(e.Items)); !strings.Contains(stderr, want) {
		o.t.Errorf("before the cause is fixed the plan says %q, want %q", stderr, want)
	}
}

// wantPlan checks that the dry run reports of each item what the oracle does.
func wantPlan(o *scenario, e incident.Expectation) {
	o.t.Helper()
	status, stdout, stderr := o.cli.do("dlq", "redrive", "--reason=unresolved_reference", "--dry-run", "-o", "json")
	n := e.NewerValues()
	want := fmt.Sprintf("newer values: %d all, %d some, %d none, 0 unknown; 0 state no fields", n[incident.All], n[incident.Some], n[incident.None])
	if status != 0 || !strings.Contains(stderr, want) {
		o.t.Errorf("the plan ends with %d and says %q, want %q", status, stderr, want)
	}
	planned := map[string]string{}
	for _, one := range objects(o.t, stdout) {
		planned[text(one, "id")] = text(one, "result") + ": " + text(one, "detail")
	}
	expected := map[string]string{}
	for id, item := range e.Items {
		expected[id] = "would redrive: update, newer values: " + item.NewerValues
	}
	if d := cmp.Diff(expected, planned); d != "" {
		o.t.Errorf("the plan: %s", d[:min(len(d), 3000)])
	}
}

// redriveAtTerminal redrives everything. The operator confirms and watches.
func redriveAtTerminal(o *scenario, s scale, e incident.Expectation) {
	o.t.Helper()
	p := o.cli.command("dlq", "redrive", "--reason=unresolved_reference", "--rate="+strconv.Itoa(s.rate), "--note=department added",
		"--actor=sample@host", "-o", "json")
	term := atTerminal(o.t, p)
	p.Launch()
	p.Await(0, `Redrive\? \[y/N\] `)
	began := time.Now()
	term.types(o.t, "y\n")
	status := p.Status()
	took := time.Since(began)
	if least := time.Duration(len(e.Items)-1) * time.Second / time.Duration(s.rate); status != 0 || took < least {
		o.t.Errorf("status %d after %v, want 0 after %v at least: %s", status, took, least, &p.Err)
	}
	wantResults(o.t, e, objects(o.t, p.Out.String()))
	wantBar(o.t, len(e.Items), p.Err.String())
	o.t.Logf("%d redriven in %.1f s, %.0f a second", len(e.Items), took.Seconds(), float64(len(e.Items))/took.Seconds())
}

func wantResults(t *testing.T, e incident.Expectation, printed []map[string]any) {
	t.Helper()
	seen := map[string]bool{}
	for _, one := range printed {
		id, result := text(one, "id"), text(one, "result")
		if want := e.Items[id].Outcome; seen[id] || result != want && (want != incident.Either || result != incident.Applied && result != incident.Superseded) {
			t.Errorf("%s has the result %s, want %q, and once", id, result, want)
		}
		seen[id] = true
	}
	if len(seen) != len(e.Items) {
		t.Errorf("%d results, want %d", len(seen), len(e.Items))
	}
}

// wantBar checks that a progress bar moves and shows the remaining time.
func wantBar(t *testing.T, total int, shown string) {
	t.Helper()
	bars := regexp.MustCompile(`\[[#.]{30}\] (\d+) of (\d+), \S+ to go`).FindAllStringSubmatch(shown, -1)
	last := 0
	for _, bar := range bars {
		at, _ := strconv.Atoi(bar[1])
		if at <= last || at > total || bar[2] != strconv.Itoa(total) {
			t.Errorf("the bar says %q after %d", bar[0], last)
		}
		last = at
	}
	if len(bars) < 2 {
		t.Errorf("%d progress bars are shown: %q", len(bars), shown)
	}
}

// wantAudit checks that the audit topic holds every step and nothing else.
func wantAudit(o *scenario, e incident.Expectation) {
	o.t.Helper()
	want := map[string]int{"pause": 1, "resume": 1, "reveal": 1, "redrive requested": len(e.Items), "redrive_result": len(e.Items)}
	got, audit := map[string]int{}, o.audit()
	results := audit.results()
	for _, a := range audit {
		what := a.Action
		switch a.Action {
		case "redrive":
			what += " " + a.Result
			if a.Actor != "sample@host" || a.Note != "department added" || a.Detail.Number != 1 {
				o.t.Errorf("audit: %+v", a)
			}
		case "redrive_result":
			if want := e.Items[a.Subject].Outcome; want != incident.Either && a.Result != want || a.Detail.By != "sample@host" || a.Actor != o.Group {
				o.t.Errorf("audit: %+v, want %s", a, want)
			}
		default:
			if a.Actor != "sample@host" {
				o.t.Errorf("audit: %+v", a)
			}
		}
		got[what]++
	}
	if d := cmp.Diff(want, got); d != "" || len(results) != len(e.Items) {
		o.t.Errorf("audit, of %d items results: %s", len(results), d)
	}
}
