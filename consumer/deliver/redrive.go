package deliver

import (
	"context"

	"membersync/consumer/event"
	"membersync/dlq"
)

// RecordResult writes the result of a redriven event to the audit topic; for any other event it
// does nothing. The event counts as finished only after that: without the record it would be
// redriving for good.
func (d *Deliverer) RecordResult(ctx context.Context, f event.Finished) error {
	if f.Event.Record.Redrive == nil {
		return nil
	}
	record, ok := d.resultOf(f)
	if !ok {
		return nil
	}
	return d.parts.Audit.Write(ctx, record)
}

// resultOf is the audit record. Not ok: the record in the redrive topic names no request of this
// redrive, so there is nothing of which this could be the result; or it is about a dead letter of
// another source topic, which can have the id of one of ours.
func (d *Deliverer) resultOf(f event.Finished) (r dlq.AuditRecord, ok bool) {
	redrive := f.Event.Record.Redrive
	request := redrive.Request
	if redrive.Invalid != "" && (!redrive.Requested || request.DeadLetter.Source.Topic != d.cfg.Topic ||
		request.DeadLetter.Reason == dlq.ReasonInvalidRedrive) {
		return r, false
	}
	r = dlq.AuditRecord{
		Actor: d.cfg.Group, Action: dlq.ActionRedriveResult, Subject: request.DeadLetter.ID(), Note: request.Note,
		Result: string(f.Outcome),
		Detail: dlq.Detail{
			DeadLetter: request.Place.String(), Number: request.Number, Edited: request.Edited, By: request.By,
		},
	}
	if f.Earlier != "" { // this very redrive ran before, and only its result was missing
		r.Result = string(f.Earlier)
	}
	if f.Event.Rejection != nil && f.Outcome == event.DeadLettered {
		r.Detail.Reason = string(f.Event.Rejection.Reason)
	}
	if redrive.Invalid != "" { // who and why may be forged
		r.Result, r.Note, r.Detail.By = dlq.ResultRefused, "", ""
	}
	return r, true
}
