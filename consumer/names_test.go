package consumer_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"membersync/crmapi/crmapitest"
)

// A rejected event writes a line to the log, and a dead letter. Operators search for the attributes
// and headers by name, so these names are fixed.
func TestLogAttributesAndHeadersOfADeadLetteredEvent(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.crm.Push(crmapitest.Fault{Code: 20012})
	inst := r.start()
	r.process(r.change(1, fields{"position": "x"}))
	inst.stop()

	var line map[string]any
	for text := range strings.Lines(r.logs.String()) {
		if strings.Contains(text, `"event finished"`) {
			if err := json.Unmarshal([]byte(text), &line); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := []string{
		"outcome", "reason", "event_id", "employee_id", "topic", "partition", "offset",
		"crm_code", "crm_trace_id", "third_trace_id",
	}
	for _, name := range want {
		if line[name] == nil || line[name] == "" {
			t.Errorf("the log has no %s: %v", name, line)
		}
	}
	if got, most := len(line), len(want)+len([]string{"time", "level", "msg", "error"}); got > most {
		t.Errorf("%d attributes, want at most %d: %v", got, most, line)
	}

	var headers []string
	for _, h := range r.kafka.ReadAll(t, r.kafka.topic+".dlq")[0].Headers {
		headers = append(headers, h.Key)
	}
	slices.Sort(headers)
	names := []string{
		"dlq.attempts", "dlq.crm.code", "dlq.crm.trace.id", "dlq.employee.id", "dlq.error",
		"dlq.event.count", "dlq.event.id", "dlq.event.index", "dlq.failed.at", "dlq.first.failed.at",
		"dlq.group", "dlq.id", "dlq.membersync.version", "dlq.reason", "dlq.redrives",
		"dlq.source.offset", "dlq.source.partition", "dlq.source.timestamp",
		"dlq.source.topic", "dlq.stage", "dlq.third.trace.id",
	}
	if d := cmp.Diff(names, headers); d != "" {
		t.Errorf("headers of the dead letter (-contract +got): %s", d)
	}
}
