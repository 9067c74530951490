package deliver

import (
	"context"
	"strconv"

	"membersync/consumer/event"
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
		if err := d.parts.DeadLetters.Write(ctx, d.deadLetter(ev)); err != nil {
			return err
		}
		ev.Rejection.Written = true
	}
	return nil
}

// MarkDeadLettered sets the done marks of rejected events under the update's lease: otherwise the
// next delivery of one would be tried again, and could be applied as well. It returns false if the
// marks are not known to be set: then the events are tried again under another lease.
func (d *Deliverer) MarkDeadLettered(ctx context.Context, u *event.Update, rejected []*event.Event) (marked bool, err error) {
	c := dedupe.Completion{Member: u.Member, Token: u.Token, Keep: u.Unacknowledged}
	for _, ev := range rejected {
		c.Done = append(c.Done, dedupe.DoneEvent{
			ID: ev.ID, Redrive: ev.Record.RedriveNumber(), Outcome: string(event.DeadLettered),
		})
	}
	late, err := d.parts.Store.Complete(ctx, c)
	return err == nil && !late, err
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
			finished = append(finished, duplicate(ev, grant.Events[i]))
		}
	}
	return finished
}

// deadLetter is the dead letter of a rejected event.
func (d *Deliverer) deadLetter(ev *event.Event) dlq.DeadLetter {
	origin, r := ev.Record.Origin, ev.Rejection
	l := dlq.DeadLetter{
		Key: origin.Key, Value: origin.Value,
		Source: dlq.Source{
			Topic: origin.Topic, Partition: origin.Partition, Offset: origin.Offset, Timestamp: origin.Time,
		},
		LastOffset: r.LastOffset, Reason: r.Reason, Error: r.Text, Whole: r.Whole,
		EventID: ev.Mapped.ID, EmployeeID: ev.Mapped.EmployeeID, Index: ev.Mapped.Index, Count: ev.Mapped.Count,
		FirstFailedAt: r.At, FailedAt: r.At, Group: d.cfg.Group, Version: d.cfg.Version,
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
		l.CRMTraceID, l.ThirdTraceID = last.TraceID, last.ThirdTraceID
		if last.HasCode {
			l.CRMCode = strconv.Itoa(last.Code)
		}
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
	if r.DeadLetter.Whole && l.Count <= 1 { // its id has no index
		l.Whole, l.Index, l.Count = true, 0, 0
	}
}
