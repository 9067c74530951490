package otlp

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// A Config is what [Open] needs of the process.
type Config struct {
	Environ  []string // name=value; of a variable set twice the first counts
	ReadFile func(string) ([]byte, error)
	Version  string // of the program
	Log      *slog.Logger
	// OwnsProcess: errors of the SDK itself, which are global, go to the log.
	OwnsProcess bool
}

// Traces sends spans. A nil Traces is tracing that is off. It is safe for concurrent use.
type Traces struct {
	provider *sdk.TracerProvider
	uploader *uploader
	closeBy  func(deadline time.Time)
}

// Limits of a span where no variable sets them. A fold has up to 500 events, and so many links; an
// identifier of the source may have any length.
const (
	maxLinks      = 500
	maxValueBytes = 4 << 10
)

// Open returns the tracing that the variables ask for; nil: none. A variable that is invalid turns
// it off with a warning: tracing never keeps the service from running. No connection is made yet.
func Open(ctx context.Context, c Config) *Traces {
	v := variablesOf(c.Environ)
	on, problem := v.isOn()
	var u *uploader
	if on {
		u, problem = newUploader(ctx, v, c.ReadFile)
	}
	if problem != "" {
		c.Log.LogAttrs(ctx, slog.LevelWarn, "tracing is off", slog.String("why", problem))
	}
	if u == nil {
		return nil
	}
	if c.OwnsProcess {
		otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
			c.Log.LogAttrs(context.WithoutCancel(ctx), slog.LevelWarn, "tracing reports an error", slog.String("error", err.Error()))
		}))
	}
	exporter := &exporter{SpanExporter: otlptrace.NewUnstarted(u), log: c.Log}
	c.Log.LogAttrs(ctx, slog.LevelInfo, "tracing is on", slog.String("exporter", "otlp"))
	t := &Traces{uploader: u, provider: sdk.NewTracerProvider(
		sdk.WithBatcher(exporter), sdk.WithResource(resourceOf(ctx, c.Version)), sdk.WithRawSpanLimits(limits(v)),
	)}
	t.closeBy = t.closer(ctx, c.Log)
	return t
}

func variablesOf(environ []string) variables {
	values := make(map[string]string)
	for _, variable := range environ {
		name, text, _ := strings.Cut(variable, "=")
		if _, twice := values[name]; !twice {
			values[name] = strings.TrimSpace(text)
		}
	}
	return func(name string) string { return values[name] }
}

// limits are those of the SDK's variables, or this package's.
func limits(v variables) sdk.SpanLimits {
	l := sdk.NewSpanLimits()
	if v("OTEL_SPAN_LINK_COUNT_LIMIT") == "" {
		l.LinkCountLimit = maxLinks
	}
	if v("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT") == "" && v("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT") == "" {
		l.AttributeValueLengthLimit = maxValueBytes
	}
	return l
}

// resourceOf describes the process. OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES come last, so
// they replace what is here.
func resourceOf(ctx context.Context, version string) *resource.Resource {
	r, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "membersync"), attribute.String("service.version", version)),
		resource.WithHost(), resource.WithTelemetrySDK(), resource.WithFromEnv(),
	)
	if err != nil { // in part: what could be found is in it
		otel.Handle(err)
	}
	return r
}

// Tracer is that of the service; nil: tracing is off.
func (t *Traces) Tracer() trace.Tracer {
	if t == nil {
		return nil
	}
	return t.provider.Tracer("membersync")
}

// Inject adds the context of the current span to the headers of a request, in the form of the W3C.
// It is nil if tracing is off.
func (t *Traces) Inject() func(context.Context, http.Header) {
	if t == nil {
		return nil
	}
	return func(ctx context.Context, headers http.Header) {
		propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(headers))
	}
}

// Flush sends the spans that have ended.
func (t *Traces) Flush(ctx context.Context) error { return t.provider.ForceFlush(ctx) }

// lastLimit is how long [Traces.Close] takes at most.
const lastLimit = 5 * time.Second

// Close sends the spans that are left, for 5 s at most, and ends tracing. After the function of
// [Traces.CloseWithin] it does nothing.
func (t *Traces) Close() {
	if t != nil {
		t.closeBy(time.Now().Add(lastLimit))
	}
}

// CloseWithin returns a function that sends the spans that are left and ends tracing. It takes
// until the limit after the end of ctx, or of its call if ctx has not ended.
func (t *Traces) CloseWithin(ctx context.Context, limit time.Duration) (closeNow func()) {
	if t == nil {
		return func() {}
	}
	ended := make(chan time.Time, 1)
	stop := context.AfterFunc(ctx, func() { ended <- time.Now() })
	return func() {
		end := time.Now()
		if !stop() {
			end = <-ended
		}
		t.closeBy(end.Add(limit))
	}
}

// closer returns the function that ends tracing, which works once.
func (t *Traces) closer(ctx context.Context, log *slog.Logger) func(deadline time.Time) {
	ctx = context.WithoutCancel(ctx)
	var once sync.Once
	return func(deadline time.Time) {
		once.Do(func() {
			bounded, cancel := context.WithDeadlineCause(ctx, deadline, errClosed)
			defer cancel()
			err := t.provider.Shutdown(bounded)
			_ = t.uploader.Stop(ctx) // what is still being sent is given up
			if err != nil {
				log.LogAttrs(ctx, slog.LevelWarn, "spans left at the end were not exported", slog.String("error", err.Error()))
			}
		})
	}
}

// An exporter logs when the collector begins to fail and when it works again, once each. The SDK
// gets no error: it would log each.
type exporter struct {
	sdk.SpanExporter
	log     *slog.Logger
	failing atomic.Bool
}

// ExportSpans implements [sdk.SpanExporter].
func (e *exporter) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, spans)
	switch was := e.failing.Swap(err != nil); {
	case err != nil && !was:
		e.log.LogAttrs(ctx, slog.LevelWarn, "spans cannot be exported; they are lost until the collector answers",
			slog.String("error", err.Error()))
	case err == nil && was:
		e.log.LogAttrs(ctx, slog.LevelInfo, "spans are exported again")
	}
	return nil
}
