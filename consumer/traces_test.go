package consumer_test

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
)

// The contexts of producers.
const (
	producerTrace  = "0af7651916cd43dd8448eb211c80319c"
	producerSpan   = "b7ad6b7169203331"
	producer       = "00-" + producerTrace + "-" + producerSpan + "-01"
	secondProducer = "00-1af7651916cd43dd8448eb211c80319c-c7ad6b7169203331-01"
	thirdProducer  = "00-2af7651916cd43dd8448eb211c80319c-d7ad6b7169203331-01"
)

// from adds the context of a producer to a record.
func from(context string, m kafka.Message) kafka.Message {
	m.Headers = append(m.Headers, kafka.Header{Key: "traceparent", Value: []byte(context)})
	return m
}

// traces are the spans of a rig's services.
type traces struct {
	*tracetest.SpanRecorder
	rig *rig
}

// traced returns the spans of the services that have the change.
func traced(r *rig) (*traces, change) {
	t := &traces{tracetest.NewSpanRecorder(), r}
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(t.SpanRecorder))
	return t, func(_ *consumer.Config, p *consumer.Parts) { p.Tracer = provider.Tracer("test") }
}

// named returns the spans of a name, without its topic, in the order in which they ended.
func (ts *traces) named(name string) (spans []sdktrace.ReadOnlySpan) {
	for _, s := range ts.Ended() {
		if word, _, _ := strings.Cut(s.Name(), " "+ts.rig.kafka.topic); word == name {
			spans = append(spans, s)
		}
	}
	return spans
}

// tree returns "parent > span kind" for each span of a trace, sorted.
func (ts *traces) tree(traceID string) (lines []string) {
	names := map[string]string{}
	for _, s := range ts.Ended() {
		names[s.SpanContext().SpanID().String()], _, _ = strings.Cut(s.Name(), " "+ts.rig.kafka.topic)
	}
	for _, s := range ts.Ended() {
		if s.SpanContext().TraceID().String() == traceID {
			id := s.Parent().SpanID().String()
			parent, ok := names[id]
			if !ok {
				parent = id
			}
			lines = append(lines, parent+" > "+names[s.SpanContext().SpanID().String()]+" "+s.SpanKind().String())
		}
	}
	slices.Sort(lines)
	return lines
}

// wantEnded checks that every span that began has ended once.
func (ts *traces) wantEnded() {
	ts.rig.t.Helper()
	open := map[string]string{}
	for _, s := range ts.Started() {
		open[s.SpanContext().SpanID().String()] = s.Name()
	}
	for _, s := range ts.Ended() {
		id := s.SpanContext().SpanID().String()
		if _, ok := open[id]; !ok {
			ts.rig.t.Errorf("%s ended twice", s.Name())
		}
		delete(open, id)
	}
	for _, name := range open {
		ts.rig.t.Errorf("%s has not ended", name)
	}
}

func attributeOf(s sdktrace.ReadOnlySpan, key string) attribute.Value {
	for _, a := range s.Attributes() {
		if string(a.Key) == key {
			return a.Value
		}
	}
	return attribute.Value{}
}

// The trace of an event goes on from that of its producer.
func TestTheTraceOfAnEvent(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	ts, traced := traced(r)
	inst := r.start(traced)
	r.process(from(producer, r.change(1, fields{"position": "Sample"})))
	inst.stop()
	want := []string{
		producerSpan + " > process consumer", "deliver > acquire internal", "deliver > call client", "deliver > complete internal",
		"process > decode internal", "process > deliver internal", "process > fetch internal",
	}
	if d := cmp.Diff(want, ts.tree(producerTrace)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	ts.wantEnded()
	for key, want := range map[string]string{
		"membersync.event_id": "ev-1", "membersync.employee_id": "E0001", "membersync.open_user_id": member(1),
		"membersync.outcome": "applied", "messaging.destination.name": r.kafka.topic, "messaging.destination.partition.id": "0",
	} {
		if got := attributeOf(ts.named("process")[0], key).AsString(); got != want {
			t.Errorf("%s = %q, want %q", key, got, want)
		}
	}
}

// A fold goes on from its first event, and links to the others. If all of them are rejected, each
// dead letter belongs to the trace of its own event.
func TestTheTraceOfAFold(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	const memberNotFound = 20012
	r := newRig(t, 1, crmapitest.Options{Fault: func(crmapitest.Seen) crmapitest.Fault {
		if calls.Add(1) == 1 {
			return crmapitest.Fault{}
		}
		return crmapitest.Fault{Code: memberNotFound}
	}})
	ts, traced := traced(r)
	r.crm.Block(crmapitest.BeforeEffect)
	inst := r.start(oneByOne, traced)
	r.kafka.produce(r.change(1, fields{"position": "Sample"}))
	r.eventually("the first call", func() bool { return r.crm.Blocked() == 1 })
	r.kafka.produce(
		from(producer, r.change(1, fields{"position": "Sample 2"})), from(secondProducer, r.change(1, fields{"qq": "1"})),
		from(thirdProducer, r.change(1, fields{"weixin": "sample"})),
	)
	inst.waiting(4)
	r.crm.Release()
	r.settled()
	inst.stop()
	ts.wantEnded()
	var links, want []string
	for _, s := range ts.named("deliver") {
		if s.SpanContext().TraceID().String() == producerTrace {
			for _, l := range s.Links() {
				links = append(links, l.SpanContext.SpanID().String())
			}
		}
	}
	for _, s := range ts.named("process") {
		if id := s.SpanContext().TraceID().String(); id == secondProducer[3:35] || id == thirdProducer[3:35] {
			want = append(want, s.SpanContext().SpanID().String())
		}
	}
	slices.Sort(links)
	slices.Sort(want)
	if d := cmp.Diff(want, links); d != "" || len(want) != 2 {
		t.Errorf("links of the fold (-want +got):\n%s", d)
	}
	written := r.dlq.read()
	if len(written) != 3 {
		t.Errorf("%d dead letters, want 3", len(written))
	}
	for _, l := range written {
		if source := string(l.Headers[0].Value); len(l.Traceparent) != len(source) || l.Traceparent[:35] != source[:35] {
			t.Errorf("%s: dlq.traceparent %q is not in the trace %q", l.EventID, l.Traceparent, source)
		}
	}
}

// A dead letter carries the context of its span, and its redrive links to it. What the source wrote
// stays as it is.
func TestTheTraceOfARedrive(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	ts, traced := traced(r)
	inst := r.start(r.dlq.redriving, traced)
	r.process(from(producer, r.change(1, fields{"gender": "sample"})))
	item := r.dlq.items()["ev-1"]
	written := ts.named("dead letter")
	if len(written) != 1 {
		t.Fatalf("%d spans of dead letters, want 1", len(written))
	}
	span := written[0].SpanContext()
	if want := "00-" + producerTrace + "-" + span.SpanID().String() + "-01"; item.DeadLetter.Traceparent != want {
		t.Errorf("dlq.traceparent %q, want %q", item.DeadLetter.Traceparent, want)
	}
	if h := item.DeadLetter.Headers; len(h) != 1 || h[0].Key != "traceparent" || string(h[0].Value) != producer {
		t.Errorf("headers of the source: %q", h)
	}
	if !strings.Contains(r.logs.String(), `"trace_id":"`+producerTrace+`"`) {
		t.Error("the log of the outcome lacks the trace's id")
	}
	r.dlq.redrive(item)
	r.eventually("the redrive", func() bool { return len(ts.named("redrive")) == 1 })
	redrive := ts.named("redrive")[0]
	if links := redrive.Links(); len(links) != 1 || links[0].SpanContext.SpanID() != span.SpanID() {
		t.Errorf("links of the redrive: %v", links)
	}
	if redrive.Parent().IsValid() {
		t.Error("the redrive has a parent")
	}
	inst.stop()
	ts.wantEnded()
}

// Spans of events that are taken away end, and so do those of a batch that is given up.
func TestSpansEndWithTheService(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	ts, traced := traced(r)
	r.crm.Block(crmapitest.BeforeEffect)
	inst := r.start(oneByOne, traced, func(cfg *consumer.Config, _ *consumer.Parts) { cfg.DrainLimit = 100 * time.Millisecond })
	for i := range 5 {
		r.kafka.produce(r.change(i, fields{"position": "Sample"}))
	}
	inst.waiting(5)
	r.eventually("the first call", func() bool { return r.crm.Blocked() == 1 })
	inst.stop()
	r.crm.Release()
	ts.wantEnded()
	if n := len(ts.named("process")); n != 5 {
		t.Errorf("%d spans of records, want 5", n)
	}
}
