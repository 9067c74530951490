package dlq

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
)

// The headers of a dead letter, in the order in which they are written.
const (
	headerID              = "dlq.id"
	headerReason          = "dlq.reason"
	headerStage           = "dlq.stage"
	headerError           = "dlq.error"
	headerCRMCode         = "dlq.crm.code"
	headerCRMTraceID      = "dlq.crm.trace.id"
	headerThirdTraceID    = "dlq.third.trace.id"
	headerEventID         = "dlq.event.id"
	headerEmployeeID      = "dlq.employee.id"
	headerEventIndex      = "dlq.event.index"
	headerEventCount      = "dlq.event.count"
	headerAttempts        = "dlq.attempts"
	headerFirstFailedAt   = "dlq.first.failed.at"
	headerFailedAt        = "dlq.failed.at"
	headerSourceTopic     = "dlq.source.topic"
	headerSourcePartition = "dlq.source.partition"
	headerSourceOffset    = "dlq.source.offset"
	headerSourceTimestamp = "dlq.source.timestamp"
	headerLastOffset      = "dlq.source.last.offset"
	headerGroup           = "dlq.group"
	headerVersion         = "dlq.membersync.version"
	headerRedrives        = "dlq.redrives"
	headerEdited          = "dlq.edited"

	// HeaderTraceparent holds the W3C trace context of the span that wrote the dead letter, if it was
	// traced. A redrive links to it.
	HeaderTraceparent = "dlq.traceparent"
)

const (
	factPrefix = "dlq."
	origPrefix = "orig." // marks a source header whose name would read as one of membersync's own

	maxErrorBytes = 1 << 10
	maxFactBytes  = 4 << 10 // so that all facts together stay far below topicHeadroom
)

func factNames() []string {
	return []string{
		headerID, headerReason, headerStage, headerError, headerCRMCode, headerCRMTraceID, headerThirdTraceID,
		headerEventID, headerEmployeeID, headerEventIndex, headerEventCount, headerAttempts, headerFirstFailedAt,
		headerFailedAt, headerSourceTopic, headerSourcePartition, headerSourceOffset, headerSourceTimestamp, headerLastOffset,
		headerGroup, headerVersion, headerRedrives, headerEdited, HeaderTraceparent,
	}
}

func isFact(key string) bool { return strings.HasPrefix(key, factPrefix) }

func isOfRedrive(key string) bool { return strings.HasPrefix(key, redriveHeaderPrefix) }

func isReserved(key string) bool { return isFact(key) || isOfRedrive(key) }

// escape renames a source header that could be taken for a fact or for a header of a redrive. A
// name that looks escaped already is escaped once more, so that unescape always restores the
// original.
func escape(key string) string {
	if isReserved(withoutOrig(key)) {
		return origPrefix + key
	}
	return key
}

func unescape(key string) string {
	if isReserved(withoutOrig(key)) {
		return strings.TrimPrefix(key, origPrefix)
	}
	return key
}

func withoutOrig(key string) string {
	for strings.HasPrefix(key, origPrefix) {
		key = key[len(origPrefix):]
	}
	return key
}

// appendFacts appends a header for each fact that is known.
func (d DeadLetter) appendFacts(headers []kafka.Header) []kafka.Header {
	text := func(key, value string) {
		if value != "" {
			headers = append(headers, kafka.Header{Key: key, Value: []byte(clip(value, maxFactBytes))})
		}
	}
	id := func(key, value string) { text(key, escapeID(value)) }
	number := func(key string, n int64) { text(key, strconv.FormatInt(n, 10)) }
	text(headerID, d.ID())
	text(headerReason, string(d.Reason))
	text(headerStage, string(d.stage()))
	text(headerError, errorText(d.Error))
	id(headerCRMCode, d.CRMCode)
	id(headerCRMTraceID, d.CRMTraceID)
	id(headerThirdTraceID, d.ThirdTraceID)
	id(headerEventID, d.EventID)
	id(headerEmployeeID, d.EmployeeID)
	if !d.Whole {
		number(headerEventIndex, int64(d.Index))
		number(headerEventCount, int64(d.Count))
	}
	number(headerAttempts, int64(d.Attempts))
	text(headerFirstFailedAt, formatTime(d.FirstFailedAt))
	text(headerFailedAt, formatTime(d.FailedAt))
	text(headerSourceTopic, d.Source.Topic)
	number(headerSourcePartition, int64(d.Source.Partition))
	number(headerSourceOffset, d.Source.Offset)
	text(headerSourceTimestamp, formatTime(d.Source.Timestamp))
	if d.LastOffset > 0 {
		number(headerLastOffset, d.LastOffset)
	}
	id(headerGroup, d.Group)
	id(headerVersion, d.Version)
	number(headerRedrives, int64(d.Redrives))
	if d.Edited > 0 {
		number(headerEdited, int64(d.Edited))
	}
	id(HeaderTraceparent, d.Traceparent)
	return headers
}

func (d DeadLetter) stage() Stage {
	if d.Stage == "" {
		return d.Reason.Stage()
	}
	return d.Stage
}

func (d *DeadLetter) readFacts(f *facts) {
	for _, key := range []string{headerID, headerReason, headerSourceTopic, headerSourcePartition, headerSourceOffset} {
		f.require(key)
	}
	v := f.values
	d.Reason, d.Stage, d.Error = Reason(v[headerReason]), Stage(v[headerStage]), v[headerError]
	d.CRMCode = unescapeID(v[headerCRMCode])
	d.CRMTraceID, d.ThirdTraceID = unescapeID(v[headerCRMTraceID]), unescapeID(v[headerThirdTraceID])
	d.EventID, d.EmployeeID = unescapeID(v[headerEventID]), unescapeID(v[headerEmployeeID])
	if d.Whole = !f.has(headerEventIndex) && !f.has(headerEventCount); !d.Whole {
		f.require(headerEventIndex)
		f.require(headerEventCount)
		d.Index, d.Count = f.count(headerEventIndex), f.count(headerEventCount)
	}
	d.Attempts, d.Redrives, d.Edited = f.count(headerAttempts), f.count(headerRedrives), f.count(headerEdited)
	d.FirstFailedAt, d.FailedAt = f.time(headerFirstFailedAt), f.time(headerFailedAt)
	d.Source = Source{
		Topic:     v[headerSourceTopic],
		Partition: f.count(headerSourcePartition),
		Offset:    f.number(headerSourceOffset, math.MaxInt64),
		Timestamp: f.time(headerSourceTimestamp),
	}
	d.LastOffset = f.number(headerLastOffset, math.MaxInt64)
	d.Group, d.Version = unescapeID(v[headerGroup]), unescapeID(v[headerVersion])
	d.Traceparent = unescapeID(v[HeaderTraceparent])
}

// facts decodes the headers of a dead letter and keeps the first error.
type facts struct {
	values map[string]string
	err    error
}

func (f *facts) fail(key, problem string) {
	if f.err == nil {
		f.err = &FormatError{Header: key, Problem: problem}
	}
}

func (f *facts) add(h kafka.Header) {
	if f.has(h.Key) {
		f.fail(h.Key, "occurs more than once")
	}
	f.values[h.Key] = string(h.Value)
}

func (f *facts) has(key string) bool {
	_, ok := f.values[key]
	return ok
}

func (f *facts) require(key string) {
	if !f.has(key) {
		f.fail(key, "is missing")
	}
}

func (f *facts) count(key string) int { return int(f.number(key, math.MaxInt32)) }

func (f *facts) number(key string, limit int64) int64 {
	value, ok := f.values[key]
	if !ok {
		return 0
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < 0 || n > limit {
		f.fail(key, "is not a number in its range")
		return 0
	}
	return n
}

func (f *facts) time(key string) time.Time {
	value, ok := f.values[key]
	if !ok {
		return time.Time{}
	}
	t, err := parseTime(value)
	if err != nil {
		f.fail(key, "is not a time: want RFC 3339 or milliseconds since 1970")
	}
	return t
}
