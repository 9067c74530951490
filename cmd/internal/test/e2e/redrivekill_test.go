package e2e

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"membersync/cmd/internal/test/incident"
	"membersync/cmd/internal/test/testbed/servicetest"
	"membersync/crmapi/crmapitest"
)

// The service is killed twice in the middle of a redrive, and the command three times. No item has
// a wrong state, resuming sends nothing twice, an item with a result causes no further call, and
// without a service the command reports that within 30 s.
func TestKilledDuringARedrive(t *testing.T) {
	t.Parallel()
	o, s := newScenario(t), smallScale()
	first := o.start(nil)
	o.produce(incident.Generate(3, s.events, 6))
	o.settle()
	first.Stop()
	o.writeTable(true)
	e, records := o.expect()
	n := len(e.Items)

	victim := o.startVictim()
	command := o.cli.begin("dlq", "redrive", "--all", "--yes", "--rate="+strconv.Itoa(s.rate))
	awaitAudit(o, "results", func(_, results int) bool { return results >= n/4 })
	o.CRM.Block(crmapitest.AfterEffect)
	killWithOpenCalls(o, victim)
	awaitAudit(o, "half to be recorded", func(requested, _ int) bool { return requested >= n/2 })
	command.End()
	sent := wantBetween(o, e)
	for _, share := range []int{5, 6} {
		command = o.cli.begin("dlq", "redrive", "--all", "--yes", "--rate=100")
		awaitAudit(o, "more to be recorded", func(requested, _ int) bool { return requested >= n*share/8 })
		command.End()
		wantBetween(o, e)
	}
	wantNoService(o)

	var newer []int // employees with newer events while no service runs
	for i := range n / 2 {
		newer = append(newer, 3*i)
	}
	o.produce(incident.Newer(newer, 6))
	late, _ := o.expect()
	o.CRM.Block(crmapitest.BeforeEffect)
	victim = o.startVictim()
	command = o.cli.begin("dlq", "redrive", "--all", "--yes", "--actor=sample@host", "-o", "json")
	killWithOpenCalls(o, victim)
	last := o.start(nil)
	if status := command.Status(); status != 0 {
		t.Errorf("status %d: %s", status, &command.Err)
	}
	o.settle()
	last.Stop()

	wantEnds(o, e, late)
	wantSentOnce(o, n)
	o.CRM.wantMembers(late.After)
	o.CRM.wantNothingBack(late)
	again := late.Sent(o.CRM.appliedCalls())
	for id, calls := range sent {
		if again[id] != calls {
			t.Errorf("%s had its result after %d calls, and then there were %d", id, calls, again[id])
		}
	}
	t.Logf("%d events, %d items; %d had their result before the first kill", len(records), n, len(sent))
}

// awaitAudit waits until the audit topic has enough redrives and items with a result.
func awaitAudit(o *scenario, what string, ok func(requested, results int) bool) {
	o.t.Helper()
	servicetest.Eventually(o.t, what, func() bool {
		requested, audit := 0, o.audit()
		for _, a := range audit {
			if a.Action == "redrive" {
				requested++
			}
		}
		return ok(requested, len(audit.results()))
	})
}

// killWithOpenCalls kills the service while the CRM holds some of its calls open.
func killWithOpenCalls(o *scenario, victim *process) {
	o.t.Helper()
	o.CRM.await("calls to be held", func(s crmapitest.Stats) bool { return s.Blocked >= 3 })
	victim.End()
	o.CRM.await("the calls of the killed process to end", func(s crmapitest.Stats) bool { return s.Open == 0 })
	o.redis.shortenLeases()
	o.CRM.Release()
	o.evict()
}

// wantBetween checks the states against the audit topic and returns how many calls the items with a
// result have had.
func wantBetween(o *scenario, e incident.Expectation) map[string]int {
	o.t.Helper()
	want := map[string]string{}
	for id := range e.Items {
		want[id] = "open"
	}
	for _, a := range o.audit() {
		switch {
		case a.Action == "redrive" && want[a.Subject] == "open":
			want[a.Subject] = "redriving"
		case a.Action == "redrive_result":
			want[a.Subject] = a.Result
		}
	}
	if d := cmp.Diff(want, o.states()); d != "" {
		o.t.Errorf("states: %s", d[:min(len(d), 3000)])
	}
	sent, byItem := e.Sent(o.CRM.appliedCalls()), o.audit().results()
	for id, results := range byItem {
		wantResult(o.t, id, results[0], e)
		if calls, own := sent[id]; own && results[0] == incident.Applied && calls == 0 {
			o.t.Errorf("%s is reported as applied, but no call had its value", id)
		}
	}
	for id := range sent {
		if len(byItem[id]) == 0 {
			delete(sent, id)
		}
	}
	return sent
}

// wantResult checks for one of the results that the oracle expects before or after newer events.
func wantResult(t *testing.T, id, result string, expected ...incident.Expectation) {
	t.Helper()
	var want []string
	for _, e := range expected {
		if outcome := e.Items[id].Outcome; outcome != incident.Either {
			want = append(want, outcome)
		} else {
			want = append(want, incident.Applied, incident.Superseded)
		}
	}
	if !slices.Contains(want, result) {
		t.Errorf("%s has the result %q, want one of %q", id, result, want)
	}
}

// wantNoService checks that the command sends what is left and then reports that no instance
// responds.
func wantNoService(o *scenario) {
	o.t.Helper()
	began := time.Now()
	status, _, stderr := o.cli.do("dlq", "redrive", "--all", "--yes")
	took := time.Since(began)
	if status != 3 || !strings.Contains(stderr, "no instance of the service is running") || took > 30*time.Second {
		o.t.Errorf("without a service: status %d after %v: %s", status, took, stderr)
	}
	o.t.Logf("without a service the command says so after %.1f s", took.Seconds())
}

// wantEnds checks that each item has the state of its result, whichever delivery wrote it.
func wantEnds(o *scenario, expected ...incident.Expectation) {
	o.t.Helper()
	states := o.states()
	for id, results := range o.audit().results() {
		wantResult(o.t, id, results[0], expected...)
		if compact := slices.Compact(slices.Clone(results)); len(compact) > 1 || states[id] != results[0] {
			o.t.Errorf("%s is %s; its results are %q", id, states[id], results)
		}
		delete(states, id)
	}
	if len(states) > 0 {
		o.t.Errorf("without a result: %v", states)
	}
}

// wantSentOnce checks for one record of each item in the redrive topic, and one request in the
// audit topic.
func wantSentOnce(o *scenario, items int) {
	o.t.Helper()
	sent := map[string]int{}
	for _, m := range o.Broker.ReadAll(o.t, o.Topic+".redrive") {
		facts := map[string]string{}
		for _, h := range m.Headers {
			facts[h.Key] = string(h.Value)
		}
		sent[fmt.Sprintf("%s, redrive %s", facts["dlq.id"], facts["redrive.number"])]++
	}
	for _, a := range o.audit() {
		if a.Action == "redrive" {
			sent[fmt.Sprintf("%s, redrive %d", a.Subject, a.Detail.Number)]++
		}
	}
	for what, times := range sent {
		if times != 2 {
			o.t.Errorf("%s: %d records in both topics, want one in each", what, times)
		}
	}
	if len(sent) != items {
		o.t.Errorf("%d redrives, want %d", len(sent), items)
	}
}
