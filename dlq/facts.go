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
	headerGroup           = "dlq.group"
	headerVersion         = "dlq.membersync.version"
	headerRedrives        = "dlq.redrives"
)

const (
	factPrefix = "dlq."
	origPrefix = "orig." // marks a header of the source that would read as a fact

	maxErrorBytes = 1 << 10
	maxFactBytes  = 4 << 10 // so that all facts together stay far below topicHeadroom
)

func factNames() []string {
	return []string{
		headerID, headerReason, headerStage, headerError, headerCRMCode, headerCRMTraceID, headerThirdTraceID,
		headerEventID, headerEmployeeID, headerEventIndex, headerEventCount, headerAttempts, headerFirstFailedAt,
		headerFailedAt, headerSourceTopic, headerSourcePartition, headerSourceOffset, headerSourceTimestamp,
		headerGroup, headerVersion, headerRedrives,
	}
}

func isFact(key string) bool { return strings.HasPrefix(key, factPrefix) }

// escape keeps a header of the source apart from the facts. One that looks
// escaped already is escaped once more, so that unescape always finds the original.
func escape(key string) string {
	if isFact(withoutOrig(key)) {
		return origPrefix + key
	}
	return key
}

func unescape(key string) string {
	if isFact(withoutOrig(key)) {
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
func (l DeadLetter) appendFacts(headers []kafka.Header) []kafka.Header {
	text := func(key, value string) {
		if value != "" {
			headers = append(headers, kafka.Header{Key: key, Value: []byte(clip(value, maxFactBytes))})
		}
	}
	number := func(key string, n int64) { text(key, strconv.FormatInt(n, 10)) }
	text(headerID, l.ID())
	text(headerReason, string(l.Reason))
	text(headerStage, string(l.stage()))
	text(headerError, errorText(l.Error))
	text(headerCRMCode, l.CRMCode)
	text(headerCRMTraceID, l.CRMTraceID)
	text(headerThirdTraceID, l.ThirdTraceID)
	text(headerEventID, l.EventID)
	text(headerEmployeeID, l.EmployeeID)
	if !l.Whole {
		number(headerEventIndex, int64(l.Index))
		number(headerEventCount, int64(l.Count))
	}
	number(headerAttempts, int64(l.Attempts))
	text(headerFirstFailedAt, formatTime(l.FirstFailedAt))
	text(headerFailedAt, formatTime(l.FailedAt))
	text(headerSourceTopic, l.Source.Topic)
	number(headerSourcePartition, int64(l.Source.Partition))
	number(headerSourceOffset, l.Source.Offset)
	text(headerSourceTimestamp, formatTime(l.Source.Timestamp))
	text(headerGroup, l.Group)
	text(headerVersion, l.Version)
	number(headerRedrives, int64(l.Redrives))
	return headers
}

func (l DeadLetter) stage() Stage {
	if l.Stage == "" {
		return l.Reason.Stage()
	}
	return l.Stage
}

func (l *DeadLetter) readFacts(f *facts) {
	for _, key := range []string{headerID, headerReason, headerSourceTopic, headerSourcePartition, headerSourceOffset} {
		f.require(key)
	}
	v := f.values
	l.Reason, l.Stage, l.Error = Reason(v[headerReason]), Stage(v[headerStage]), v[headerError]
	l.CRMCode, l.CRMTraceID, l.ThirdTraceID = v[headerCRMCode], v[headerCRMTraceID], v[headerThirdTraceID]
	l.EventID, l.EmployeeID = v[headerEventID], v[headerEmployeeID]
	if l.Whole = !f.has(headerEventIndex) && !f.has(headerEventCount); !l.Whole {
		f.require(headerEventIndex)
		f.require(headerEventCount)
		l.Index, l.Count = f.count(headerEventIndex), f.count(headerEventCount)
	}
	l.Attempts, l.Redrives = f.count(headerAttempts), f.count(headerRedrives)
	l.FirstFailedAt, l.FailedAt = f.time(headerFirstFailedAt), f.time(headerFailedAt)
	l.Source = Source{
		Topic:     v[headerSourceTopic],
		Partition: f.count(headerSourcePartition),
		Offset:    f.number(headerSourceOffset, math.MaxInt64),
		Timestamp: f.time(headerSourceTimestamp),
	}
	l.Group, l.Version = v[headerGroup], v[headerVersion]
}

// facts reads the headers of a dead letter and keeps the first fault.
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
		f.fail(h.Key, "stands there twice")
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

func (f *facts) number(key string, most int64) int64 {
	value, ok := f.values[key]
	if !ok {
		return 0
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < 0 || n > most {
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
		f.fail(key, "is not a time")
	}
	return t
}
