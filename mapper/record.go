package mapper

import (
	"time"

	"membersync/crmapi"
)

// A Header is one header of a record.
type Header struct {
	Key   string
	Value []byte
}

// A Record is one Kafka record with its original coordinates: those of the source
// topic, also when it is redriven or replayed. Map keeps no reference to it.
type Record struct {
	Topic      string
	Partition  int
	Offset     int64
	Time       time.Time // the record's timestamp; the zero time: none
	Key, Value []byte    // a nil value is a tombstone
	Headers    []Header
	Edited     int // the number of the redrive that edited the value; 0: the original value
}

// size is what the bound on a record counts. Headers are left out: a redriven record
// has more of them, and must not become oversized by that.
func (r Record) size() int { return len(r.Key) + len(r.Value) }

// A Result is what a record says of one employee. If Fault is not nil the event is
// rejected, and Event holds what could be read of its identification.
type Result struct {
	Event Event
	Fault *Fault
}

// An Event is one change of one employee.
type Event struct {
	Index, Count int // the place in the record, from 0, and how many it holds; 0 and 0 if it failed whole
	ID           string
	EmployeeID   string
	OpenUserID   string
	Order        string        // the order value: decimal digits without leading zeros
	Version      Version       // what the fields that it states are compared by
	Update       crmapi.Update // the fields that it states; none if nothing changed
	Ignored      string        // the rule that ignores the event, if one does; then there is no update
}
