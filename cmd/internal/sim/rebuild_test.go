package sim

import (
	"context"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"

	"membersync/cmd/internal/sim/oracle"
	"membersync/consumer"
	"membersync/consumer/preview"
	"membersync/dedupe"
	"membersync/dlq"
	"membersync/mapper"
)

// rebuild restores the state from the topics, as membersync state rebuild does: versions and done
// marks of all that lies below the group's offsets, without a call.
func (o *operator) rebuild(ctx context.Context) error {
	index, err := o.reader.Index(ctx, dlq.Query{}, nil)
	if err != nil {
		return err
	}
	b := &rebuilding{
		index: index, mapping: o.w.newMapping(), edited: make(map[dlq.Sent]bool),
		byMember: make(map[dedupe.Member][]dedupe.DoneEvent),
	}
	for _, topic := range []string{redrives, source} { // first which values were edited
		committed := o.w.committed(topic)
		for _, r := range o.w.readAll(topic) {
			if r.Offset < committed[r.Partition] {
				b.take(topic, r)
			}
		}
	}
	for member, done := range b.byMember {
		if err := o.store.Restore(ctx, member, done); err != nil {
			return err
		}
	}
	return o.store.MarkInitialized(ctx, group)
}

// A rebuilding gathers what is known of the events of the topics.
type rebuilding struct {
	index    *dlq.Index
	mapping  *mapper.Mapping
	edited   map[dlq.Sent]bool // redrives with an edited value
	byMember map[dedupe.Member][]dedupe.DoneEvent
}

func (b *rebuilding) take(topic string, r oracle.Record) {
	rec := mapper.Record{Topic: topic, Partition: r.Partition, Offset: r.Offset, Time: r.Time, Key: r.Key, Value: r.Value}
	var redrive *dlq.Redrive
	if topic == redrives {
		m := kafka.Message{Key: r.Key, Value: r.Value}
		for _, h := range r.Headers {
			m.Headers = append(m.Headers, kafka.Header{Key: h.Key, Value: h.Value})
		}
		one, err := dlq.ParseRedrive(m)
		if err != nil {
			return
		}
		redrive, rec = &one, recordOf(one.DeadLetter)
		b.edited[dlq.Sent{ID: placeID(rec), Number: one.Number}] = one.Edited
	}
	for _, res := range b.mapping.MapWith(rec, nil) {
		if res.Event.Ignored != "" {
			continue
		}
		if done, ok := b.outcome(rec, res, redrive); ok {
			member, id := preview.Identify(base, corp, rec, res)
			done.ID = id
			b.byMember[member] = append(b.byMember[member], done)
		}
	}
}

func placeID(rec mapper.Record) string { return fmt.Sprintf("%d:%d", rec.Partition, rec.Offset) }

func recordOf(d dlq.DeadLetter) mapper.Record {
	return mapper.Record{
		Topic: d.Source.Topic, Partition: d.Source.Partition, Offset: d.Source.Offset, Time: d.Source.Timestamp,
		Key: d.Key, Value: d.Value,
	}
}

// outcome is that of an event by the dead-letter and audit topics: what has no dead letter was
// applied. A redrive counts once its result is known.
func (b *rebuilding) outcome(rec mapper.Record, res mapper.Result, redrive *dlq.Redrive) (dedupe.DoneEvent, bool) {
	index := res.Event.Index
	if res.Fault != nil && res.Fault.Whole {
		index = -1
	}
	item, failed := b.index.ItemState(rec.Partition, rec.Offset, index)
	done := dedupe.DoneEvent{Outcome: string(consumer.Applied), Version: string(res.Event.Version)}
	for f := range res.Event.Update.All() {
		done.Fields = append(done.Fields, f.String())
	}
	over := item.State == dlq.StateApplied || item.State == dlq.StateSuperseded
	switch {
	case redrive != nil && (!failed || !over || item.Resulted != redrive.Number):
		return done, false
	case failed && over && redrive == nil && b.edited[dlq.Sent{ID: placeID(rec), Number: item.Resulted}]:
		return dedupe.DoneEvent{Outcome: string(consumer.DeadLettered), Redrive: item.Resulted}, true
	case failed && over && res.Fault == nil:
		done.Outcome, done.Redrive = string(item.State), item.Resulted
	case failed || res.Fault != nil:
		return dedupe.DoneEvent{Outcome: string(consumer.DeadLettered), Redrive: item.Failed}, true
	}
	return done, true
}

// lose has Redis lose its state, and the operator rebuild it some time later.
func (w *world) lose(at time.Duration, rebuildAfter time.Duration) {
	w.at(at, w.keeper.lose)
	w.operate(at+rebuildAfter, "rebuild", func(ctx context.Context, o *operator) error {
		if err := o.rebuild(ctx); err != nil {
			return err
		}
		w.fired("rebuild", 0)
		w.keeper.rebuilt()
		return nil
	})
}
