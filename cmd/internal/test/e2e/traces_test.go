package e2e

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"membersync/cmd/internal/otlp/otlptest"
	"membersync/cmd/internal/test/oracle/outcome"
	"membersync/crmapi/crmapitest"
)

// A traceTap records the trace contexts that the CRM receives.
type traceTap struct {
	mu   sync.Mutex
	seen []string
}

func (tap *traceTap) front(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		tap.mu.Lock()
		tap.seen = append(tap.seen, req.Header.Get("Traceparent"))
		tap.mu.Unlock()
		next.ServeHTTP(w, req)
	})
}

func (tap *traceTap) contexts() []string {
	tap.mu.Lock()
	defer tap.mu.Unlock()
	return slices.Clone(tap.seen)
}

// The traces of the producers of two events, of which the second one cannot be read.
const (
	goodTrace = "0af7651916cd43dd8448eb211c80319c"
	badTrace  = "1af7651916cd43dd8448eb211c80319c"
)

func tracedRecords() []outcome.Record {
	records := []outcome.Record{
		{Key: []byte("E0001"), Value: []byte(canaryEvent(1, 1, map[string]any{"position": "Sample"}))},
		{Key: []byte("E0001"), Value: []byte("sample")},
	}
	for i, trace := range []string{goodTrace, badTrace} {
		records[i].Headers = []outcome.Header{{Key: "traceparent", Value: []byte(parentOf(trace))}}
	}
	return records
}

func parentOf(trace string) string { return "00-" + trace + "-b7ad6b7169203331-01" }

// The trace of an event's producer goes on to the CRM and to the dead letter. The collector gets
// it.
func TestATraceFromTheProducerToTheCRM(t *testing.T) {
	t.Parallel()
	tap, collector := &traceTap{}, otlptest.Start(t)
	r := newRig(t, setup{partitions: 1, crm: crmapitest.Options{Members: []string{member(1)}}, front: tap.front})
	p := r.start(map[string]string{
		"LOG_LEVEL": "debug", "OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": collector.URL,
		"OTEL_SERVICE_NAME": "sample",
	})
	r.produce(tracedRecords())
	r.settle()
	p.Stop() // sends what is left
	call, deadLetter := collector.Spans("call"), collector.Spans("dead letter")
	if len(call) != 1 || call[0].TraceID != goodTrace || call[0].Service != "sample" {
		t.Errorf("calls: %+v", call)
	} else if got := tap.contexts(); !slices.Equal(got, []string{"00-" + goodTrace + "-" + call[0].ID + "-01"}) {
		t.Errorf("the CRM got the contexts %q, the call is %+v", got, call[0])
	}
	records := r.Broker.ReadAll(t, r.Topic+".dlq")
	if len(records) != 1 || len(deadLetter) != 1 {
		t.Fatalf("%d dead letters and %d spans of them, want one each", len(records), len(deadLetter))
	}
	headers := map[string]string{}
	for _, h := range records[0].Headers {
		headers[h.Key] = string(h.Value)
	}
	if got, want := headers["dlq.traceparent"], "00-"+badTrace+"-"+deadLetter[0].ID+"-01"; got != want {
		t.Errorf("dlq.traceparent %q, want %q", got, want)
	}
	if headers["traceparent"] != parentOf(badTrace) {
		t.Errorf("the source's traceparent is %q", headers["traceparent"])
	}
	for _, trace := range []string{goodTrace, badTrace} {
		if !strings.Contains(p.Err.String(), `"trace_id":"`+trace+`"`) {
			t.Errorf("the log names no trace %s", trace)
		}
	}
	for _, name := range []string{"process " + r.Topic, "fetch", "decode", "deliver"} {
		if n := len(collector.Spans(name)); n != 2 {
			t.Errorf("%d spans %q, want 2", n, name)
		}
	}
}

// Without an exporter nothing is added: neither to requests, nor to dead letters, nor to the log.
func TestWithoutAnExporterThereIsNoTrace(t *testing.T) {
	t.Parallel()
	tap := &traceTap{}
	r := newRig(t, setup{partitions: 1, crm: crmapitest.Options{Members: []string{member(1)}}, front: tap.front})
	p := r.start(map[string]string{"LOG_LEVEL": "debug", "OTEL_SERVICE_NAME": "sample"})
	r.produce(tracedRecords())
	r.settle()
	p.Stop()
	if got := tap.contexts(); !slices.Equal(got, []string{""}) {
		t.Errorf("the CRM got the contexts %q, want none", got)
	}
	for _, m := range r.Broker.ReadAll(t, r.Topic+".dlq") {
		for _, h := range m.Headers {
			if h.Key == "dlq.traceparent" {
				t.Error("a dead letter has a context")
			}
		}
	}
	if strings.Contains(p.Err.String(), "trace_id\":\""+goodTrace) {
		t.Error("the log names a trace")
	}
}
