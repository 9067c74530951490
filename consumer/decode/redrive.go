package decode

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"

	"membersync/consumer/event"
	"membersync/consumer/wait"
	"membersync/dlq"
	"membersync/mapper"
)

// A record of the redrive topic names a dead letter. What runs again is the event of that dead
// letter, at its first coordinates, so that it keeps its version.

// redriveWait is the pause between attempts to read the dead letter that a redrive names.
const redriveWait = time.Second

const (
	editWithoutKey   = "a value is edited, and without MEMBERSYNC_STATE_KEY none can be"
	redriveOfRedrive = "the dead letter named is an invalid redrive: redrive the event's own"
)

// decodeRedrive is Decode for a record of the redrive topic. If the record is not a valid redrive
// of the dead letter that it names, it is rejected whole. A replay reads the whole redrive topic,
// and what it was not asked for holds no event.
func (d *Decoder) decodeRedrive(ctx context.Context, in mapper.Record) ([]*event.Event, error) {
	rec, err := d.verifyUntil(ctx, in)
	if err != nil || d.cfg.Covers != nil && !d.cfg.Covers(in, rec.Origin) {
		return nil, err
	}
	if err := d.readOriginal(ctx, rec); err != nil {
		return nil, err
	}
	results, err := ResultsOf(ctx, rec, d.mapUntil, d.parts.Decoded)
	if err != nil {
		return nil, err
	}
	// This comes after the choice of the event: a redrive whose own event was removed would be
	// rejected.
	return d.events(rec, OfEmployee(results, d.cfg.Employee)), nil
}

// verifyUntil asks for the dead letter until Kafka answers.
func (d *Decoder) verifyUntil(ctx context.Context, in mapper.Record) (*event.Record, error) {
	for {
		rec, err := Verifier{d.parts.Archive, d.cfg.RefuseEdits}.Verify(ctx, in)
		if err == nil {
			return rec, nil
		}
		d.parts.Outages.KafkaFailed(ctx, in.Topic, in.Partition, err)
		if err := wait.For(ctx, redriveWait); err != nil {
			return nil, err
		}
	}
}

// A Verifier decides whether a record of the redrive topic is a valid redrive.
type Verifier struct {
	Archive Archive
	// RefuseEdits: there is no state key, so an edited value could not be told from a forged one.
	RefuseEdits bool
}

// Verify reads the dead letter that a record of the redrive topic names, and compares the two. If
// they match, the returned record is that of the dead letter, with the value of the redrive;
// otherwise Redrive.Invalid says why not. The error says that the dead letter cannot be read now.
func (v Verifier) Verify(ctx context.Context, in mapper.Record) (*event.Record, error) {
	rec := parse(in)
	if rec.Redrive.Invalid == "" && v.RefuseEdits && rec.Redrive.Request.Edited {
		rec.Redrive.Invalid = editWithoutKey
	}
	if rec.Redrive.Invalid != "" {
		return rec, nil
	}
	return rec, compare(ctx, v.Archive, rec, in.Value)
}

// ResultsOf returns what a redrive is about: the result of one event or, for a dead letter that
// failed whole, all results of the record; for an invalid redrive, its rejection. Decoded is called
// with all results. The error is that of mapRecord.
func ResultsOf(
	ctx context.Context, rec *event.Record, mapRecord func(context.Context, mapper.Record) ([]mapper.Result, error),
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
	return choose(rec.Redrive, results), nil
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

// compare reads the dead letter, decides whether the redrive is valid and, if so, sets the record
// to run: that of the dead letter, with the value of the redrive.
func compare(ctx context.Context, archive Archive, rec *event.Record, value []byte) error {
	r := rec.Redrive
	named, err := archive.DeadLetter(ctx, r.Request.Place)
	switch {
	case errors.Is(err, dlq.ErrNoDeadLetter):
		r.Invalid = err.Error()
		return nil
	case err != nil:
		return err
	}
	r.DeadLetter = named
	if err := r.Request.Check(named); err != nil {
		r.Invalid = err.Error()
	}
	if named.Reason == dlq.ReasonInvalidRedrive {
		r.Invalid = redriveOfRedrive
	}
	if r.Invalid == "" {
		rec.Origin = originOf(named, value)
		rec.Origin.Edited = r.Request.EditedBy(named)
	}
	return nil
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
func choose(r *event.Redrive, results []mapper.Result) []mapper.Result {
	if r.DeadLetter.Whole {
		return results
	}
	for _, res := range results {
		if res.Fault == nil && res.Event.Index == r.DeadLetter.Index {
			return []mapper.Result{res}
		}
		if res.Fault != nil && (res.Fault.Whole || res.Event.Index == r.DeadLetter.Index) {
			return []mapper.Result{atFirstPlace(r, res)}
		}
	}
	fault := &mapper.Fault{
		Reason: mapper.InvalidEvent, Text: fmt.Sprintf("holds no event %d any more", r.DeadLetter.Index), Offset: -1,
	}
	return []mapper.Result{atFirstPlace(r, mapper.Result{Fault: fault})}
}

// atFirstPlace gives a rejected event the place in its record that its first dead letter has.
func atFirstPlace(r *event.Redrive, res mapper.Result) mapper.Result {
	fault := *res.Fault
	fault.Whole = false
	res.Fault, res.Event.Index, res.Event.Count = &fault, r.DeadLetter.Index, r.DeadLetter.Count
	return res
}
