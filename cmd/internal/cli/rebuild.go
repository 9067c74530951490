package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"sync"

	"github.com/segmentio/kafka-go"

	"membersync/cmd/internal/wiring"
	"membersync/consumer"
	"membersync/consumer/preview"
	"membersync/dedupe"
	"membersync/dlq"
	"membersync/dlq/partlog"
	"membersync/mapper"
)

func stateRebuildCommand() command {
	var o order
	return onCallCommand(command{
		name: "state rebuild", summary: "restore the state in Redis from the topics, without a call",
		details: "Reads what the source and redrive topics still hold below the group's offsets, restores the versions of the fields and marks the\n" +
			"events done: dead letters as dead, all others as applied. It may run beside the service, and again; what is known since is kept.\n" +
			"What is older than the topics' retention stays forgotten.\n\n" + outputHelp + orderHelp,
		flags: func(in *invocation, flags *flag.FlagSet) {
			outputFlag(in, flags)
			o.define(flags)
		},
	}, func(ctx context.Context, in *invocation, d *desk) int { return in.rebuild(ctx, d, o) })
}

// The json form of state rebuild.
type rebuiltJSON struct {
	Action   dlq.Action `json:"action"`
	Result   string     `json:"result"`   // done, or planned in a dry run
	Records  int64      `json:"records"`  // offsets to read
	Restored int64      `json:"restored"` // events
	Dead     int64      `json:"dead"`     // of these, dead letters
}

// A stretch is a part of a partition that is finished business.
type stretch struct {
	topic     string
	partition int
	span      partlog.Range
}

func (in *invocation) rebuild(ctx context.Context, d *desk, o order) int {
	if in.refuse(nil) {
		return exitUsage
	}
	stretches, records, err := d.finished(ctx)
	if err != nil {
		return in.failed(ctx, err)
	}
	report := rebuiltJSON{Action: dlq.ActionStateRebuild, Result: dlq.ResultDone, Records: records}
	plan := fmt.Sprintf("read %d offsets of source and redrive topic below those of group %s, and restore versions and done marks; no call",
		records, d.cfg.Kafka.Group)
	if !in.plan(o, plan, "Rebuild?") {
		return exitFailed
	}
	if o.dryRun {
		report.Result = "planned"
		return in.printAction(report, "would: "+plan)
	}
	record := dlq.AuditRecord{Actor: in.who(o), Action: dlq.ActionStateRebuild, Subject: d.cfg.Kafka.Group, Note: o.note, Detail: dlq.Detail{Records: records}}
	r := &rebuilding{desk: d, bar: in.newProgress(int(records))}
	err = d.recorded(ctx, record, func() error { return r.do(ctx, in, stretches) })
	r.bar.clear()
	if err != nil {
		return in.failed(ctx, err)
	}
	report.Restored, report.Dead = r.restored, r.dead
	return in.printAction(report, fmt.Sprintf("rebuilt: %d events restored, %d of them dead letters", r.restored, r.dead))
}

// finished returns what the topics hold below the group's offsets.
func (d *desk) finished(ctx context.Context) (all []stretch, records int64, err error) {
	for _, topic := range []string{d.cfg.Kafka.Topic, wiring.Topics(d.cfg).Redrive} {
		spans, err := d.spans(ctx, topic)
		if _, missing := errors.AsType[*dlq.MissingTopicError](err); missing && topic != d.cfg.Kafka.Topic {
			continue
		}
		if err != nil {
			return nil, 0, err
		}
		stored, err := d.committed(ctx, topic)
		if err != nil {
			return nil, 0, err
		}
		for p, span := range spans {
			if span.End = min(span.End, stored[p]); span.End > span.First {
				all = append(all, stretch{topic, p, span})
				records += span.End - span.First
			}
		}
	}
	return all, records, nil
}

// A rebuilding restores events, gathered by member. Its partitions are read beside each other.
type rebuilding struct {
	desk   *desk
	survey *dlq.Index

	mu             sync.Mutex
	bar            progress
	read           int
	restored, dead int64
}

// gatherEvents bounds what is gathered of a partition before it is restored.
const gatherEvents = 2000

func (r *rebuilding) do(ctx context.Context, in *invocation, stretches []stretch) (err error) {
	if r.survey, err = in.survey(ctx, r.desk, dlq.Query{}, nil); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(context.Canceled)
	var all sync.WaitGroup
	faults := make([]error, len(stretches))
	for i, s := range stretches {
		all.Go(func() {
			if faults[i] = r.restore(ctx, s); faults[i] != nil {
				cancel(faults[i])
			}
		})
	}
	all.Wait()
	if err := errors.Join(faults...); err != nil {
		return err
	}
	return r.desk.parts.Store.MarkInitialized(ctx, r.desk.cfg.Kafka.Group)
}

// restore reads one stretch and restores what it says.
func (r *rebuilding) restore(ctx context.Context, s stretch) error {
	byMember, n := map[dedupe.Member][]dedupe.DoneEvent{}, 0
	flush := func() error {
		err := r.flush(ctx, byMember)
		clear(byMember)
		n = 0
		return err
	}
	log := partlog.New(r.desk.parts.Kafka, pageBytes, pageWait)
	_, err := log.Read(ctx, s.topic, s.partition, s.span, func(rec *partlog.Record) error {
		if rec.Rejection != nil { // it was not read by the service either, and states nothing
			return nil
		}
		in, redrive, err := r.record(s.topic, rec)
		if err != nil {
			return err
		}
		if s.topic == r.desk.cfg.Kafka.Topic || redrive != nil {
			results, err := r.desk.translate(ctx, in)
			if err != nil {
				return err
			}
			n += r.gather(byMember, in, results, redrive)
		}
		if n < gatherEvents {
			return nil
		}
		return flush()
	})
	if err != nil {
		return err
	}
	return flush()
}

// record is the source record that a record of either topic is about. One of the redrive topic that is none has no redrive.
func (r *rebuilding) record(topic string, rec *partlog.Record) (mapper.Record, *dlq.Redrive, error) {
	key, err := rec.Key()
	if err != nil {
		return mapper.Record{}, nil, err
	}
	value, err := rec.Value()
	if err != nil {
		return mapper.Record{}, nil, err
	}
	if topic != r.desk.cfg.Kafka.Topic {
		one, err := dlq.ParseRedrive(kafka.Message{Key: key, Value: value, Headers: rec.Headers})
		if err != nil {
			return mapper.Record{}, nil, nil //nolint:nilerr // it was refused as well when it came
		}
		return recordOf(one.DeadLetter), &one, nil
	}
	return mapper.Record{
		Topic: topic, Partition: rec.Partition, Offset: rec.Offset, Time: rec.Time, Key: key, Value: value, Headers: mapperHeaders(rec.Headers),
	}, nil, nil
}

// gather adds what became of a record's events, and returns how many they are.
func (r *rebuilding) gather(
	byMember map[dedupe.Member][]dedupe.DoneEvent, in mapper.Record, results []mapper.Result, redrive *dlq.Redrive,
) (n int) {
	for _, res := range results {
		if redrive != nil && !redrive.DeadLetter.Whole && res.Event.Index != redrive.DeadLetter.Index || res.Event.Ignored != "" {
			continue
		}
		done, ok := r.judge(in, res, redrive)
		if !ok {
			continue
		}
		member, id := preview.Identify(r.desk.cfg.CRM.BaseURL, r.desk.cfg.CRM.CorpID, in, res)
		done.ID = id
		byMember[member] = append(byMember[member], done)
		n++
	}
	return n
}

// judge says what became of an event: a dead letter moves no version, all else counts as applied. A redrive counts once its result is known.
func (r *rebuilding) judge(in mapper.Record, res mapper.Result, redrive *dlq.Redrive) (dedupe.DoneEvent, bool) {
	index := res.Event.Index
	if res.Fault != nil && res.Fault.Whole {
		index = -1
	}
	v, died := r.survey.ItemState(in.Partition, in.Offset, index)
	done := dedupe.DoneEvent{Outcome: string(consumer.Applied), Version: string(res.Event.Version)}
	for f := range res.Event.Update.All() {
		done.Fields = append(done.Fields, f.String())
	}
	over := v.State == dlq.StateApplied || v.State == dlq.StateSuperseded
	switch {
	case redrive != nil && (!died || !over || v.Resulted != redrive.Number):
		return done, false
	case died && over && res.Fault == nil:
		done.Outcome, done.Redrive = string(v.State), v.Resulted
	case died || res.Fault != nil:
		return dedupe.DoneEvent{Outcome: string(consumer.DeadLettered), Redrive: v.Failed}, true
	}
	return done, true
}

func (r *rebuilding) flush(ctx context.Context, byMember map[dedupe.Member][]dedupe.DoneEvent) error {
	const beside = 16
	slots := make(chan struct{}, beside)
	var (
		all  sync.WaitGroup
		mu   sync.Mutex
		lost error
	)
	n, dead := 0, 0
	for member, done := range byMember {
		for _, e := range done {
			if n++; e.Outcome == string(consumer.DeadLettered) {
				dead++
			}
		}
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			if err := r.desk.parts.Store.Restore(ctx, member, done); err != nil {
				mu.Lock()
				lost = err
				mu.Unlock()
			}
		})
	}
	all.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.restored, r.dead, r.read = r.restored+int64(n), r.dead+int64(dead), r.read+n
	r.bar.show(r.read)
	return lost
}
