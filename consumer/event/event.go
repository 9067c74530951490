package event

import (
	"time"

	"membersync/crmapi"
	"membersync/dedupe"
	"membersync/dlq"
	"membersync/mapper"
)

// An Outcome is the result of one delivery of an event. Every delivery has exactly one.
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

// A Record is one Kafka record as it was read. [Pack] makes of it what is kept in memory.
type Record struct {
	// Origin is the record of the source topic that the events are of. Identity, version, dead letter
	// and logs use its coordinates. For a redrive it is the record of the dead letter; for a record of
	// the redrive topic that is invalid, it is that record itself.
	Origin mapper.Record
	// Redrive is nil for a record of the source topic.
	Redrive *Redrive
}

// A Redrive is what a record of the redrive topic asks for.
type Redrive struct {
	Request    dlq.Redrive    // as the record states it
	DeadLetter dlq.DeadLetter // the dead letter that it names, as the DLQ holds it
	Time       time.Time      // timestamp of the record in the redrive topic
	Invalid    string         // not empty: why the record is not a valid redrive of that dead letter
	// Requested: the audit topic holds a request of this redrive, valid or not. The result is that of
	// the request.
	Requested bool
	// Expired: it is invalid since retention has removed the dead letter or the request.
	Expired bool
}

// RedriveNumber is how often the event was redriven, this delivery included; 0 for the original
// delivery and for an invalid redrive.
func (r *Record) RedriveNumber() int { return r.Redrive.number() }

// number may be called without a redrive.
func (r *Redrive) number() int {
	if r == nil || r.Invalid != "" {
		return 0
	}
	return r.Request.Number
}

// A Ticket is an event's place in the account of its partition. Exactly one of Finish and Drop must
// be called, exactly once. Its methods are safe for concurrent use; the two predicates take no
// lock.
type Ticket interface {
	// Finish says that the event has its outcome. The record's offset may be committed once all of its
	// events are finished.
	Finish()
	// Drop says that this process will not finish the event. The record's offset is not committed
	// here.
	Drop()
	// ReleaseBuffer gives the record's place in the buffer to another record before the event is
	// finished. Further calls do nothing.
	ReleaseBuffer()
	// IsRevoked reports whether the partition was taken away: an event that has not begun is dropped.
	IsRevoked() bool
	// IsClosed reports whether the last commit of the partition has been sent: nothing of it counts
	// now.
	IsClosed() bool
}

// An Event is one employee's change, from its decoding to its outcome. Make one with [New]. The
// order of the fields keeps it small.
type Event struct {
	Record *Packed
	Ticket Ticket
	mapped packedEvent
	Key    LaneKey
	// Guard is what the storm guard has decided, and Counted where it has counted that the event was
	// read. Both are the schedule's, or the batch's in which the event runs.
	Guard GuardState
	// Skipped: a replay leaves the event out, since its dead letter is for a redrive to try again.
	Skipped bool
	// Reused: the source gave the event's id to an event with another order value too.
	Reused bool
	// Storms is how many storms had ended when the event was read, or last put back into its lane. A
	// rejection from before the end of a storm says nothing.
	Storms  int32
	ID      ID
	Counted uint64
	// Rejection is not nil while the event is to be dead-lettered.
	Rejection *Rejection
	// Attempts is nil while no call that carried the event has failed.
	Attempts *Attempts
}

// New returns an event of a record, as the mapper has read it.
func New(rec *Packed, mapped mapper.Event) *Event {
	return &Event{Record: rec, mapped: packEvent(rec, &mapped)}
}

// Mapped returns the event as the mapper has read it.
func (e *Event) Mapped() mapper.Event {
	p := e.mapped.parts()
	mapped := mapper.Event{
		Index: int(p.index), Count: int(p.count), ID: p.id, EmployeeID: p.employeeID, OpenUserID: p.openUserID, //nolint:gosec // as they were packed
		Order: p.order, Version: p.versionIn(e.Record), Update: crmapi.Unpack(p.openUserID, p.settings), Ignored: p.ignored,
	}
	if p.isOrderOfVersion {
		mapped.Order = mapper.FormatOrder(p.value)
	}
	return mapped
}

// Update returns the fields that the event states.
func (e *Event) Update() crmapi.Update {
	p := e.mapped.parts()
	return crmapi.Unpack(p.openUserID, p.settings)
}

// Version is what the fields that the event states are compared by.
func (e *Event) Version() mapper.Version {
	p := e.mapped.parts()
	return p.versionIn(e.Record)
}

// Ignored is the rule of the mapping that ignores the event; empty: none does.
func (e *Event) Ignored() string { return e.mapped.parts().ignored }

// SetMapped replaces what the mapper has read.
func (e *Event) SetMapped(mapped mapper.Event) { e.mapped = packEvent(e.Record, &mapped) }

// Finish says that the event has its outcome, see [Ticket].
func (e *Event) Finish() {
	e.Ticket.Finish()
	e.Record.Trace.leave()
}

// Drop says that this process does not finish the event, see [Ticket].
func (e *Event) Drop() {
	e.Ticket.Drop()
	e.Record.Trace.drop()
}

// IsRedrive reports whether the event comes from the redrive topic.
func (e *Event) IsRedrive() bool { return e.Record.Redrive != nil }

// A LaneKey identifies a lane: that of a member or, where the member is not known, of a single
// record or event that could not be read. The latter has a Redis member of its own, for its done
// mark.
type LaneKey struct {
	Member dedupe.Member
	Unread bool // of a record or event that could not be read: Member is made of its place
}

// IsMember reports whether the lane is that of a member, and so needs the CRM.
func (k LaneKey) IsMember() bool { return !k.Unread }

// A Rejection is why an event will be dead-lettered, and how far that is.
type Rejection struct {
	Reason  dlq.Reason
	Text    string    // for the dead letter; without values
	Whole   bool      // the record failed whole
	At      time.Time // when it was decided
	Written bool      // the dead-letter topic has acknowledged the dead letter
	Counted bool      // the storm guard has counted it
	Again   bool      // it is that of an earlier decoding: the event is to be decoded again
	// LastOffset is that of the last record that was not read with this one; 0: this is all.
	LastOffset int64
}

// Attempts are the failed calls that carried an event.
type Attempts struct {
	Total   int           // all of them, for the dead letter
	Counted int           // those that count against the retry budget
	From    time.Duration // reading of the health clock at the first failure
	First   time.Time     // of the first failure
	Last    *crmapi.Error // of the latest failure
}

// AddAttempts returns the event's attempts, which exist from then on.
func (e *Event) AddAttempts() *Attempts {
	if e.Attempts == nil {
		e.Attempts = &Attempts{}
	}
	return e.Attempts
}

// LastError is the latest failure of a call that carried the event; nil if there was none.
func (e *Event) LastError() *crmapi.Error {
	if e.Attempts == nil {
		return nil
	}
	return e.Attempts.Last
}

// A GuardState is what the storm guard has decided about an event.
type GuardState uint8

// The states. A watched event counts, and is held if it is rejected in a storm.
const (
	Watched GuardState = iota
	// Exempt: it neither counts nor is held. It is a redrive.
	Exempt
	// Held: it was rejected in a storm. It is in no lane, and is neither finished nor committed.
	Held
	// Tried: it was held, and is in its lane again to find out whether the storm is over.
	Tried
	// TriedAsNew: it was held in a storm that is over. It counts as a new event.
	TriedAsNew
	// TriedLast: it was held, and is dead-lettered if it is rejected once more.
	TriedLast
	// Released: it was held, and is dead-lettered without another try.
	Released
)

// LeftOut says, of the fields that an event states and that were not sent, why.
type LeftOut map[crmapi.Field]string

// Why a field was left out.
const (
	LeftOutNewer  = "a newer event states it"
	LeftOutHolds  = "the CRM holds this value"
	LeftOutWithin = "a newer event in the same batch states it"
)

// A Finished is an event with its final outcome.
type Finished struct {
	Event   *Event
	Outcome Outcome
	LeftOut LeftOut
	// Earlier is set for a redrive that ran before and whose result was not recorded: that result.
	Earlier Outcome
}

// A Member identifies a member of the CRM; see [dedupe.Member].
type Member = dedupe.Member

// An ID identifies an event; see [dedupe.EventID].
type ID = dedupe.EventID
