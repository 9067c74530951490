package dlq

import (
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"
)

// A Header is a header of the source record. A nil value and an empty one differ.
type Header struct {
	Key   string
	Value []byte
}

// A Source says where an event was read first. It stays over later deaths.
type Source struct {
	Topic     string
	Partition int
	Offset    int64
	Timestamp time.Time // the record's own; the zero time if it has none
}

// A DeadLetter is one dead letter: the source record as it was, and the facts of
// its death. Times keep their milliseconds. It may be copied; the copies share
// key, value and headers, which nothing in this package modifies.
type DeadLetter struct {
	// The record's own, byte for byte; nil and empty are kept apart.
	Key, Value []byte
	Headers    []Header

	Source Source // of the first death

	Reason Reason
	Stage  Stage  // empty means the reason's
	Error  string // text without values; cleaned and cut when written

	CRMCode                  string // the CRM's errorCode
	CRMTraceID, ThirdTraceID string // of the last call, for the vendor's support
	EventID, EmployeeID      string // as far as they are known

	Index, Count int  // the event's place among the record's events, from 0, and their number
	Whole        bool // the record failed whole: no index, no count, and no index in the id

	Attempts                int // calls of the CRM in this death
	FirstFailedAt, FailedAt time.Time

	Group, Version string // the consumer group and the version of the service that gave up
	Redrives       int    // how often the event was sent again before this death
}

// ID identifies the item that this letter is about: the same over copies of
// the letter and over later deaths of the event.
//
// That of an invalid redrive begins with "redrive:": its source is the redrive topic.
func (l DeadLetter) ID() string {
	prefix := ""
	if l.Reason == ReasonInvalidRedrive {
		prefix = redrivePrefix
	}
	id := prefix + strconv.Itoa(l.Source.Partition) + ":" + strconv.FormatInt(l.Source.Offset, 10)
	if l.Whole {
		return id
	}
	return id + ":" + strconv.Itoa(l.Index)
}

// Message encodes the letter as a record: the source's key, value and headers,
// then the facts. Topic and partition are left to the [Writer], the time to
// the moment of writing. Key and values are shared with the letter.
func (l DeadLetter) Message() kafka.Message {
	headers := make([]kafka.Header, 0, len(l.Headers)+len(factNames()))
	for _, h := range l.Headers {
		headers = append(headers, kafka.Header{Key: escape(h.Key), Value: h.Value})
	}
	return kafka.Message{Key: l.Key, Value: l.Value, Headers: l.appendFacts(headers)}
}

// Parse decodes a record of the dead-letter topic. Facts of a later version
// are left out; a missing or broken one is a [*FormatError].
func Parse(m kafka.Message) (DeadLetter, error) {
	l := DeadLetter{Key: m.Key, Value: m.Value}
	f := facts{values: make(map[string]string, len(factNames()))}
	for _, h := range m.Headers {
		if isFact(h.Key) {
			f.add(h)
			continue
		}
		l.Headers = append(l.Headers, Header{Key: unescape(h.Key), Value: h.Value})
	}
	l.readFacts(&f)
	if f.err == nil && f.values[headerID] != l.ID() {
		f.fail(headerID, "disagrees with the source coordinates")
	}
	if f.err != nil {
		return DeadLetter{}, f.err
	}
	return l, nil
}

// A FormatError says which header of a record keeps it from being a dead
// letter. It never holds the header's value.
type FormatError struct {
	Header  string
	Problem string
}

// Error names the header and what is wrong with it.
func (e *FormatError) Error() string { return "dlq: header " + e.Header + ": " + e.Problem }
