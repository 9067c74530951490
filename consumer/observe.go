package consumer

import (
	"membersync/crmapi"
	"membersync/mapper"
)

// An Outcome is what became of one delivery of an event. Every delivery has exactly one.
type Outcome string

// The outcomes.
const (
	Applied      Outcome = "applied"       // at least one of its fields was sent
	Superseded   Outcome = "superseded"    // else: a newer event states at least one of its fields
	Unchanged    Outcome = "unchanged"     // else: the CRM holds what it states, or it states nothing
	Duplicate    Outcome = "duplicate"     // this event was finished before
	Ignored      Outcome = "ignored"       // a rule of the mapping says so
	DeadLettered Outcome = "dead_lettered" // it is in the dead-letter topic
)

// Outcomes returns all outcomes.
func Outcomes() []Outcome {
	return []Outcome{Applied, Superseded, Unchanged, Duplicate, Ignored, DeadLettered}
}

// An Observer watches events on their way. Its methods are called from many
// goroutines, must not block, and must not keep or change what they are shown. What they
// are shown holds personal data.
type Observer interface {
	// Arrived is called for each record taken in, before anything else happens to it.
	Arrived(rec mapper.Record, results []mapper.Result)
	// Called is called after each attempt to call the CRM.
	Called(call Called)
	// Ended is called once for each event, when its outcome is final.
	Ended(end Ended)
}

// A Called is one attempt.
type Called struct {
	Update crmapi.Update
	Events int   // that are in it
	Err    error // nil: it was applied
}

// An Ended is one event's end.
type Ended struct {
	Topic     string
	Partition int
	Offset    int64
	Redrive   int // how often it was redriven; 0: it is the original delivery
	Event     mapper.Event
	Outcome   Outcome
	Reason    string                  // of a dead letter
	LeftOut   map[crmapi.Field]string // fields that it states and that were not sent, and why
}

// Why a field was left out.
const (
	LeftOutNewer  = "a newer event states it"
	LeftOutHolds  = "the CRM holds this value"
	LeftOutWithin = "a newer event waiting beside it states it"
)

type nobody struct{}

func (nobody) Arrived(mapper.Record, []mapper.Result) {}
func (nobody) Called(Called)                          {}
func (nobody) Ended(Ended)                            {}
