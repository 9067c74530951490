package dlq

import (
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
)

// A Header is a header of the source record. A nil value and an empty value are different.
type Header struct {
	Key   string
	Value []byte
}

// A Source is where an event was read first. It stays the same over later failures.
type Source struct {
	Topic     string
	Partition int
	Offset    int64
	Timestamp time.Time // of the record; the zero time if it has none
}

// A DeadLetter is one dead letter: the unchanged source record and the facts of its failure. Times
// are kept to the millisecond. It may be copied. The copies share key, value and headers, which
// this package never modifies.
type DeadLetter struct {
	// Of the source record, byte for byte. Nil and empty stay different.
	Key, Value []byte
	Headers    []Header

	Source Source // of the first failure
	// LastOffset is that of the last record that was not read together with this one: the batch that
	// they are in could not be inflated. 0: there is none. A record that was not read has no key,
	// value and headers here.
	LastOffset int64

	Reason Reason
	Stage  Stage  // empty means the reason's stage
	Error  string // text without values; cleaned and truncated when written

	CRMCode                  string // the CRM's errorCode
	CRMTraceID, ThirdTraceID string // of the last call, for the vendor's support
	EventID, EmployeeID      string // empty if unknown

	Index, Count int  // the event's index among the record's events, from 0, and their number
	Whole        bool // the record failed whole: no index, no count, and no index in the id

	Attempts                int // calls of the CRM for this failure
	FirstFailedAt, FailedAt time.Time

	Group, Version string // the consumer group and the version of the service that wrote this
	Redrives       int    // how often the event was redriven before this failure
	Edited         int    // the number of the redrive that edited the value; 0: it is the original
	Traceparent    string // W3C trace context of the span that wrote this; empty: it was not traced
}

// ID returns the id of the item that this dead letter belongs to, see the type [ID]. It is the same
// for copies of the dead letter and for later failures of the event.
func (d DeadLetter) ID() string { return d.itemID().String() }

// TraceID is the id of the trace in which the dead letter was written (W3C Trace Context, trace-id,
// 32 hexadecimal digits); empty: it was not traced.
func (d DeadLetter) TraceID() string {
	if parts := strings.Split(d.Traceparent, "-"); len(parts) >= 4 && len(parts[1]) == 32 {
		return parts[1]
	}
	return ""
}

// Message encodes the dead letter as a record: the source's key, value and headers, then the facts.
// The [Writer] chooses topic and partition, and the time is set when the record is written. Key and
// values are shared with the dead letter.
func (d DeadLetter) Message() kafka.Message {
	headers := make([]kafka.Header, 0, len(d.Headers)+len(factNames()))
	for _, h := range d.Headers {
		headers = append(headers, kafka.Header{Key: escape(h.Key), Value: h.Value})
	}
	return kafka.Message{Key: d.Key, Value: d.Value, Headers: d.appendFacts(headers)}
}

// Parse decodes a record of the dead-letter topic. It skips facts that it does not know, such as
// those of a later version. A missing or invalid fact is a [*FormatError].
func Parse(m kafka.Message) (DeadLetter, error) {
	d := DeadLetter{Key: m.Key, Value: m.Value}
	f := facts{values: make(map[string]string, len(factNames()))}
	for _, h := range m.Headers {
		if isFact(h.Key) {
			f.add(h)
			continue
		}
		if isOfRedrive(h.Key) { // no source header: its name would be escaped
			continue
		}
		d.Headers = append(d.Headers, Header{Key: unescape(h.Key), Value: h.Value})
	}
	d.readFacts(&f)
	if f.err == nil && f.values[headerID] != d.ID() {
		f.fail(headerID, "disagrees with the source coordinates and timestamp")
	}
	if f.err != nil {
		return DeadLetter{}, f.err
	}
	return d, nil
}

// A FormatError names the header because of which a record is not a valid dead letter or redrive.
// It never holds the header's value.
type FormatError struct {
	Header  string
	Problem string
}

// Error names the header and what is wrong with it.
func (e *FormatError) Error() string { return "dlq: header " + e.Header + ": " + e.Problem }
