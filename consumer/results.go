package consumer

import (
	"context"
	"time"

	"membersync/consumer/decode"
	"membersync/consumer/event"
	"membersync/consumer/intake"
	"membersync/consumer/intake/source"
	"membersync/mapper"
)

const (
	auditWait    = time.Second // between attempts to record the result of a redrive
	rejectedWait = time.Second // before a dead letter is tried again that Redis has stopped
)

// recordResults writes the results of redriven events to the audit topic. Those whose record is not
// acknowledged are not finished: their lane finds them done at its next batch, and records the
// result again.
func (p *pipeline) recordResults(ctx context.Context, b *event.Batch, r event.Result) event.Result {
	recorded := r.Finished[:0]
	for _, f := range r.Finished {
		if f.Event.Record.Redrive == nil || p.mayWrite(ctx, b) && p.recordResult(ctx, f) {
			recorded = append(recorded, f)
		} else {
			r.Wait = max(r.Wait, auditWait)
		}
	}
	r.Finished = recorded
	return r
}

func (p *pipeline) recordResult(ctx context.Context, f event.Finished) bool {
	redrive := f.Event.Record.Redrive
	if redrive == nil {
		return true
	}
	if err := p.deliver.RecordResult(ctx, f); err != nil {
		p.report.resultsFail(ctx, redrive.Request.DeadLetter.ID(), err)
		return false
	}
	p.report.resultsWork(ctx)
	return true
}

// mayWrite reports whether a batch may write to a topic of membersync's own. What others wait for,
// a permit that is not needed any more and the slot, is given back before: the broker may not
// answer.
func (p *pipeline) mayWrite(ctx context.Context, b *event.Batch) bool {
	if !p.schedule.Writes(b) {
		return false
	}
	p.permits.settle(ctx, b)
	b.Permit = event.Permit{}
	return true
}

// redisFailed pauses calls; the batch ends without a result.
func (a *attempt) redisFailed(ctx context.Context, op string, err error) event.Result {
	a.control.redis.failed(ctx, op, err)
	return event.Result{}
}

// release gives a lease back early.
func (a *attempt) release(ctx context.Context, u *event.Update) {
	if err := a.deliver.Release(ctx, u); err != nil {
		a.log.LogAttrs(ctx, levelOf(ctx), "lease not released; it expires by itself", errAttr(err))
	}
}

// decode returns the events of a delivery; of a record that was not read, its rejection.
func (p *pipeline) decode(
	ctx context.Context, d intake.Delivery, rec mapper.Record, trace *event.Trace,
) (events []*event.Event, err error) {
	ctx, span := p.tracer.Decode(ctx, trace)
	defer func() { span.End(err) }()
	no := d.Record.Rejection
	if no == nil {
		return p.decoder.Decode(ctx, rec)
	}
	last := no.Last
	if last == d.Record.Offset {
		last = 0
	}
	return p.decoder.Unread(rec, decode.UnreadFault(no.IsMalformed, no.Text), last), nil
}

// recordOf is the record of a delivery, for the mapper.
func recordOf(d intake.Delivery) mapper.Record {
	rec := mapper.Record{Topic: d.Topic, Partition: d.Partition, Offset: d.Record.Offset, Time: d.Record.Time}
	setContent(&rec, d.Record)
	return rec
}

func setContent(rec *mapper.Record, src source.Record) {
	rec.Key, rec.Value, rec.Headers = src.Key, src.Value, nil
	for _, h := range src.Headers {
		rec.Headers = append(rec.Headers, mapper.Header{Key: h.Key, Value: h.Value})
	}
}

// originals implements [decode.Originals].
type originals struct{ intake *intake.Intake }

// Original implements [decode.Originals].
func (o originals) Original(ctx context.Context, rec *mapper.Record) (bool, error) {
	src, ok, err := o.intake.Original(ctx, rec.Partition, rec.Offset, rec.Time)
	if ok {
		setContent(rec, src)
	}
	return ok, err
}

// earliest of the times that are set.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}
