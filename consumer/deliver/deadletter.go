package deliver

import (
	"context"
	"strconv"
	"time"

	"membersync/consumer/event"
	"membersync/crmapi"
	"membersync/dedupe"
	"membersync/dlq"
)

// WriteDeadLetters writes the dead letters of rejected events, and returns the first error. An
// event whose dead letter was acknowledged is not written again.
func (d *Deliverer) WriteDeadLetters(ctx context.Context, rejected []*event.Event) error {
	for _, ev := range rejected {
		if ev.Rejection.Written {
			continue
		}
		if err := d.writeDeadLetter(ctx, ev); err != nil {
			return err
		}
		ev.Rejection.Written = true
	}
	return nil
}

func (d *Deliverer) writeDeadLetter(ctx context.Context, ev *event.Event) (err error) {
	ctx, span := d.parts.Tracer.DeadLetter(ctx, ev)
	defer func() { span.End(err) }()
	l := d.deadLetter(ev)
	l.Traceparent = span.Traceparent()
	return d.parts.DeadLetters.Write(ctx, l)
}

// MarksOf returns the marks of rejected events: done marks of those whose dead letter is written,
// and of the held ones what the CRM has said. A held event that could not be mapped has none: the
// mapper says so again.
func MarksOf(deadLettered, held []*event.Event) []dedupe.DoneEvent {
	var marks []dedupe.DoneEvent
	for _, ev := range deadLettered {
		marks = append(marks, dedupe.DoneEvent{
			ID: ev.ID, Redrive: ev.Record.RedriveNumber(), Outcome: string(event.DeadLettered),
		})
	}
	for _, ev := range held {
		if ev.Rejection.Reason.Stage() == dlq.StageUpdate {
			marks = append(marks, dedupe.DoneEvent{ID: ev.ID, Held: &dedupe.Held{Reason: string(ev.Rejection.Reason), Code: codeOf(ev)}})
		}
	}
	return marks
}

// Mark sets the marks of rejected events under the update's lease, and releases it, unless a call
// under it went unacknowledged. Without its mark, the next delivery of a dead-lettered event would
// be tried again, and could be applied as well. It returns false if the marks are not known to be
// set: then the dead-lettered events are tried again under another lease.
func (d *Deliverer) Mark(ctx context.Context, u *event.Update, marks []dedupe.DoneEvent) (marked bool, err error) {
	late, err := d.complete(ctx, dedupe.Completion{
		Member: u.Member, Token: u.Token, Keep: u.Unacknowledged, Done: marks,
	})
	return err == nil && !late, err
}

// holdAgain gives an event the rejection with which another process, or this one before a
// rebalance, has held it.
func holdAgain(ev *event.Event, held *dedupe.Held) {
	last := &crmapi.Error{Class: crmapi.ClassPoison}
	text := "the CRM has rejected it"
	if code, err := strconv.Atoi(held.Code); err == nil {
		last.Code, last.HasCode = code, true
		text = last.Summary()
	}
	ev.Rejection = &event.Rejection{Reason: dlq.Reason(held.Reason), Text: text, At: time.Now()}
	ev.Attempts = &event.Attempts{Total: 1, Last: last}
}

func codeOf(ev *event.Event) string {
	if last := ev.LastError(); last != nil && last.HasCode {
		return strconv.Itoa(last.Code)
	}
	return ""
}

// resolveRejected divides rejected events into those with a done mark, which it returns, and the
// others. A mark of an event whose dead letter is written was set by this process.
func resolveRejected(u *event.Update, rejected []*event.Event, grant dedupe.Grant) (finished []event.Finished) {
	for i, ev := range rejected {
		switch {
		case !grant.Events[i].Done:
			u.Events = append(u.Events, ev)
		case ev.Rejection.Written:
			finished = append(finished, event.Finished{Event: ev, Outcome: event.DeadLettered})
		default:
			finished = append(finished, Duplicate(ev, grant.Events[i]))
		}
	}
	return finished
}

// deadLetter is the dead letter of a rejected event.
func (d *Deliverer) deadLetter(ev *event.Event) dlq.DeadLetter {
	origin, mapped, r := ev.Record.Origin(), ev.Mapped(), ev.Rejection
	l := dlq.DeadLetter{
		Key: origin.Key, Value: origin.Value,
		Source: dlq.Source{
			Topic: origin.Topic, Partition: origin.Partition, Offset: origin.Offset, Timestamp: origin.Time,
		},
		LastOffset: r.LastOffset, Reason: r.Reason, Error: r.Text, Whole: r.Whole,
		EventID: mapped.ID, EmployeeID: mapped.EmployeeID, Index: mapped.Index, Count: mapped.Count,
		FirstFailedAt: r.At, FailedAt: r.At, Group: d.cfg.Group, Version: d.cfg.Version, Edited: origin.Edited,
	}
	for _, h := range origin.Headers {
		l.Headers = append(l.Headers, dlq.Header{Key: h.Key, Value: h.Value})
	}
	if a := ev.Attempts; a != nil {
		l.Attempts = a.Total
		if !a.First.IsZero() {
			l.FirstFailedAt = a.First
		}
	}
	if last := ev.LastError(); last != nil {
		l.CRMTraceID, l.ThirdTraceID, l.CRMCode = last.TraceID, last.ThirdTraceID, codeOf(ev)
	}
	if redrive := ev.Record.Redrive; redrive != nil {
		keepItem(redrive, &l)
	}
	return l
}

// keepItem completes the dead letter of a redriven event that fails again: it stays the same item,
// with its first coordinates.
func keepItem(r *event.Redrive, l *dlq.DeadLetter) {
	if r.Invalid != "" {
		return
	}
	l.Redrives = r.Request.Number
	l.LastOffset = r.DeadLetter.LastOffset
	if !r.DeadLetter.FirstFailedAt.IsZero() {
		l.FirstFailedAt = r.DeadLetter.FirstFailedAt
	}
	if l.EmployeeID == "" { // the edited value cannot be read: the next one must not be of another employee
		l.EmployeeID = r.DeadLetter.EmployeeID
	}
	if r.DeadLetter.Whole && l.Count <= 1 { // its id has no index
		l.Whole, l.Index, l.Count = true, 0, 0
	}
}
