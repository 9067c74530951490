package cli

import (
	"fmt"
	"strings"
	"testing"

	"membersync/crmapi/crmapitest"
)

// An incident as it would be: the CRM does not know a department, so all that name it die; meanwhile newer events come for
// some. Then the cause is mended, looked at, and everything is run again. The source topic stays as it is, nothing goes
// back in time, and each step is in the audit topic.
func TestIncident(t *testing.T) {
	t.Parallel()
	const each = 20 // fully, partly and not overtaken
	o := newOffice(t)
	o.set("DLQ_STORM_SHARE", "0")
	o.set("CRM_RATE", "0")
	member := func(i int) string { return fmt.Sprintf("FSUID_TEST%d", i) }
	for i := range 3 * each {
		o.crm.Push(crmapitest.Fault{Member: member(i), Times: 1, Code: 20012})
		o.change(t, 1000+i, i, `{"position":"old","qq":"old"}`)
	}
	stop := o.running(t)
	o.drained(t)
	want := map[int][2]string{}
	for i := range 3 * each {
		switch i / each {
		case 0:
			o.change(t, 2000+i, i, `{"position":"new","qq":"new"}`)
			want[i] = [2]string{"new", "new"}
		case 1:
			o.change(t, 2000+i, i, `{"position":"new"}`)
			want[i] = [2]string{"new", "old"}
		default:
			want[i] = [2]string{"old", "old"}
		}
	}
	o.drained(t)
	before := len(o.broker.ReadAll(t, o.topics.Source))
	groups := objects(t, o.must(t, "dlq", "list", "--group-by", "reason", "-o", "json"))
	if len(groups) != 1 || groups[0]["group"] != "crm_not_found" || groups[0]["count"] != 3.0*each {
		t.Errorf("groups: %v", groups)
	}
	status, stdout, stderr := o.do(t, "dlq", "redrive", "--reason=crm_not_found", "--dry-run")
	if status != exitDone || strings.Count(stdout, "would redrive") != 3*each ||
		!strings.Contains(stderr, fmt.Sprintf("%d fully, %d partly, %d not, 0 unknown; 0 state nothing", each, each, each)) {
		t.Errorf("status %d: %s", status, stderr)
	}
	o.app.Terminal, o.app.Stdin = true, strings.NewReader("y\n")
	status, stdout, stderr = o.do(t, "dlq", "redrive", "--reason=crm_not_found", "--rate=20", "--note=created", "--actor=sample@host")
	if status != exitDone || strings.Count(stdout, " applied") != 2*each || strings.Count(stdout, " superseded") != each {
		t.Errorf("status %d: %s%s", status, stdout, stderr)
	}
	if !strings.Contains(stderr, "of 60, ") || !strings.Contains(stderr, "to go") || !strings.Contains(stderr, "at 20 a second: 3s") {
		t.Errorf("no progress: %q", stderr)
	}
	stop()
	for i, w := range want {
		state := o.crm.State(member(i))
		if got := [2]string{string(state["position"]), string(state["qq"])}; got != [2]string{`"` + w[0] + `"`, `"` + w[1] + `"`} {
			t.Errorf("member %d: %v, want %v", i, got, w)
		}
	}
	if after := len(o.broker.ReadAll(t, o.topics.Source)); after != before {
		t.Errorf("the source topic has %d records, had %d", after, before)
	}
	count := map[string]int{}
	for _, line := range o.audit(t) {
		count[strings.Fields(line)[0]]++
	}
	if count["redrive"] != 3*each || count["redrive_result"] != 3*each || len(count) != 2 {
		t.Errorf("audit: %v", count)
	}
	if open := o.ids(t); len(open) != 0 {
		t.Errorf("still open: %v", open)
	}
}
