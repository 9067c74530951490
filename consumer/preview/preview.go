// Package preview serves the commands that show what the service would do: it decodes and
// identifies events as the service does, without running anything.
//
// It must not know how batches are scheduled or delivered.
package preview

import (
	"context"

	"membersync/consumer/decode"
	"membersync/dedupe"
	"membersync/dlq"
	"membersync/mapper"
)

// Identify returns the member and the event id under which the service keeps the state of an event.
// Rec has the coordinates of the source topic, also for a redriven event.
func Identify(baseURL, corpID string, rec mapper.Record, res mapper.Result) (dedupe.Member, dedupe.EventID) {
	return decode.Identify(baseURL, corpID, rec, res)
}

// DeliveryOf names the delivery of an event for [dlq.Index.ReplaySkips].
func DeliveryOf(sourceTopic string, run Redrive, res mapper.Result) dlq.Delivery {
	return decode.DeliveryOf(sourceTopic, run.Record, run.Number, res)
}

// OfEmployee returns the results of one employee; an empty id: all.
func OfEmployee(results []mapper.Result, employee string) []mapper.Result {
	return decode.OfEmployee(results, employee)
}

// A Guard calls a mapper, and turns its panic into a malformed result.
type Guard = decode.Guard

// A Redrive is what a record of the redrive topic would run.
type Redrive struct {
	Record  mapper.Record // that the events are of: the source topic's, or the redrive's own if it is invalid
	Number  int           // of the redrive; 0 if it is invalid
	Results []mapper.Result
	// Expired: it is invalid since retention has removed its dead letter or its request. Record is the
	// source record that it states, which nothing confirms.
	Expired bool
}

// A Verifier decides whether a record of the redrive topic is a valid redrive.
type Verifier = decode.Verifier

// DecodeRedrive decodes a record of the redrive topic as the service does. It does not wait for
// anything: its errors are those of reading the dead letter and of mapRecord.
func DecodeRedrive(
	ctx context.Context, verifier Verifier, in mapper.Record,
	mapRecord func(context.Context, mapper.Record) ([]mapper.Result, error),
) (Redrive, error) {
	rec, err := verifier.Verify(ctx, in)
	if err != nil {
		return Redrive{}, err
	}
	results, err := decode.ResultsOf(ctx, rec, in, mapRecord, func(mapper.Record, []mapper.Result) {})
	if err != nil {
		return Redrive{}, err
	}
	return Redrive{Record: decode.SourceOf(rec), Number: rec.RedriveNumber(), Expired: rec.Redrive.Expired, Results: results}, nil
}

// EditedResults returns the results that a redrive of a dead letter would run, if its value were
// edited so that the record has these results. Not ok: the value is of another employee, and such a
// redrive is invalid.
func EditedResults(named dlq.DeadLetter, results []mapper.Result) (own []mapper.Result, ok bool) {
	return decode.EditedResults(named, results)
}

// Unread is the result of a record that the service does not read, because it is beyond the bounds
// or cannot be decoded.
func Unread(isMalformed bool, text string) []mapper.Result {
	fault := decode.UnreadFault(isMalformed, text)
	return []mapper.Result{{Fault: &fault}}
}
