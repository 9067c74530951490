package otlp_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"membersync/cmd/internal/otlp"
	"membersync/cmd/internal/otlp/otlptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A logBuffer is what was logged.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) count(message string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.text.String(), message)
}

func open(t *testing.T, log *logBuffer, environ ...string) *otlp.Traces {
	t.Helper()
	return otlp.Open(t.Context(), otlp.Config{
		Environ: environ, ReadFile: os.ReadFile, Version: "test", Log: slog.New(slog.NewTextHandler(log, nil)),
	})
}

// Tracing is on only if an exporter is named. A variable that is invalid never stops the service.
func TestTheVariablesDecide(t *testing.T) {
	t.Parallel()
	const endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1"
	for name, tc := range map[string]struct {
		environ []string
		on      bool
		warning string
	}{
		"nothing":                {},
		"an exporter":            {environ: []string{"OTEL_TRACES_EXPORTER=otlp"}, on: true},
		"an endpoint":            {environ: []string{endpoint}, on: true},
		"an endpoint of traces":  {environ: []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://127.0.0.1:1/x"}, on: true},
		"only a service name":    {environ: []string{"OTEL_SERVICE_NAME=sample"}},
		"no exporter":            {environ: []string{"OTEL_TRACES_EXPORTER=none", endpoint}},
		"disabled":               {environ: []string{"OTEL_SDK_DISABLED=true", endpoint}},
		"not disabled":           {environ: []string{"OTEL_SDK_DISABLED=false", endpoint}, on: true},
		"the first counts":       {environ: []string{"OTEL_TRACES_EXPORTER=none", "OTEL_TRACES_EXPORTER=otlp"}},
		"another exporter":       {environ: []string{"OTEL_TRACES_EXPORTER=console"}, warning: "OTEL_TRACES_EXPORTER"},
		"gRPC":                   {environ: []string{endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"}, warning: "OTEL_EXPORTER_OTLP_PROTOCOL"},
		"no URL":                 {environ: []string{"OTEL_EXPORTER_OTLP_ENDPOINT=localhost:4318"}, warning: "OTEL_EXPORTER_OTLP_ENDPOINT"},
		"headers":                {environ: []string{endpoint, "OTEL_EXPORTER_OTLP_HEADERS=secret"}, warning: "OTEL_EXPORTER_OTLP_HEADERS"},
		"a timeout":              {environ: []string{endpoint, "OTEL_EXPORTER_OTLP_TIMEOUT=10s"}, warning: "OTEL_EXPORTER_OTLP_TIMEOUT"},
		"a compression":          {environ: []string{endpoint, "OTEL_EXPORTER_OTLP_COMPRESSION=zip"}, warning: "OTEL_EXPORTER_OTLP_COMPRESSION"},
		"a certificate":          {environ: []string{endpoint, "OTEL_EXPORTER_OTLP_CERTIFICATE=/none"}, warning: "OTEL_EXPORTER_OTLP_CERTIFICATE"},
		"a client's certificate": {environ: []string{endpoint, "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE=/none"}, warning: "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := &logBuffer{}
			traces := open(t, log, tc.environ...)
			defer traces.CloseWithin(t.Context(), time.Second)()
			if on := traces.Tracer() != nil; on != tc.on || on != (traces.Inject() != nil) {
				t.Errorf("on: %v, want %v", on, tc.on)
			}
			if n := log.count("tracing is off"); n != 0 != (tc.warning != "") || log.count(tc.warning+" should be") != n || log.count("secret") > 0 {
				t.Errorf("logged %s", log.text.String())
			}
		})
	}
}

// What the variables say of the upload is done.
func TestSpansReachTheCollector(t *testing.T) {
	t.Parallel()
	for path, environ := range map[string][]string{
		"/v1/traces":      {"OTEL_EXPORTER_OTLP_ENDPOINT=%", "OTEL_EXPORTER_OTLP_HEADERS=api-key=made%20up, x=y", "OTEL_EXPORTER_OTLP_COMPRESSION=gzip"},
		"/base/v1/traces": {"OTEL_EXPORTER_OTLP_ENDPOINT=%/base/", "OTEL_EXPORTER_OTLP_TRACES_HEADERS=api-key=made up"},
		"/own":            {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=%/own", "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_HEADERS=api-key=made up"},
	} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			c := otlptest.Start(t)
			environ[0] = strings.Replace(environ[0], "%", c.URL, 1)
			traces := open(t, &logBuffer{}, environ...)
			_, span := traces.Tracer().Start(t.Context(), "sample")
			span.End()
			traces.CloseWithin(t.Context(), time.Minute)()
			requests, spans := c.Requests(), c.Spans("sample")
			if len(requests) != 1 || requests[0].Path != path || requests[0].Header.Get("Api-Key") != "made up" {
				t.Errorf("requests %+v", requests)
			}
			if len(spans) != 1 || spans[0].Service != "membersync" {
				t.Errorf("spans %+v", spans)
			}
		})
	}
}

// An upload is tried again if the collector says that it may.
func TestABusyCollectorIsAskedAgain(t *testing.T) {
	t.Parallel()
	c, log := otlptest.Start(t), &logBuffer{}
	c.Answer(http.StatusServiceUnavailable)
	traces := open(t, log, "OTEL_EXPORTER_OTLP_ENDPOINT="+c.URL)
	_, span := traces.Tracer().Start(t.Context(), "sample")
	span.End()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		traces.CloseWithin(t.Context(), time.Minute)()
	}()
	for len(c.Requests()) < 2 {
		time.Sleep(time.Millisecond)
	}
	c.Answer(http.StatusOK)
	<-closed
	if len(c.Spans("sample")) != 1 || log.count("level=WARN") > 0 {
		t.Errorf("%d spans; logged %s", len(c.Spans("sample")), log.text.String())
	}
}

// A collector that fails is reported once, and once more when it works again.
func TestEachChangeOfTheCollectorIsLoggedOnce(t *testing.T) {
	t.Parallel()
	c, log := otlptest.Start(t), &logBuffer{}
	traces := open(t, log, "OTEL_EXPORTER_OTLP_ENDPOINT="+c.URL)
	tracer, sent := traces.Tracer(), 0
	send := func(status int) {
		c.Answer(status)
		_, span := tracer.Start(t.Context(), "sample")
		span.End()
		if err := traces.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		sent++
	}
	for _, status := range []int{200, 400, 400, 400, 200, 200} {
		send(status)
	}
	traces.CloseWithin(t.Context(), time.Minute)()
	if fails, works := log.count("spans cannot be exported"), log.count("spans are exported again"); fails != 1 || works != 1 {
		t.Errorf("%d and %d lines, want one of each:\n%s", fails, works, log.text.String())
	}
	if n := len(c.Spans("sample")); n != sent-3 {
		t.Errorf("%d spans arrived, want %d", n, sent-3)
	}
}

// A collector that does not answer delays neither spans nor, beyond the limit, the end.
func TestACollectorThatHangsHoldsNothingUp(t *testing.T) {
	t.Parallel()
	c, log := otlptest.Start(t), &logBuffer{}
	c.Hold()
	traces := open(t, log, "OTEL_EXPORTER_OTLP_ENDPOINT="+c.URL, "OTEL_EXPORTER_OTLP_TIMEOUT=3600000")
	tracer := traces.Tracer()
	for range 10_000 { // more than the queue holds: the rest is lost
		_, span := tracer.Start(t.Context(), "sample")
		span.End()
	}
	ctx, cancel := context.WithCancel(t.Context())
	closeNow := traces.CloseWithin(ctx, 300*time.Millisecond)
	cancel()
	began := time.Now()
	closeNow()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("closing took %v, the limit is 300 ms", took)
	}
	if log.count("spans left at the end were not exported") != 1 {
		t.Errorf("logged %s", log.text.String())
	}
}
