package decode

import (
	"context"
	"fmt"

	"membersync/consumer/event"
	"membersync/consumer/wait"
	"membersync/dlq"
	"membersync/mapper"
)

// Originals reads records of the source topic again.
type Originals interface {
	// Original sets key, value and headers of a record that has the coordinates of the source
	// topic. It reports false if the topic does not hold it now, or if it is still beyond the
	// bounds. An error says that this is not known.
	Original(ctx context.Context, rec *mapper.Record) (bool, error)
}

// Unread returns the one event of a record that was not read, with its rejection. In has the
// coordinates only. The fault says why; last is the last offset of the records that it stands for.
func (d *Decoder) Unread(in mapper.Record, fault mapper.Fault, last int64) []*event.Event {
	rec := &event.Record{Origin: in}
	results := []mapper.Result{{Fault: &fault}}
	if in.Topic != d.cfg.Topic {
		rec.Redrive = &event.Redrive{Time: in.Time, Invalid: fault.Error()}
		results = rejectInvalid(rec.Redrive)
	}
	d.parts.Decoded(in, results)
	events := d.events(rec, OfEmployee(results, d.cfg.Employee))
	for _, ev := range events {
		ev.Rejection.LastOffset = last
	}
	return events
}

// UnreadFault is the fault of a record of which only the coordinates are known.
func UnreadFault(isMalformed bool, text string) mapper.Fault {
	fault := mapper.Fault{Reason: mapper.Oversized, Whole: true, Path: "the record", Text: text, Offset: -1}
	if isMalformed {
		fault.Reason = mapper.Malformed
	}
	return fault
}

// isUnread reports whether a redrive is of a dead letter that holds nothing which could run. Such a
// record has no value, but it is no tombstone.
func isUnread(rec *event.Record) bool {
	named := rec.Redrive.DeadLetter
	wasUnread := named.Reason == dlq.ReasonOversized || named.Reason == dlq.ReasonMalformed
	return rec.Redrive.Invalid == "" && wasUnread && named.Whole && rec.Origin.Value == nil
}

// readOriginal reads the record of such a dead letter from the source topic: the bound may have
// been raised since. A dead letter that stands for several records is not enough to run one of
// them.
func (d *Decoder) readOriginal(ctx context.Context, rec *event.Record) error {
	if !isUnread(rec) || rec.Redrive.DeadLetter.LastOffset > 0 || d.parts.Originals == nil {
		return nil
	}
	for {
		_, err := d.parts.Originals.Original(ctx, &rec.Origin)
		if err == nil {
			return nil
		}
		d.parts.Outages.KafkaFailed(ctx, rec.Origin.Topic, rec.Origin.Partition, err)
		if err := wait.For(ctx, redriveWait); err != nil {
			return err
		}
	}
}

// rejectUnread is the result of a redrive that has still nothing to run; nil: it has.
func rejectUnread(rec *event.Record) []mapper.Result {
	if !isUnread(rec) {
		return nil
	}
	named := rec.Redrive.DeadLetter
	text := "was not read, and cannot be read from the source topic now: raise the bound, or redrive it with a value"
	if named.LastOffset > 0 {
		text = fmt.Sprintf("was not read, with all up to offset %d: raise the bound and replay them, and redrive this one with a value",
			named.LastOffset)
	}
	return []mapper.Result{{Fault: &mapper.Fault{
		Reason: mapper.Reason(named.Reason), Whole: true, Path: "the record", Text: text, Offset: -1,
	}}}
}
