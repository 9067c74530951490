package simulation

import (
	"context"

	"membersync/cmd/internal/test/oracle/history"
	"membersync/consumer/preview"
	"membersync/dedupe"
	"membersync/dlq"
	"membersync/dlq/partlog"
	"membersync/mapper"
)

// rebuild restores the state from the topics as membersync state rebuild does: versions and done
// marks of everything below the group's offsets, without a call.
func (o *operator) rebuild(ctx context.Context) error {
	attempt, err := o.store.BeginRebuild(ctx, group) // if Redis is emptied from now on, the end fails
	if err != nil {
		return err
	}
	index, err := o.reader.Index(ctx, dlq.Query{}, nil)
	if err != nil {
		return err
	}
	b := &rebuilding{index: index, mapping: o.w.newMapping(), byMember: make(map[dedupe.Member][]dedupe.DoneEvent)}
	for _, topic := range []string{source, redrives} {
		committed := o.w.kafka.committed(topic)      //nolint:contextcheck // the world has no deadline
		for _, r := range o.w.kafka.readAll(topic) { //nolint:contextcheck // likewise
			if r.Offset >= committed[r.Partition] || !isRead(r) { // not read then
				continue
			}
			if err := b.take(ctx, o, topic, r); err != nil {
				return err
			}
		}
	}
	for member, done := range b.byMember {
		if err := o.store.Restore(ctx, member, done); err != nil {
			return err
		}
	}
	return o.store.EndRebuild(ctx, group, attempt)
}

func isRead(r history.Record) bool {
	return len(r.Value) <= maxFetchedBytes && len(r.Headers) <= partlog.MaxHeaders
}

// A rebuilding collects what is known about the events of the topics.
type rebuilding struct {
	index    *dlq.Index
	mapping  *mapper.Mapping
	byMember map[dedupe.Member][]dedupe.DoneEvent
}

func (b *rebuilding) take(ctx context.Context, o *operator, topic string, r history.Record) (err error) {
	rec := mapper.Record{Topic: topic, Partition: r.Partition, Offset: r.Offset, Time: r.Time, Key: r.Key, Value: r.Value}
	for _, h := range r.Headers {
		rec.Headers = append(rec.Headers, mapper.Header{Key: h.Key, Value: h.Value})
	}
	mapRecord := func(_ context.Context, rec mapper.Record) ([]mapper.Result, error) {
		return b.mapping.MapWith(rec, nil), nil
	}
	run := preview.Redrive{Record: rec}
	if topic == redrives {
		run, err = preview.DecodeRedrive(ctx, preview.Verifier{Archive: o.reader, Digest: editDigest()}, rec, mapRecord)
	} else {
		run.Results, err = mapRecord(ctx, rec)
	}
	if err != nil || run.Record.Topic != source { // an invalid redrive was refused on arrival
		return err
	}
	for _, res := range run.Results {
		if res.Event.Ignored != "" {
			continue
		}
		if done, ok := preview.Restored(b.index, preview.DeliveryOf(source, run, res), res); ok {
			member, id := preview.Identify(base, corp, run.Record, res)
			done.ID = id
			b.byMember[member] = append(b.byMember[member], done)
		}
	}
	return nil
}
