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
	first.terminate()
	o.writeTable(true)
	e, records := o.expect()
	n := len(e.Items)

	victim := o.startVictim()
	command := o.begin("dlq", "redrive", "--all", "--yes", "--rate="+strconv.Itoa(s.rate))
	o.awaitAudit("results", func(_, results int) bool { return results >= n/4 })
	o.CRM.Block(crmapitest.AfterEffect)
	o.killWithOpenCalls(victim)
	o.awaitAudit("half to be recorded", func(requested, _ int) bool { return requested >= n/2 })
	command.kill()
	sent := o.wantBetween(e)
	for _, share := range []int{5, 6} {
		command = o.begin("dlq", "redrive", "--all", "--yes", "--rate=100")
		o.awaitAudit("more to be recorded", func(requested, _ int) bool { return requested >= n*share/8 })
		command.kill()
		o.wantBetween(e)
	}
	o.wantNoService()

	var newer []int // employees with newer events while no service runs
	for i := range n / 2 {
		newer = append(newer, 3*i)
	}
	o.produce(incident.Newer(newer, 6))
	late, _ := o.expect()
	o.CRM.Block(crmapitest.BeforeEffect)
	victim = o.startVictim()
	command = o.begin("dlq", "redrive", "--all", "--yes", "--actor=sample@host", "-o", "json")
	o.killWithOpenCalls(victim)
	last := o.start(nil)
	if status := command.status(); status != 0 {
		t.Errorf("status %d: %s", status, command.out)
	}
	o.settle()
	last.terminate()

	o.wantEnds(e, late)
	o.wantSentOnce(n)
	o.wantMembers(late.After)
	o.wantNothingBack(late)
	again := late.Sent(o.appliedCalls())
	for id, calls := range sent {
		if again[id] != calls {
			t.Errorf("%s had its result after %d calls, and then there were %d", id, calls, again[id])
		}
	}
	t.Logf("%d events, %d items; %d had their result before the first kill", len(records), n, len(sent))
}

// awaitAudit waits until the audit topic has enough redrives and items with a result.
func (o *scenario) awaitAudit(what string, ok func(requested, results int) bool) {
	o.t.Helper()
	servicetest.Eventually(o.t, what, func() bool {
		requested := 0
		for _, a := range o.audit() {
			if a.Action == "redrive" {
				requested++
			}
		}
		return ok(requested, len(o.results()))
	})
}

// killWithOpenCalls kills the service while the CRM holds some of its calls open.
func (o *scenario) killWithOpenCalls(victim *process) {
	o.t.Helper()
	o.await("calls to be held", func(s crmapitest.Stats) bool { return s.Blocked >= 3 })
	victim.kill()
	o.await("the calls of the killed process to end", func(s crmapitest.Stats) bool { return s.Open == 0 })
	o.shortenLeases()
	o.CRM.Release()
	o.evict()
}

// wantBetween checks the states against the audit topic and returns how many calls the items with a
// result have had.
func (o *scenario) wantBetween(e incident.Expectation) map[string]int {
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
	sent, byItem := e.Sent(o.appliedCalls()), o.results()
	for id, results := range byItem {
		o.wantResult(id, results[0], e)
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
func (o *scenario) wantResult(id, result string, expected ...incident.Expectation) {
	o.t.Helper()
	var want []string
	for _, e := range expected {
		if outcome := e.Items[id].Outcome; outcome != incident.Either {
			want = append(want, outcome)
		} else {
			want = append(want, incident.Applied, incident.Superseded)
		}
	}
	if !slices.Contains(want, result) {
		o.t.Errorf("%s has the result %q, want one of %q", id, result, want)
	}
}

// wantNoService checks that the command sends what is left and then reports that no instance
// responds.
func (o *scenario) wantNoService() {
	o.t.Helper()
	began := time.Now()
	status, _, stderr := o.do("dlq", "redrive", "--all", "--yes")
	took := time.Since(began)
	if status != 3 || !strings.Contains(stderr, "no instance of the service is running") || took > 30*time.Second {
		o.t.Errorf("without a service: status %d after %v: %s", status, took, stderr)
	}
	o.t.Logf("without a service the command says so after %.1f s", took.Seconds())
}

// wantEnds checks that each item has the state of its result, whichever delivery wrote it.
func (o *scenario) wantEnds(expected ...incident.Expectation) {
	o.t.Helper()
	states := o.states()
	for id, results := range o.results() {
		o.wantResult(id, results[0], expected...)
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
func (o *scenario) wantSentOnce(items int) {
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
