package consumer

import (
	"context"
	"time"

	"membersync/consumer/source"
	"membersync/dedupe"
	"membersync/dlq"
	"membersync/mapper"
)

// take decodes a record and puts its events into their lanes. It waits while
// memory or a lane is full. The record's offset is begun before anything else: from here on the
// watermark cannot pass it until every event of it has its outcome.
func (s *Service) take(ctx context.Context, p *partition, src source.Record) error {
	if p.topic != s.cfg.Topic {
		return s.takeRedrive(ctx, p, src)
	}
	size := src.Size()
	if err := s.buffer.admit(ctx, size); err != nil {
		return err
	}
	in := mapperRecord(p, src)
	rec := &record{part: p, src: src, size: size, open: 1}
	s.engine.begin(rec)
	results, err := s.engine.translate(ctx, in)
	if err != nil {
		s.engine.abandon(rec, 1)
		return err // the generation is over
	}
	results = s.cfg.ours(results)
	s.parts.Observer.Arrived(in, results)
	rec.open = len(results) // nobody else knows it yet
	if len(results) == 0 {  // a mapping says nothing of nobody
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

// place gives one event its lane, or its outcome where it needs none.
func (s *Service) place(ctx context.Context, rec *record, res mapper.Result) error {
	ev := &event{rec: rec, mapped: res.Event}
	// The storm guard is about live events: a redriven one neither counts for it nor is held.
	ev.amnesty, ev.counted = rec.redrive != nil, rec.redrive != nil
	s.engine.read(ctx, ev, res.Fault)
	switch {
	case res.Fault != nil:
		ev.doom = &doom{
			reason: dlq.Reason(res.Fault.Reason), text: res.Fault.Error(), whole: res.Fault.Whole, at: time.Now(),
		}
		topic, partition, src := rec.origin()
		alone := aloneName(topic, partition, src.Offset, res.Event.Index)
		ev.key = laneKey{member: dedupe.NewMember(s.cfg.BaseURL, s.cfg.CorpID, aloneID(alone)), alone: alone}
		ev.id = recordID(rec, res.Event)
	case res.Event.Ignored != "":
		end := ending{event: ev, outcome: Ignored}
		if err := s.engine.tellUntil(ctx, end); err != nil {
			return err
		}
		s.engine.report(ctx, end)
		s.engine.settleAlone(ev)
		return nil
	default:
		ev.key = memberKey(&s.cfg, res.Event)
		ev.id = eventID(rec, res.Event)
	}
	return s.engine.add(ctx, ev)
}

func memberKey(cfg *Config, ev mapper.Event) laneKey {
	return laneKey{member: dedupe.NewMember(cfg.BaseURL, cfg.CorpID, ev.OpenUserID)}
}

// eventID identifies an event by what its source says, or by where it stands if the source says nothing.
func eventID(rec *record, ev mapper.Event) dedupe.EventID {
	if ev.ID == "" {
		return recordID(rec, ev)
	}
	topic, _, _ := rec.origin()
	return dedupe.NewEventID(topic, ev.ID, ev.Index, ev.Order)
}

func recordID(rec *record, ev mapper.Event) dedupe.EventID {
	topic, partition, src := rec.origin()
	return dedupe.NewRecordID(topic, partition, src.Offset, src.Time.UnixMilli(), ev.Index)
}

func (e *engine) begin(rec *record) {
	e.mu.Lock()
	defer e.mu.Unlock()
	rec.epoch = rec.part.epoch
	rec.part.mark.Begin(rec.src.Offset, rec.src.Time)
}

// abandon drops the last n events of a record, which never reached a lane.
func (e *engine) abandon(rec *record, n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	rec.dropped = true
	rec.part.gen.pending += n
	for range n {
		(&event{rec: rec}).finish()
	}
}

// settleEmpty finishes a record that holds no event.
func (e *engine) settleEmpty(rec *record) {
	e.mu.Lock()
	defer e.mu.Unlock()
	rec.close()
}

// settleAlone finishes an event that needs no lane.
func (e *engine) settleAlone(ev *event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lived(ending{event: ev, outcome: Ignored})
	ev.rec.part.gen.pending++
	ev.finish()
}

func mapperRecord(p *partition, src source.Record) mapper.Record {
	return mapperRecordAt(p.topic, p.id, src)
}

func mapperRecordAt(topic string, partition int, src source.Record) mapper.Record {
	in := mapper.Record{
		Topic: topic, Partition: partition, Offset: src.Offset, Time: src.Time, Key: src.Key, Value: src.Value,
	}
	for _, h := range src.Headers {
		in.Headers = append(in.Headers, mapper.Header{Key: h.Key, Value: h.Value})
	}
	return in
}
