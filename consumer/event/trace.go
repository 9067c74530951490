package event

import (
	"sync/atomic"

	"go.opentelemetry.io/otel/trace"
)

// A Trace is the span of a record, which its events share. It ends once, when the last of them is
// finished or dropped. All methods of a nil Trace do nothing: tracing is off. It is safe for
// concurrent use.
type Trace struct {
	span   trace.Span
	events int          // of the record
	open   atomic.Int32 // events that are neither finished nor dropped
}

// NewTrace returns the trace of a record whose span has begun.
func NewTrace(span trace.Span) *Trace { return &Trace{span: span} }

// Issue says how many events the record has. Without any, the span ends. It is called once, before
// the first of them is placed.
func (t *Trace) Issue(events int) {
	if t == nil {
		return
	}
	t.events = events
	t.open.Store(int32(events)) //nolint:gosec // the mapper bounds the events of a record
	if events == 0 {
		t.span.End()
	}
}

// leave is called once for each event.
func (t *Trace) leave() {
	if t != nil && t.open.Add(-1) == 0 {
		t.span.End()
	}
}

// drop notes that this process does not finish an event.
func (t *Trace) drop() {
	if t == nil {
		return
	}
	t.span.AddEvent("event dropped")
	t.leave()
}

// Span is the span of the record; nil: tracing is off.
func (t *Trace) Span() trace.Span {
	if t == nil {
		return nil
	}
	return t.span
}

// IsOfOneEvent reports whether the record has one event, so that the span is that event's.
func (t *Trace) IsOfOneEvent() bool { return t != nil && t.events == 1 }

// ID is the trace's id in hex; empty: tracing is off.
func (t *Trace) ID() string {
	if t == nil || !t.span.SpanContext().HasTraceID() {
		return ""
	}
	return t.span.SpanContext().TraceID().String()
}
