package decode

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"

	"membersync/consumer/event"
	"membersync/consumer/wait"
	"membersync/dlq"
	"membersync/mapper"
)

// A record of the redrive topic names a dead letter, and the audit record of its request. Write
// access to the redrive topic alone changes nothing in the CRM. What runs again is the event of the
// dead letter, at its first coordinates, so that it keeps its version.

// redriveWait is the pause between attempts to read what a redrive names.
const redriveWait = time.Second

const (
	redriveOfRedrive = "the dead letter named is an invalid redrive: redrive the event's own"
	otherEmployee    = "the edited value is of another employee than the dead letter"
)

// decodeRedrive is Decode for a record of the redrive topic. If the record is not a valid redrive
// of the dead letter that it names, it is rejected whole. A replay reads the whole redrive topic,
// and what it was not asked for holds no event.
func (d *Decoder) decodeRedrive(ctx context.Context, in mapper.Record) ([]*event.Event, error) {
	rec, err := d.verifyUntil(ctx, in)
	if err != nil || d.cfg.Covers != nil && !d.cfg.Covers(in, SourceOf(rec)) {
		return nil, err
	}
	if rec.Redrive.Expired && d.cfg.SkipExpired {
		d.skipExpired(rec)
		return nil, nil
	}
	if err := d.readOriginal(ctx, rec); err != nil {
		return nil, err
	}
	results, err := ResultsOf(ctx, rec, in, d.mapUntil, d.parts.Decoded)
	if err != nil {
		return nil, err
	}
	// This comes after the choice of the event: a redrive whose own event was removed would be
	// rejected.
	return d.events(rec, OfEmployee(results, d.cfg.Employee)), nil
}

// SourceOf returns the source record of a redrive, for the question whether a range covers it. That
// of an expired redrive is as the redrive states it; nothing else may rely on it. An invalid
// redrive has none: it returns the record of the redrive topic.
func SourceOf(rec *event.Record) mapper.Record {
	if rec.Redrive.Expired {
		return originOf(rec.Redrive.Request.DeadLetter, nil)
	}
	return rec.Origin
}

// skipExpired reports an expired redrive, unless the replay is about another employee.
func (d *Decoder) skipExpired(rec *event.Record) {
	if d.parts.Expired != nil && (d.cfg.Employee == "" || rec.Redrive.Request.DeadLetter.EmployeeID == d.cfg.Employee) {
		d.parts.Expired()
	}
}

// verifyUntil asks for the evidence until Kafka answers.
func (d *Decoder) verifyUntil(ctx context.Context, in mapper.Record) (*event.Record, error) {
	verifier := Verifier{d.parts.Archive, d.parts.Digest}
	rec, err := verifier.Verify(ctx, in)
	if err == nil {
		return rec, nil
	}
	defer d.parts.Outages.EvidenceRead(ctx)
	for err != nil {
		d.parts.Outages.EvidenceFailed(ctx, err)
		if err := wait.For(ctx, redriveWait); err != nil {
			return nil, err
		}
		rec, err = verifier.Verify(ctx, in)
	}
	return rec, nil
}

// A Verifier decides whether a record of the redrive topic is a valid redrive.
type Verifier struct {
	Archive Archive
	// Digest is that of edited values; nil: there is no state key, and such a redrive is invalid.
	Digest dlq.ValueDigest
}

// Verify reads the dead letter and the audit record that a record of the redrive topic names, and
// compares them with it. If they match, the returned record is that of the dead letter, with the
// value of the redrive; otherwise Redrive.Invalid says why not. The error says that one of the two
// cannot be read now.
func (v Verifier) Verify(ctx context.Context, in mapper.Record) (*event.Record, error) {
	rec := parse(in)
	r := rec.Redrive
	if r.Invalid != "" {
		return rec, nil
	}
	request, err := v.Archive.AuditRecord(ctx, r.Request.Audit)
	if err != nil {
		return rec, refuse(r, err)
	}
	r.Requested = r.Request.IsRequestedBy(request)
	if r.Invalid = textOf(r.Request.CheckRequest(request, v.Digest)); r.Invalid != "" {
		return rec, nil
	}
	if r.DeadLetter, err = v.Archive.DeadLetter(ctx, r.Request.Place); err != nil {
		return rec, refuse(r, err)
	}
	r.Invalid = textOf(r.Request.Check(r.DeadLetter))
	if r.DeadLetter.Reason == dlq.ReasonInvalidRedrive {
		r.Invalid = redriveOfRedrive
	}
	if r.Invalid == "" {
		rec.Origin = originOf(r.DeadLetter, in.Value)
		rec.Origin.Edited = r.Request.EditedBy(r.DeadLetter)
	}
	return rec, nil
}

// ResultsOf returns what a redrive is about: the result of one event or, for a dead letter that
// failed whole, all results of the record; for an invalid redrive, its rejection. An edited value
// of another employee makes the redrive invalid: the origin of rec becomes the record of the
// redrive topic again, which is in. Decoded is called with all results. The error is that of
// mapRecord.
func ResultsOf(
	ctx context.Context, rec *event.Record, in mapper.Record,
	mapRecord func(context.Context, mapper.Record) ([]mapper.Result, error),
	decoded func(mapper.Record, []mapper.Result),
) ([]mapper.Result, error) {
	if rejected := rejectInvalid(rec.Redrive); rejected != nil {
		return rejected, nil
	}
	if rejected := rejectUnread(rec); rejected != nil {
		return rejected, nil
	}
	results, err := mapRecord(ctx, rec.Origin)
	if err != nil {
		return nil, err
	}
	decoded(rec.Origin, results)
	results, ok := EditedResults(rec.Redrive.DeadLetter, results)
	if rec.Redrive.Request.Edited && !ok {
		rec.Redrive.Invalid, rec.Origin = otherEmployee, in
		return rejectInvalid(rec.Redrive), nil
	}
	return results, nil
}

// EditedResults returns what a redrive of a dead letter is about, if its value is edited: see
// [ResultsOf]. Not ok: the value is of another employee, so that such a redrive is invalid.
func EditedResults(named dlq.DeadLetter, results []mapper.Result) (own []mapper.Result, ok bool) {
	own = choose(named, results)
	return own, areOfEmployee(named, own)
}

// areOfEmployee reports whether results are of the employee that a dead letter names. A result
// without an employee is a rejection: nothing of it reaches the CRM.
func areOfEmployee(named dlq.DeadLetter, results []mapper.Result) bool {
	return !slices.ContainsFunc(results, func(res mapper.Result) bool {
		return res.Event.EmployeeID != "" && !named.IsOfEmployee(res.Event.EmployeeID)
	})
}

func parse(in mapper.Record) *event.Record {
	m := kafka.Message{Key: in.Key, Value: in.Value}
	for _, h := range in.Headers {
		m.Headers = append(m.Headers, kafka.Header{Key: h.Key, Value: h.Value})
	}
	r := &event.Redrive{Time: in.Time}
	request, err := dlq.ParseRedrive(m)
	if r.Request = request; err != nil {
		r.Invalid = err.Error()
	}
	return &event.Record{Origin: in, Redrive: r}
}

func textOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// refuse makes a redrive invalid if what it names does not exist. Any other error is returned: it
// says nothing about the redrive.
func refuse(r *event.Redrive, err error) error {
	_, r.Expired = errors.AsType[*dlq.ExpiredError](err)
	if r.Expired || errors.Is(err, dlq.ErrNoDeadLetter) || errors.Is(err, dlq.ErrNoAuditRecord) {
		r.Invalid = err.Error()
		return nil
	}
	return err
}

// originOf is the record of a dead letter, with the value of the redrive.
func originOf(named dlq.DeadLetter, value []byte) mapper.Record {
	rec := mapper.Record{
		Topic: named.Source.Topic, Partition: named.Source.Partition, Offset: named.Source.Offset,
		Time: named.Source.Timestamp, Key: named.Key, Value: value,
	}
	for _, h := range named.Headers {
		rec.Headers = append(rec.Headers, mapper.Header{Key: h.Key, Value: h.Value})
	}
	return rec
}

// rejectInvalid is the result of an invalid redrive; nil: it is valid.
func rejectInvalid(r *event.Redrive) []mapper.Result {
	if r.Invalid == "" {
		return nil
	}
	fault := &mapper.Fault{
		Reason: mapper.Reason(dlq.ReasonInvalidRedrive), Whole: true, Path: "the record",
		Text: "is not run: " + r.Invalid, Offset: -1,
	}
	return []mapper.Result{{Fault: fault}}
}

// choose returns the result that the dead letter is about; all of a record that failed whole.
func choose(named dlq.DeadLetter, results []mapper.Result) []mapper.Result {
	if named.Whole {
		return results
	}
	for _, res := range results {
		if res.Fault == nil && res.Event.Index == named.Index {
			return []mapper.Result{res}
		}
		if res.Fault != nil && (res.Fault.Whole || res.Event.Index == named.Index) {
			return []mapper.Result{atFirstPlace(named, res)}
		}
	}
	fault := &mapper.Fault{
		Reason: mapper.InvalidEvent, Text: fmt.Sprintf("holds no event %d any more", named.Index), Offset: -1,
	}
	return []mapper.Result{atFirstPlace(named, mapper.Result{Fault: fault})}
}

// atFirstPlace gives a rejected event the place in its record that its first dead letter has.
func atFirstPlace(named dlq.DeadLetter, res mapper.Result) mapper.Result {
	fault := *res.Fault
	fault.Whole = false
	res.Fault, res.Event.Index, res.Event.Count = &fault, named.Index, named.Count
	return res
}
