package tracing_test

import (
	"testing"
	"time"

	"membersync/consumer/event"
	"membersync/consumer/tracing"
	"membersync/crmapi"
	"membersync/dedupe"
	"membersync/dlq"
	"membersync/mapper"
)

// ticket counts nothing.
type ticket struct{}

func (ticket) Finish()         {}
func (ticket) Drop()           {}
func (ticket) ReleaseBuffer()  {}
func (ticket) IsRevoked() bool { return false }
func (ticket) IsClosed() bool  { return false }

// Off, the whole life cycle of an event allocates nothing, and its dead letter has no context. Not
// parallel: it counts allocations.
func TestOffAllocatesNothing(t *testing.T) { //nolint:paralleltest // see above
	off := tracing.New(nil, "in", "group")
	rec := mapper.Record{Topic: "in", Headers: []mapper.Header{
		{Key: "traceparent", Value: []byte("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")},
	}}
	ev := event.New(event.Pack(&event.Record{Origin: rec}), mapper.Event{ID: "ev-1", EmployeeID: "E1", Count: 1})
	ev.Ticket, ev.Rejection = ticket{}, &event.Rejection{Reason: dlq.ReasonCRMInvalid}
	b := &event.Batch{Events: []*event.Event{ev, ev}}
	u := &event.Update{Events: b.Events}
	ctx, at, failed := t.Context(), time.Now(), error(&crmapi.Error{})
	allocations := testing.AllocsPerRun(100, func() {
		record := off.Receive(ctx, rec, at)
		inner, decode := off.Decode(ctx, record)
		decode.End(nil)
		record.Issue(1)
		ev.Record.Trace = record
		inner, batch := off.Batch(inner, b)
		inner, acquire := off.Stage(inner, "acquire")
		acquire.EndAcquire(dedupe.Grant{}, nil)
		inner, call := off.Call(inner, u)
		call.EndCall(crmapi.Response{}, failed)
		inner, complete := off.Stage(inner, "complete")
		complete.EndComplete(true, nil)
		inner, deadLetter := off.DeadLetter(inner, ev)
		if inner != ctx || deadLetter.Traceparent() != "" || record.ID() != "" {
			t.Error("there is a trace")
		}
		deadLetter.End(failed)
		tracing.Finished(event.Finished{Event: ev, Outcome: event.DeadLettered}, "crm_invalid")
		batch.End(nil)
		ev.Finish()
		ev.Drop()
	})
	if allocations != 0 {
		t.Errorf("%v allocations for an event, want 0", allocations)
	}
}
