package decode

import (
	"membersync/consumer/event"
	"membersync/dlq"
	"membersync/mapper"
)

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

// rejectUnread is the result of a redrive whose dead letter holds nothing that could run; nil: it
// holds something. Such a record has no value, but it is no tombstone.
func rejectUnread(rec *event.Record) []mapper.Result {
	named := rec.Redrive.DeadLetter
	isUnread := named.Reason == dlq.ReasonOversized || named.Reason == dlq.ReasonMalformed
	if !isUnread || !named.Whole || rec.Origin.Value != nil {
		return nil
	}
	return []mapper.Result{{Fault: &mapper.Fault{
		Reason: mapper.Reason(named.Reason), Whole: true, Path: "the record", Offset: -1,
		Text: "was not read, so its dead letter has no value; redrive it with a value",
	}}}
}
