package consumer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/segmentio/kafka-go"

	"membersync/consumer/source"
	"membersync/dlq"
	"membersync/mapper"
)

// Redrives: a record of the redrive topic names a dead letter. What runs again is that letter's event, at its first
// coordinates, so that it keeps its version; what comes of it goes to the audit topic before the offset counts.

// An Archive finds dead letters again.
type Archive interface {
	// DeadLetter reads the dead letter at a place; dlq.ErrNoLetter: there is none.
	DeadLetter(ctx context.Context, at dlq.Place) (dlq.DeadLetter, error)
}

// An Auditor records who did what. An error means that the record is not known to be written.
type Auditor interface {
	Write(ctx context.Context, r dlq.AuditRecord) error
}

// A redriven is what a record of the redrive topic orders.
type redriven struct {
	order dlq.Redrive
	named dlq.DeadLetter // as the DLQ holds it
	src   source.Record
	wrong error // not nil: the record is not what it says
}

// redriveWait is the pause between tries of what a redrive needs: the dead letter, the state, the audit topic.
const redriveWait = time.Second

// readRedrive reads the order and the dead letter that it names.
func (s *Service) readRedrive(ctx context.Context, p *partition, src source.Record) (*redriven, error) {
	d := parseRedriven(src)
	err := s.readNamed(ctx, p, d)
	if err == nil && d.wrong == nil {
		d.compare(src.Value)
	}
	return d, err
}

// compare judges the order by the dead letter that it names, and puts together the record to run.
func (d *redriven) compare(value []byte) {
	if d.wrong = d.order.Check(d.named); d.named.Reason == dlq.ReasonInvalidRedrive {
		d.wrong = errRedriveOfRedrive
	}
	d.src = source.Record{
		Offset: d.named.Source.Offset, Time: d.named.Source.Timestamp, Key: d.named.Key, Value: value,
	}
	for _, h := range d.named.Headers {
		d.src.Headers = append(d.src.Headers, kafka.Header{Key: h.Key, Value: h.Value})
	}
}

func parseRedriven(src source.Record) *redriven {
	d := &redriven{}
	d.order, d.wrong = dlq.ParseRedrive(kafka.Message{Key: src.Key, Value: src.Value, Headers: src.Headers})
	return d
}

// readNamed reads the dead letter that the order names, if it is one. It asks until Kafka answers.
func (s *Service) readNamed(ctx context.Context, p *partition, d *redriven) (err error) {
	for d.wrong == nil {
		d.named, err = s.parts.Archive.DeadLetter(ctx, d.order.Place)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, dlq.ErrNoDeadLetter):
			d.wrong = err
			return nil
		}
		s.fetchFailed(ctx, p, err)
		if err := sleep(ctx, redriveWait); err != nil {
			return err
		}
	}
	return nil
}

var errRedriveOfRedrive = errors.New("the dead letter named is an invalid redrive: redrive the event's own")

// takeRedrive is take for the redrive topic.
func (s *Service) takeRedrive(ctx context.Context, p *partition, src source.Record) error {
	if err := s.awaitState(ctx); err != nil {
		return err
	}
	if err := s.buffer.admit(ctx, src.Size()); err != nil {
		return err
	}
	d, err := s.readRedrive(ctx, p, src)
	if err != nil {
		s.buffer.release(src.Size())
		return err
	}
	rec := &record{part: p, src: src, size: src.Size(), redrive: d, open: 1}
	s.engine.begin(rec)
	results, err := s.redriveResults(ctx, d)
	if err != nil {
		s.engine.abandon(rec, 1)
		return err // the generation is over
	}
	results = s.cfg.ours(results)
	if rec.open = len(results); rec.open == 0 {
		s.engine.settleEmpty(rec)
	}
	for i, res := range results {
		if err := s.place(ctx, rec, res); err != nil {
			s.engine.abandon(rec, len(results)-i)
			return err
		}
	}
	return nil
}

// awaitState holds redrives while the state in Redis is lost: without versions an old value could win.
func (s *Service) awaitState(ctx context.Context) error {
	for {
		s.engine.mu.Lock()
		lost := s.engine.oversight.lost || !s.engine.oversight.known
		s.engine.mu.Unlock()
		if !lost {
			return nil
		}
		if err := sleep(ctx, redriveWait); err != nil {
			return err
		}
	}
}

// redriveResults maps the dead letter's record anew, and leaves the event that it names; all of a record that failed whole.
func (s *Service) redriveResults(ctx context.Context, d *redriven) ([]mapper.Result, error) {
	if refused := d.refused(); refused != nil {
		return refused, nil
	}
	in := mapperRecordAt(d.named.Source.Topic, d.named.Source.Partition, d.src)
	results, err := s.engine.translate(ctx, in)
	if err != nil {
		return nil, err
	}
	s.parts.Observer.Arrived(in, results)
	return d.choose(results), nil
}

// refused is the result of a record that is not what it says; nil: it is.
func (d *redriven) refused() []mapper.Result {
	if d.wrong == nil {
		return nil
	}
	fault := &mapper.Fault{
		Reason: mapper.Reason(dlq.ReasonInvalidRedrive), Whole: true, Path: "the record", Text: "is not run: " + d.wrong.Error(), Offset: -1,
	}
	return []mapper.Result{{Fault: fault}}
}

// choose leaves the event that the dead letter is about.
func (d *redriven) choose(results []mapper.Result) []mapper.Result {
	if d.named.Whole {
		return results
	}
	for _, res := range results {
		if res.Fault == nil && res.Event.Index == d.named.Index {
			return []mapper.Result{res}
		}
		if res.Fault != nil && (res.Fault.Whole || res.Event.Index == d.named.Index) {
			return []mapper.Result{d.placed(res)}
		}
	}
	fault := &mapper.Fault{Reason: mapper.InvalidEvent, Text: fmt.Sprintf("holds no event %d any more", d.named.Index), Offset: -1}
	return []mapper.Result{d.placed(mapper.Result{Fault: fault})}
}

// placed lets a rejected event die at the place in its record where it died first.
func (d *redriven) placed(res mapper.Result) mapper.Result {
	fault := *res.Fault
	fault.Whole = false
	res.Fault, res.Event.Index, res.Event.Count = &fault, d.named.Index, d.named.Count
	return res
}

// origin is the record that the events are of: the source topic's, also when it is redriven.
func (r *record) origin() (topic string, partition int, src source.Record) {
	if d := r.redrive; d != nil && d.wrong == nil {
		return d.named.Source.Topic, d.named.Source.Partition, d.src
	}
	return r.part.topic, r.part.id, r.src
}

// number is how often the event was redriven, this delivery included.
func (r *record) number() int {
	if r.redrive != nil && r.redrive.wrong == nil {
		return r.redrive.order.Number
	}
	return 0
}

// path is the value of the metrics' label.
func (e *engine) path(r *record) string {
	switch {
	case e.cfg.Replay:
		return pathReplay
	case r.redrive != nil:
		return pathRedrive
	}
	return pathLive
}

// keep completes the letter of a redriven event's further death: the item and its first coordinates stay.
func (d *redriven) keep(l *dlq.DeadLetter) {
	if d.wrong != nil {
		return
	}
	l.Redrives = d.order.Number
	if !d.named.FirstFailedAt.IsZero() {
		l.FirstFailedAt = d.named.FirstFailedAt
	}
	if d.named.Whole && l.Count <= 1 { // its id has no index
		l.Whole, l.Index, l.Count = true, 0, 0
	}
}

// answer is the audit record of what a redriven event came to; not ok: the record says too little to answer, or is about a letter
// of another source topic, which can have the id of one of ours.
func (d *redriven) answer(end ending, cfg *Config) (r dlq.AuditRecord, ok bool) {
	id := d.order.DeadLetter.ID()
	if d.wrong != nil && (d.order.Number < 1 || d.order.DeadLetter.Source.Topic != cfg.Topic || d.order.DeadLetter.Reason == dlq.ReasonInvalidRedrive) {
		return r, false
	}
	r = dlq.AuditRecord{
		Actor: cfg.Group, Action: dlq.ActionRedriveResult, Subject: id, Note: d.order.Note, Result: string(end.outcome),
		Detail: dlq.Detail{DeadLetter: d.order.Place.String(), Number: d.order.Number, Edited: d.order.Edited, By: d.order.By},
	}
	if end.told != "" { // this very redrive ran before, and only its answer was missing
		r.Result = string(end.told)
	}
	if end.event.doom != nil && end.outcome == DeadLettered {
		r.Detail.Reason = string(end.event.doom.reason)
	}
	if d.wrong != nil {
		r.Result = dlq.ResultRefused
	}
	return r, true
}

// tell records what redriven events came to. Those whose record is not acknowledged stay: their lane finds
// them done at its next run, and tells again.
func (e *engine) tell(ctx context.Context, v verdict) verdict {
	kept := v.ended[:0]
	for _, end := range v.ended {
		if e.tellOf(ctx, end) {
			kept = append(kept, end)
		} else {
			v.wait = max(v.wait, redriveWait)
		}
	}
	v.ended = kept
	return v
}

func (e *engine) tellOf(ctx context.Context, end ending) bool {
	d := end.event.rec.redrive
	if d == nil {
		return true
	}
	record, ok := d.answer(end, e.cfg)
	if !ok {
		return true
	}
	if err := e.parts.Audit.Write(ctx, record); err != nil {
		e.log.LogAttrs(ctx, levelOf(ctx), "result of a redrive not recorded; its offset is not committed, and it is tried again",
			slog.String("letter", record.Subject), errAttr(err))
		return false
	}
	return true
}

// tellUntil is tell for an event that needs no lane.
func (e *engine) tellUntil(ctx context.Context, end ending) error {
	for !e.tellOf(ctx, end) {
		if err := sleep(ctx, redriveWait); err != nil {
			return err
		}
	}
	return nil
}

// repeated is the outcome of this very delivery, if it ran before and its end was not heard of.
func (r *record) repeated(redrive int, outcome string) Outcome {
	if r.number() > 0 && redrive == r.number() {
		return Outcome(outcome)
	}
	return ""
}

// topics are those that the group consumes.
func (c *Config) topics() []string {
	if c.Redrives == "" {
		return []string{c.Topic}
	}
	return []string{c.Topic, c.Redrives}
}

// statusKey tells the partitions of both topics apart: those of the redrive topic count down from below [joining].
func (s *Service) statusKey(p *partition) int {
	if p.topic == s.cfg.Topic {
		return p.id
	}
	return joining - 1 - p.id
}
