package consumer

import (
	"membersync/consumer/event"
	"membersync/crmapi"
	"membersync/mapper"
)

// An Outcome is the result of one delivery of an event; see [event.Outcome].
type Outcome = event.Outcome

// The outcomes.
const (
	Applied      = event.Applied
	Superseded   = event.Superseded
	Unchanged    = event.Unchanged
	Duplicate    = event.Duplicate
	Ignored      = event.Ignored
	DeadLettered = event.DeadLettered
)

// Outcomes returns all outcomes.
func Outcomes() []Outcome { return event.Outcomes() }

// An Observer watches events on their way through the pipeline. Its methods are called from many
// goroutines, must not block, and must not keep or change their arguments, which hold personal
// data.
type Observer interface {
	// Decoded is called for each record that was decoded, before anything else happens to its events.
	Decoded(rec mapper.Record, results []mapper.Result)
	// Called is called after each attempt to call the CRM.
	Called(call CallAttempt)
	// Finished is called once for each event, when its outcome is final.
	Finished(result EventResult)
}

// A CallAttempt is one call of the CRM.
type CallAttempt struct {
	Update crmapi.Update
	Events int   // that are in it
	Err    error // nil: it was applied
}

// An EventResult is the final outcome of one event.
type EventResult struct {
	Topic     string
	Partition int
	Offset    int64
	Redrive   int // the number of the redrive; 0: the original delivery
	Event     mapper.Event
	Outcome   Outcome
	Reason    string                  // of a dead letter
	LeftOut   map[crmapi.Field]string // fields that it states and that were not sent, and why
}

// Why a field was left out.
const (
	LeftOutNewer  = event.LeftOutNewer
	LeftOutHolds  = event.LeftOutHolds
	LeftOutWithin = event.LeftOutWithin
)

// noObserver watches nothing.
type noObserver struct{}

func (noObserver) Decoded(mapper.Record, []mapper.Result) {}
func (noObserver) Called(CallAttempt)                     {}
func (noObserver) Finished(EventResult)                   {}
