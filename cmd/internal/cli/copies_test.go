package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"

	"membersync/crmapi/crmapitest"
	"membersync/dlq"
)

// An end is the outcome of a copy: refused with a dead letter of its own, or run.
type end struct {
	refused *dlq.DeadLetter
	result  *dlq.AuditRecord
}

// copied writes records into the redrive topic, as one would with a tool that knows nothing of dead
// letters, waits until the service is done with them, and returns the outcome of each: exactly one
// of the two. Those that are run have a number that no other has.
func copied(t *testing.T, o *opsRig, copies ...kafka.Message) []end {
	t.Helper()
	transport := &kafka.Transport{}
	defer transport.CloseIdleConnections()
	w := &kafka.Writer{
		Addr: kafka.TCP(o.broker.Addrs()...), Topic: o.topics.Redrive, RequiredAcks: kafka.RequireAll, BatchTimeout: 5 * time.Millisecond,
		Transport: transport, Balancer: kafka.BalancerFunc(func(kafka.Message, ...int) int { return 0 }),
	}
	defer func() { _ = w.Close() }()
	first := o.broker.Ends(t, o.topics.Redrive)[0]
	plain := make([]kafka.Message, len(copies))
	for i, m := range copies {
		plain[i] = kafka.Message{Key: m.Key, Value: m.Value, Headers: m.Headers}
	}
	if err := w.WriteMessages(t.Context(), plain...); err != nil {
		t.Fatal(err)
	}
	o.drained(t)
	ends := make([]end, len(copies))
	deadLetters, results := o.topics.deadLetters(t), o.topics.results(t)
	for i, m := range copies {
		place := fmt.Sprintf("redrive:0:%d@", first+int64(i))
		for _, l := range deadLetters {
			if strings.HasPrefix(l.ID(), place) {
				ends[i].refused = &l
			}
		}
		for _, r := range results {
			if r.Result != dlq.ResultRefused && fmt.Sprint(r.Detail.Number) == headerOf(m, "redrive.number") {
				ends[i].result = &r
			}
		}
		if (ends[i].refused == nil) == (ends[i].result == nil) {
			t.Fatalf("copy %d: %+v", i, ends[i])
		}
	}
	return ends
}

func headerOf(m kafka.Message, key string) string {
	for _, h := range m.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// ordering adds the headers of a redrive to a copied dead letter, as someone would by hand without
// a request. It names the first record of the audit topic.
func ordering(m kafka.Message, place string, number int) kafka.Message {
	m.Headers = slices.Clone(m.Headers)
	for _, h := range [][2]string{
		{"dead_letter", place},
		{"number", strconv.Itoa(number)},
		{"by", "boss@host"},
		{"at", "2026-11-22T09:00:00.000Z"},
		{"note", "approved"},
		{"edited", ""},
		{"audit", "0:0"},
	} {
		m.Headers = append(m.Headers, kafka.Header{Key: "redrive." + h[0], Value: []byte(h[1])})
	}
	return m
}

func without(m kafka.Message, i int) kafka.Message {
	m.Headers = slices.Delete(slices.Clone(m.Headers), i, i+1)
	return m
}

// deadAndServed lets the service dead-letter the event of E1, and returns the dead letter as it is
// in the topic, with its place.
func deadAndServed(t *testing.T, o *opsRig) (deadLetter kafka.Message, place string) {
	t.Helper()
	o.set("DLQ_STORM_SHARE", "0")
	o.set("CRM_RATE", "0")
	o.crm.Push(crmapitest.Fault{Member: "FSUID_TEST1", Times: -1, Code: crmapitest.CodeNoMember})
	o.broker.Produce(t, o.topics.Source, kafka.Message{
		Key: []byte("E1"), Value: []byte(event(1, "P")), Time: o.hr.at, Headers: []kafka.Header{{Key: "trace", Value: []byte("t-1")}},
	})
	o.serving(t)
	o.drained(t)
	deadLetter = o.broker.ReadAll(t, o.topics.DLQ)[0]
	return deadLetter, dlq.Place{Partition: deadLetter.Partition, Offset: deadLetter.Offset}.String()
}

// What is copied into the redrive topic by hand becomes a dead letter that says what is wrong with
// it. The item that it was copied from stays as it was, and the CRM is not called.
func TestACopyByHandIsRefused(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	deadLetter, place := deadAndServed(t, o)
	o.must(t, "dlq", "discard", "0:0:0", "--note=n", "--yes") // discarded or open, it is the same
	other, err := dlq.Parse(deadLetter)
	if err != nil {
		t.Fatal(err)
	}
	other.Source.Topic = "other." + other.Source.Topic
	const missing = "invalid_redrive: the record is not run: dlq: header redrive.dead_letter: is missing"
	requested := o.topics.requested(t, deadLetter, 1)
	elsewhere := requested
	elsewhere.DeadLetter.Source.Topic = other.Source.Topic
	cases := []struct {
		what string
		copy kafka.Message
		says string
	}{
		{"an unchanged copy", deadLetter, missing},
		{"a copy without headers", kafka.Message{Key: deadLetter.Key, Value: deadLetter.Value}, missing},
		{"a copy of the source record", o.broker.ReadAll(t, o.topics.Source)[0], missing},
		{"nothing at all", kafka.Message{}, missing},
		{"a dead letter of another topic", other.Message(), missing},
		{"a redrive of another topic", elsewhere.Message(), "not run: the redrive differs from dead letter " + place + " in its source coordinates"},
		{"a redrive without a request", ordering(deadLetter, place, 1), "audit record"},
		{"a place where nothing is", ordering(deadLetter, "0:999", 1), "audit record"},
	}
	copies := make([]kafka.Message, len(cases))
	for i, c := range cases {
		copies[i] = c.copy
	}
	for i, end := range copied(t, o, copies...) {
		if end.refused == nil {
			t.Errorf("%s was run: %+v", cases[i].what, end.result)
			continue
		}
		shown := o.must(t, "dlq", "show", end.refused.ID())
		for _, part := range []string{cases[i].says, "invalid_redrive (decode)", "redrive the event's own dead letter"} {
			if !strings.Contains(shown, part) {
				t.Errorf("%s: %q is not told: %s", cases[i].what, part, shown)
			}
		}
		if strings.Contains(shown, "event 0:") {
			t.Errorf("%s is never run, and shown as if it could be: %s", cases[i].what, shown)
		}
	}
	if got := o.ids(t, "--state=redriving"); !slices.Equal(got, []string{"0:0:0" + sampleTime}) || len(o.crm.Calls()) != 1 {
		t.Errorf("redriving: %v; %d calls", got, len(o.crm.Calls()))
	}
	if results := o.topics.results(t); len(results) > 0 { // none is that of the request, which was not sent
		t.Errorf("results: %+v", results)
	}
	o.must(t, "dlq", "discard", "--reason=invalid_redrive", "--note=copied by hand", "--yes")
	if open := o.ids(t); len(open) != 0 {
		t.Errorf("open: %v", open)
	}
	if text := strings.Join(o.topics.audit(t), "\n"); strings.Contains(text, "boss@host") || strings.Contains(text, "approved") {
		t.Errorf("a forged actor or note is in the audit topic: %s", text)
	}
}

// A header may be lost on the way. Each by itself: the copy is refused and the header named, or it
// does not matter and the copy is run.
func TestACopyByHandWithAHeaderMissing(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	deadLetter, _ := deadAndServed(t, o)
	headers := o.topics.requested(t, deadLetter, 1).Message().Headers
	copies := make([]kafka.Message, len(headers))
	for i := range headers {
		copies[i] = without(o.topics.requested(t, deadLetter, i+1).Message(), i)
	}
	var ran []string
	for i, end := range copied(t, o, copies...) {
		name := headers[i].Key
		switch {
		case end.refused == nil:
			ran = append(ran, name)
			if end.result.Result != dlq.ResultDeadLettered || end.result.Subject != "0:0:0"+sampleTime {
				t.Errorf("without %s: %+v", name, end.result)
			}
		case !strings.Contains(end.refused.Error, name) && !strings.Contains(end.refused.Error, "source coordinates"):
			t.Errorf("without %s it is refused for: %s", name, end.refused.Error)
		}
	}
	want := []string{ // and without any other it is refused
		"trace", "dlq.stage", "dlq.error", "dlq.crm.code", "dlq.crm.trace.id", "dlq.third.trace.id", "dlq.event.id", "dlq.employee.id", "dlq.attempts",
		"dlq.first.failed.at", "dlq.failed.at", "dlq.group", "dlq.membersync.version", "dlq.redrives",
	}
	if d := cmp.Diff(want, ran); d != "" {
		t.Errorf("run without one of: %s", d)
	}
	for _, l := range o.topics.deadLetters(t) { // nothing of a copy came into the later failures of the event
		if l.ID() == "0:0:0"+sampleTime && (len(l.Headers) != 1 || string(l.Value) != event(1, "P") || !l.Source.Timestamp.Equal(o.hr.at)) {
			t.Errorf("a later failure: %+v", l)
		}
	}
}

// A copy of a genuine redrive is that redrive, also of an item that was discarded; given twice it
// runs once.
func TestACopyByHandIsRun(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	deadLetter, _ := deadAndServed(t, o)
	o.must(t, "dlq", "discard", "0:0:0", "--note=n", "--yes")
	o.crm.Clear()
	genuine := o.topics.requested(t, deadLetter, 1).Message()
	for _, end := range copied(t, o, genuine, genuine) {
		if end.refused != nil || end.result.Result != dlq.ResultApplied || end.result.Subject != "0:0:0"+sampleTime {
			t.Fatalf("%+v", end)
		}
	}
	if got := o.ids(t, "--state=applied"); !slices.Equal(got, []string{"0:0:0" + sampleTime}) || string(o.crm.State("FSUID_TEST1")["position"]) != `"P"` {
		t.Errorf("applied: %v", got)
	}
	if n := len(o.crm.Calls()); n != 2 {
		t.Errorf("%d calls", n)
	}
}
