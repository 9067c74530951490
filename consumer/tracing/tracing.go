// Package tracing makes the spans of the pipeline, with the API of OpenTelemetry.
//
// A record has a span from its fetch until the last of its events is finished or dropped
// ([event.Trace]), and a batch has one while it runs:
//
//	process TOPIC             parent: the context in the record's headers
//	├─ fetch                  from Kafka's answer until the record is handed on
//	├─ decode
//	└─ deliver                a batch; links to the records of all events but the first
//	   ├─ acquire, renew, complete
//	   ├─ call                its context is sent to the CRM
//	   └─ dead letter         its context is the header dlq.traceparent
//
// The span of a record of the redrive topic is "redrive TOPIC". It begins a trace of its own, with
// a link to the dead letter's context.
//
// Spans hold identifiers and never a value of a member field: no function here takes one. Texts of
// errors are those that are logged.
//
// The package must not know the SDK, exporters or the environment.
package tracing

import (
	"context"
	"errors"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"membersync/consumer/event"
	"membersync/crmapi"
	"membersync/dedupe"
	"membersync/dlq"
	"membersync/mapper"
)

// A Tracer begins spans. A nil Tracer begins none: its methods return the context as it is and the
// zero [Span], and allocate nothing. It is safe for concurrent use.
type Tracer struct {
	tracer       trace.Tracer
	topic, group string
}

// New returns a tracer for a source topic and a consumer group; nil without a tracer of the API.
func New(tracer trace.Tracer, topic, group string) *Tracer {
	if tracer == nil {
		return nil
	}
	return &Tracer{tracer, topic, group}
}

// Receive begins the span of a record, and returns it with its child for the fetch ended. The
// record is that of the partition, not the origin of a redrive.
func (t *Tracer) Receive(ctx context.Context, rec mapper.Record, fetchedAt time.Time) *event.Trace {
	if t == nil {
		return nil
	}
	options := []trace.SpanStartOption{
		trace.WithSpanKind(trace.SpanKindConsumer), trace.WithTimestamp(fetchedAt), trace.WithAttributes(
			attribute.String("messaging.system", "kafka"), attribute.String("messaging.operation.type", "process"),
			attribute.String("messaging.destination.name", rec.Topic),
			attribute.String("messaging.destination.partition.id", strconv.Itoa(rec.Partition)),
			attribute.Int64("messaging.kafka.offset", rec.Offset), attribute.String("messaging.consumer.group.name", t.group),
		),
	}
	name := "process "
	if rec.Topic == t.topic {
		ctx = propagation.TraceContext{}.Extract(ctx, carrier(rec.Headers))
	} else {
		name = "redrive "
		options = append(options, trace.WithLinks(linkTo(deadLetterContext(ctx, rec))...))
	}
	ctx, span := t.tracer.Start(ctx, name+rec.Topic, options...)
	_, fetch := t.tracer.Start(ctx, "fetch", trace.WithTimestamp(fetchedAt))
	fetch.End()
	return event.NewTrace(span)
}

// deadLetterContext returns the context of the dead letter that a redrive runs again.
func deadLetterContext(ctx context.Context, rec mapper.Record) trace.SpanContext {
	header := propagation.MapCarrier{"traceparent": carrier(rec.Headers).Get(dlq.HeaderTraceparent)}
	return trace.SpanContextFromContext(propagation.TraceContext{}.Extract(ctx, header))
}

func linkTo(contexts ...trace.SpanContext) (links []trace.Link) {
	for _, c := range contexts {
		if c.IsValid() {
			links = append(links, trace.Link{SpanContext: c})
		}
	}
	return links
}

// A carrier reads the headers of a record. Of a header that occurs twice, the last one counts.
type carrier []mapper.Header

// Get implements [propagation.TextMapCarrier].
func (c carrier) Get(key string) string {
	for i := range c {
		if h := c[len(c)-1-i]; h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// Set implements [propagation.TextMapCarrier]. Headers of a record are only read.
func (carrier) Set(string, string) {}

// Keys implements [propagation.TextMapCarrier].
func (carrier) Keys() []string { return nil }

// A Span is the span of a stage. It is ended once. The zero Span does nothing.
type Span struct{ span trace.Span }

// Decode begins the span of a record's decoding.
func (t *Tracer) Decode(ctx context.Context, record *event.Trace) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	return t.Stage(trace.ContextWithSpan(ctx, record.Span()), "decode")
}

// Batch begins the span of a batch, and with it the context of its stages.
func (t *Tracer) Batch(ctx context.Context, b *event.Batch) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	first := b.Events[0]
	mapped, before := first.Mapped(), first.Record.Trace
	var others []trace.SpanContext
	for _, ev := range b.Events[1:] {
		if ev.Record.Trace != before { // events of one record follow each other
			before = ev.Record.Trace
			others = append(others, before.Span().SpanContext())
		}
	}
	ctx, span := t.tracer.Start(trace.ContextWithSpan(ctx, first.Record.Trace.Span()), "deliver",
		trace.WithLinks(linkTo(others...)...), trace.WithAttributes(
			attribute.Int("membersync.events", len(b.Events)), attribute.Bool("membersync.probe", b.IsProbe),
			attribute.String("membersync.employee_id", mapped.EmployeeID),
			attribute.String("membersync.open_user_id", mapped.OpenUserID),
		))
	return ctx, Span{span}
}

// Stage begins the span of one stage of a batch.
func (t *Tracer) Stage(ctx context.Context, name string) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	ctx, span := t.tracer.Start(ctx, name)
	return ctx, Span{span}
}

// Call begins the span of a call of the CRM.
func (t *Tracer) Call(ctx context.Context, u *event.Update) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	ctx, span := t.tracer.Start(ctx, "call", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("membersync.open_user_id", u.Fields.OpenUserID), attribute.Int("membersync.events", len(u.Events)),
	))
	return ctx, Span{span}
}

// DeadLetter begins the span of a dead letter. It belongs to the trace of its event: where the
// batch is in that of another event, it is linked to it.
func (t *Tracer) DeadLetter(ctx context.Context, ev *event.Event) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	own, batch := ev.Record.Trace.Span(), trace.SpanContextFromContext(ctx)
	var links []trace.Link
	if own.SpanContext().TraceID() != batch.TraceID() {
		ctx, links = trace.ContextWithSpan(ctx, own), linkTo(batch)
	}
	ctx, span := t.tracer.Start(ctx, "dead letter", trace.WithSpanKind(trace.SpanKindProducer), trace.WithLinks(links...),
		trace.WithAttributes(append(idsOf(ev), attribute.String("membersync.reason", string(ev.Rejection.Reason)))...))
	return ctx, Span{span}
}

// Traceparent is the span's context in the form of the W3C; empty for the zero Span.
func (s Span) Traceparent() string {
	if s.span == nil {
		return ""
	}
	c := s.span.SpanContext()
	return "00-" + c.TraceID().String() + "-" + c.SpanID().String() + "-" + c.TraceFlags().String()
}

// End ends the span. The error, which may be nil, is its status.
func (s Span) End(err error) {
	if s.span == nil {
		return
	}
	if err != nil {
		s.span.SetStatus(codes.Error, err.Error())
	}
	s.span.End()
}

// EndAcquire ends the span of an acquire.
func (s Span) EndAcquire(g dedupe.Grant, err error) {
	if s.span != nil {
		s.span.SetAttributes(attribute.Bool("membersync.leased_elsewhere", g.Leased), attribute.Bool("membersync.pending", g.Pending))
	}
	s.End(err)
}

// EndComplete ends the span of a completion. Late: the lease had expired, and nothing was recorded.
func (s Span) EndComplete(late bool, err error) {
	if s.span != nil {
		s.span.SetAttributes(attribute.Bool("membersync.late", late))
	}
	s.End(err)
}

// EndCall ends the span of a call.
func (s Span) EndCall(response crmapi.Response, err error) {
	if s.span == nil {
		return
	}
	trace, third := response.TraceID, response.ThirdTraceID
	if failed, ok := errors.AsType[*crmapi.Error](err); ok {
		trace, third = failed.TraceID, failed.ThirdTraceID
		s.span.SetAttributes(attribute.String("error.type", failed.Class.String()))
		if failed.Status != 0 {
			s.span.SetAttributes(attribute.Int("http.response.status_code", failed.Status))
		}
		if failed.HasCode {
			s.span.SetAttributes(attribute.Int("membersync.crm_code", failed.Code))
		}
	}
	s.span.SetAttributes(attribute.String("membersync.crm_trace_id", trace), attribute.String("membersync.third_trace_id", third))
	s.End(err)
}

// Finished notes the outcome of an event at the span of its record. A record of several events has
// a note for each of them.
func Finished(f event.Finished, reason string) {
	record := f.Event.Record.Trace
	if record == nil || !record.Span().IsRecording() {
		return
	}
	span, attributes := record.Span(), append(idsOf(f.Event), attribute.String("membersync.outcome", string(f.Outcome)))
	if reason != "" {
		attributes = append(attributes, attribute.String("membersync.reason", reason))
		span.SetStatus(codes.Error, reason)
	}
	if record.IsOfOneEvent() {
		span.SetAttributes(attributes...)
		return
	}
	span.AddEvent("event finished", trace.WithAttributes(attributes...))
}

// idsOf returns the identifiers of an event.
func idsOf(ev *event.Event) []attribute.KeyValue {
	mapped := ev.Mapped()
	return []attribute.KeyValue{
		attribute.String("membersync.event_id", mapped.ID), attribute.String("membersync.employee_id", mapped.EmployeeID),
		attribute.String("membersync.open_user_id", mapped.OpenUserID),
	}
}
