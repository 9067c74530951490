package cli

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"membersync/cmd/internal/wiring"
	"membersync/consumer"
	"membersync/consumer/preview"
	"membersync/dedupe"
	"membersync/dlq"
	"membersync/dlq/partlog"
	"membersync/mapper"
)

// The json form of state rebuild.
type rebuiltJSON struct {
	Action   dlq.Action `json:"action"`
	Result   string     `json:"result"`   // done, or planned in a dry run
	Records  int64      `json:"records"`  // offsets to read
	Restored int64      `json:"restored"` // events
	Dead     int64      `json:"dead"`     // of these, dead letters
	Expired  int64      `json:"expired"`  // redrives whose dead letter or request retention has removed: skipped
	Invalid  int64      `json:"invalid"`  // records of the redrive topic that are not valid redrives: skipped
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
	_, records, err := d.finished(ctx)
	if err == nil {
		err = d.keyRefusal(ctx)
	}
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
	err = d.recorded(ctx, record, func() error { return r.do(ctx, in) })
	r.bar.clear()
	if err != nil {
		return in.failed(ctx, err)
	}
	report.Restored, report.Dead, report.Expired, report.Invalid = r.restored, r.dead, r.expired, r.invalid
	text := fmt.Sprintf("rebuilt: %d events restored, %d of them dead letters", r.restored, r.dead)
	if r.expired+r.invalid > 0 {
		text += fmt.Sprintf("; skipped redrives: %d expired, %d invalid", r.expired, r.invalid)
	}
	return in.printAction(report, text)
}

var errKeyInUse = errors.New("refused: the state in Redis was written under another MEMBERSYNC_STATE_KEY, and instances of membersync run under it; " +
	"the key changes only while none runs: stop them first")

// keyRefusal is why the state cannot be rebuilt under this key now.
func (d *desk) keyRefusal(ctx context.Context) error {
	other, err := d.isOtherKey(ctx)
	if err != nil || !other {
		return err
	}
	group, err := d.group(ctx)
	if err == nil && len(group.Members) > 0 {
		err = errKeyInUse
	}
	return err
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

// A rebuilding restores events, gathered by member. Its partitions are read concurrently.
type rebuilding struct {
	desk   *desk
	survey *dlq.Index

	mu               sync.Mutex
	bar              progress
	read             int
	restored, dead   int64
	expired, invalid int64 // redrives that were skipped
}

// gatherEvents bounds what is gathered of a partition before it is restored.
const gatherEvents = 2000

func (r *rebuilding) do(ctx context.Context, in *invocation) (err error) {
	store, group := r.desk.parts.Store, r.desk.cfg.Kafka.Group
	rebuild, err := store.BeginRebuild(ctx, group) // if Redis is emptied from now on, the end fails
	if err != nil {
		return err
	}
	// The offsets are read again: what was finished since the plan may have been lost, too.
	stretches, _, err := r.desk.finished(ctx)
	if err != nil {
		return err
	}
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
	return store.EndRebuild(ctx, group, rebuild)
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
		in, err := sourceRecord(s.topic, rec)
		if err != nil {
			return err
		}
		run, err := r.desk.runs(ctx, in, nil)
		if err != nil {
			return err
		}
		n += r.gather(byMember, run)
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

// sourceRecord is a record as the mapping takes it.
func sourceRecord(topic string, rec *partlog.Record) (mapper.Record, error) {
	key, err := rec.Key()
	if err != nil {
		return mapper.Record{}, err
	}
	value, err := rec.Value()
	return mapper.Record{
		Topic: topic, Partition: rec.Partition, Offset: rec.Offset, Time: rec.Time, Key: key, Value: value, Headers: mapperHeaders(rec.Headers),
	}, err
}

// skip counts a record of the redrive topic that restores nothing. An invalid redrive was refused
// when it came. Of an expired one it is not known whether it is genuine.
func (r *rebuilding) skip(run preview.Redrive) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if run.Expired {
		r.expired++
		return
	}
	r.invalid++
}

// gather adds the outcomes of a record's events, and returns how many they are.
func (r *rebuilding) gather(byMember map[dedupe.Member][]dedupe.DoneEvent, run preview.Redrive) (n int) {
	topic := r.desk.cfg.Kafka.Topic
	if run.Expired || run.Record.Topic != topic {
		r.skip(run)
		return 0
	}
	for _, res := range run.Results {
		if res.Event.Ignored != "" {
			continue
		}
		done, ok := preview.Restored(r.survey, preview.DeliveryOf(topic, run, res), res)
		if !ok {
			continue
		}
		member, id := preview.Identify(r.desk.cfg.CRM.BaseURL, r.desk.cfg.CRM.CorpID, run.Record, res)
		done.ID = id
		byMember[member] = append(byMember[member], done)
		n++
	}
	return n
}

func (r *rebuilding) flush(ctx context.Context, byMember map[dedupe.Member][]dedupe.DoneEvent) error {
	const concurrency = 16
	slots := make(chan struct{}, concurrency)
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
