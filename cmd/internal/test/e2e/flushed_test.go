package e2e

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"membersync/cmd/internal/test/incident"
)

// A view is what the on-call commands show of the dead letters.
type view struct {
	List  []map[string]any
	Shown map[string]map[string]any // by id, without what is superseded
	Audit auditLog
}

// see lists all dead letters and shows one of each kind. It also returns how much of each is
// superseded, as the commands report it.
func see(o *scenario, e incident.Expectation) (s view, newer map[string]string) {
	o.t.Helper()
	s, newer = view{List: o.cli.must("dlq", "list", "--state=all"), Shown: map[string]map[string]any{}}, map[string]string{}
	for _, id := range oneOfEach(e) {
		shown := o.cli.must("dlq", "show", id)[0]
		now, _ := shown["now"].([]any)
		for _, one := range now {
			event, _ := one.(map[string]any)
			newer[id] = text(event, "newer_values")
			delete(event, "newer_values")
			delete(event, "newer_fields")
		}
		s.Shown[id] = shown
	}
	s.Audit = o.audit()
	return s, newer
}

// oneOfEach returns one item whose fields all have newer values, one with some, and one with none.
func oneOfEach(e incident.Expectation) []string {
	byKind := map[string]string{}
	for _, id := range slices.Sorted(maps.Keys(e.Items)) {
		byKind[e.Items[id].NewerValues] = id
	}
	return slices.Sorted(maps.Values(byKind))
}

// Redis is emptied between the incident and the redrive, while the service runs. The dead letters
// and their states stay known, nothing is redriven until the state is rebuilt, and then everything
// ends as it would have without the loss.
func TestRedisEmptiedBeforeTheRedrive(t *testing.T) {
	t.Parallel()
	o := newScenario(t)
	first := o.start(nil)
	o.produce(incident.Generate(2, smallScale().events, 6))
	o.settle()
	first.Stop()
	o.writeTable(true)
	service := o.start(nil)
	service.awaitReady()
	e, _ := o.expect()
	o.cli.must("dlq", "show", oneOfEach(e)[0], "--reveal", "--note=test", "--actor=sample@host") // is audited
	before, newer := see(o, e)

	o.redis.empty()
	after, unknown := see(o, e)
	if d := cmp.Diff(before, after); d != "" {
		t.Errorf("the views change without Redis: %s", d[:min(len(d), 3000)])
	}
	for id := range newer {
		if newer[id] != e.Items[id].NewerValues || unknown[id] != "unknown" {
			t.Errorf("%s has newer values %s, and then %s; want %s, and then unknown", id, newer[id], unknown[id], e.Items[id].NewerValues)
		}
	}
	if status, _, stderr := o.cli.do("dlq", "redrive", "--all", "--yes"); status != 1 || !strings.Contains(stderr, "membersync state rebuild") {
		t.Errorf("status %d: %s", status, stderr)
	}
	if n := len(o.Broker.ReadAll(t, o.Topic+".redrive")); n > 0 {
		t.Errorf("%d redrives were sent without the state", n)
	}

	o.cli.must("state", "rebuild", "--yes", "--actor=sample@host")
	if _, again := see(o, e); cmp.Diff(newer, again) != "" {
		t.Errorf("after the rebuild: newer values %v, want %v", again, newer)
	}
	status, stdout, stderr := o.cli.do("dlq", "redrive", "--all", "--yes", "--actor=sample@host", "-o", "json")
	if status != 0 {
		t.Errorf("status %d: %s", status, stderr)
	}
	wantResults(t, e, objects(t, stdout))
	service.Stop()
	o.CRM.wantMembers(e.After)
	o.CRM.wantNothingBack(e)
}
