package e2e

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"

	"membersync/cmd/internal/test/oracle/outcome"
	"membersync/crmapi/crmapitest"
)

// factNames returns the headers of the contract. They are repeated here, so that a mistake in the
// code that writes them is not hidden by the same mistake in the code that reads them.
func factNames() []string {
	return []string{
		"dlq.id", "dlq.reason", "dlq.stage", "dlq.error", "dlq.crm.code", "dlq.crm.trace.id", "dlq.third.trace.id",
		"dlq.event.id", "dlq.employee.id", "dlq.event.index", "dlq.event.count", "dlq.attempts", "dlq.first.failed.at",
		"dlq.failed.at", "dlq.source.topic", "dlq.source.partition", "dlq.source.offset", "dlq.source.timestamp",
		"dlq.group", "dlq.membersync.version", "dlq.redrives",
	}
}

// A deadLetter is a record of the dead-letter topic.
type deadLetter struct {
	kafka.Message
	facts map[string]string
	own   []kafka.Header // the source's headers under their original names
}

func readDeadLetter(t *testing.T, m kafka.Message) deadLetter {
	t.Helper()
	l := deadLetter{Message: m, facts: make(map[string]string)}
	for _, h := range m.Headers {
		name, isFact := h.Key, strings.HasPrefix(h.Key, "dlq.")
		switch _, twice := l.facts[name]; {
		case isFact && (twice || !slices.Contains(factNames(), name)):
			t.Errorf("header %s occurs twice or is not in the contract", name)
		case isFact:
			l.facts[name] = string(h.Value)
		default:
			if strings.HasPrefix(strings.ReplaceAll(name, "orig.", ""), "dlq.") {
				name = strings.TrimPrefix(name, "orig.")
			}
			l.own = append(l.own, kafka.Header{Key: name, Value: h.Value})
		}
	}
	return l
}

// wantDeadLetters checks that there is one dead letter for each poison, and no other. Copies are
// allowed only after a crash.
func wantDeadLetters(r *rig, e outcome.Expectation, times map[string]time.Time, copies bool) {
	r.t.Helper()
	found := make(map[string][]deadLetter)
	for _, m := range r.Broker.ReadAll(r.t, r.Topic+".dlq") {
		l := readDeadLetter(r.t, m)
		found[l.facts["dlq.id"]] = append(found[l.facts["dlq.id"]], l)
	}
	for _, want := range e.DeadLetters {
		got := found[want.ID]
		delete(found, want.ID)
		if len(got) == 0 || len(got) > 1 && !copies {
			r.t.Errorf("%d dead letters %s of %s, want one", len(got), want.ID, want.Reason)
		}
		for _, l := range got {
			wantRecord(r.t, want, l)
			wantFacts(r, want, l)
			wantTimes(r.t, want, l, times[place(want.Record.Partition, want.Record.Offset)])
			wantError(r.t, want, l)
			wantTrace(r.t, want, l, r.CRM.Calls())
		}
	}
	for id, copies := range found {
		r.t.Errorf("%d dead letters %q with reason %s, want none", len(copies), id, copies[0].facts["dlq.reason"])
	}
}

// wantRecord checks that key, value and headers equal the source's byte for byte, with nil and
// empty distinct. An oversized record has none of them, since it was not read.
func wantRecord(t *testing.T, want outcome.DeadLetter, l deadLetter) {
	t.Helper()
	if want.Reason == "oversized" {
		want.Record = outcome.Record{}
	}
	same := func(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }
	if !same(want.Record.Key, l.Key) || !same(want.Record.Value, l.Value) {
		t.Errorf("dead letter %s: key or value differ from the source's", want.ID)
	}
	ok := len(l.own) == len(want.Record.Headers)
	for i := 0; ok && i < len(l.own); i++ {
		h := want.Record.Headers[i]
		ok = h.Key == l.own[i].Key && same(h.Value, l.own[i].Value)
	}
	if !ok {
		t.Errorf("dead letter %s: the headers differ from the source's:\n%q, want\n%q", want.ID, l.own, want.Record.Headers)
	}
}

func wantFacts(r *rig, want outcome.DeadLetter, l deadLetter) {
	r.t.Helper()
	facts := map[string]string{
		"dlq.id": want.ID, "dlq.reason": want.Reason, "dlq.stage": want.Stage, "dlq.event.id": want.EventID,
		"dlq.employee.id": want.EmployeeID, "dlq.event.index": "0", "dlq.event.count": "1", "dlq.crm.code": want.Code,
		"dlq.source.topic": r.Topic, "dlq.source.partition": strconv.Itoa(want.Record.Partition),
		"dlq.source.offset": strconv.FormatInt(want.Record.Offset, 10), "dlq.group": r.Group,
		"dlq.membersync.version": version, "dlq.redrives": "0",
	}
	if want.Whole {
		facts["dlq.event.index"], facts["dlq.event.count"] = "", ""
	}
	for name, value := range facts {
		got, there := l.facts[name]
		if got != value || there != (value != "") {
			r.t.Errorf("dead letter %s: %s is %q, want %q", want.ID, name, got, value)
		}
	}
}

// wantTimes checks the record's time, and that the times of the failure are in order.
func wantTimes(t *testing.T, want outcome.DeadLetter, l deadLetter, at time.Time) {
	t.Helper()
	var times []time.Time
	for _, name := range []string{"dlq.source.timestamp", "dlq.first.failed.at", "dlq.failed.at"} {
		when, err := time.Parse(time.RFC3339Nano, l.facts[name])
		if err != nil {
			t.Errorf("dead letter %s: %s is not RFC 3339", want.ID, name)
		}
		times = append(times, when)
	}
	if !times[0].Equal(at) {
		t.Errorf("dead letter %s: dlq.source.timestamp is %v, want %v", want.ID, times[0], at)
	}
	if !slices.IsSortedFunc(append(times, time.Now()), time.Time.Compare) {
		t.Errorf("dead letter %s: it was first read at %v, failed at %v and then at %v", want.ID, times[0], times[1], times[2])
	}
}

func wantError(t *testing.T, want outcome.DeadLetter, l deadLetter) {
	t.Helper()
	text := l.facts["dlq.error"]
	if text == "" || strings.Contains(text, "sample") || strings.Contains(text, "Sample") {
		t.Errorf("dead letter %s: dlq.error is empty or holds a value: %q", want.ID, text)
	}
}

// wantTrace checks the ids of the call that the CRM received and rejected for this member, if there
// was one.
func wantTrace(t *testing.T, want outcome.DeadLetter, l deadLetter, calls []crmapitest.Seen) {
	t.Helper()
	trace, third := l.facts["dlq.crm.trace.id"], l.facts["dlq.third.trace.id"]
	attempts, err := strconv.Atoi(l.facts["dlq.attempts"])
	if want.Code == "" {
		if trace != "" || third != "" || attempts != 0 || err != nil {
			t.Errorf("dead letter %s: it names a call, and none was made: %q, %q, %d", want.ID, trace, third, attempts)
		}
		return
	}
	if attempts < 1 || err != nil {
		t.Errorf("dead letter %s: dlq.attempts is %q, want 1 at least", want.ID, l.facts["dlq.attempts"])
	}
	for _, c := range calls {
		if c.ThirdTraceID == third && c.TraceID == trace && strconv.Itoa(c.Code) == want.Code {
			return
		}
	}
	t.Errorf("dead letter %s: no refused call has traceId %q and thirdTraceId %q", want.ID, trace, third)
}

func TestReadDeadLetter(t *testing.T) {
	t.Parallel()
	l := readDeadLetter(t, kafka.Message{Headers: []kafka.Header{
		{Key: "own"}, {Key: "orig.dlq.id"}, {Key: "orig.orig.dlq.id"}, {Key: "orig.other"}, {Key: "dlq.id", Value: []byte("1:2@3")},
	}})
	want := []kafka.Header{{Key: "own"}, {Key: "dlq.id"}, {Key: "orig.dlq.id"}, {Key: "orig.other"}}
	if d := cmp.Diff(want, l.own); d != "" {
		t.Error(d)
	}
	if l.facts["dlq.id"] != "1:2@3" {
		t.Errorf("dlq.id is %q", l.facts["dlq.id"])
	}
}
