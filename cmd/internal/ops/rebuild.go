package ops

import (
	"context"
	"errors"
	"maps"
	"sync"

	"membersync/cmd/internal/wiring"
	"membersync/consumer"
	"membersync/consumer/preview"
	"membersync/dedupe"
	"membersync/dlq"
	"membersync/dlq/partlog"
)

// A finishedRange is a part of a partition whose records were all finished.
type finishedRange struct {
	topic     string
	partition int
	partlog.Range
}

// A Rebuild restores the state in Redis from the topics. Create it with [Replayer.PlanRebuild],
// then call Run, once.
type Rebuild struct {
	Records int64 // offsets to read

	replays  *Replayer
	index    *dlq.Index
	progress func(events int)

	mu     sync.Mutex
	result RebuildResult
	read   int
}

// A RebuildResult counts what was restored.
type RebuildResult struct {
	Restored     int64 // events
	DeadLettered int64 // of these
	Expired      int64 // redrives whose dead letter or request retention has removed: skipped
	Invalid      int64 // records of the redrive topic that are not valid redrives: skipped
}

// PlanRebuild returns how much is to be read. Under another state key than before, a rebuild is
// refused while the group has members. A member TTL that is too short is a [*MemberTTLError].
func (s *Replayer) PlanRebuild(ctx context.Context) (*Rebuild, error) {
	_, records, err := s.finished(ctx)
	if err == nil {
		err = s.keyRefusal(ctx)
	}
	if err == nil {
		err = memberTTLRefusal(ctx, s.cfg, s.parts.Kafka)
	}
	return &Rebuild{Records: records, replays: s}, err
}

// isOtherKey reports whether the state in Redis was written under another state key.
func (s *State) isOtherKey(ctx context.Context) (bool, error) {
	marker, err := s.parts.Store.Marker(ctx, s.cfg.Kafka.Group)
	return marker.OtherKey, err
}

// keyRefusal returns why the state cannot be rebuilt under this key now.
func (s *State) keyRefusal(ctx context.Context) error {
	other, err := s.isOtherKey(ctx)
	if err != nil || !other {
		return err
	}
	group, err := s.group(ctx)
	if err == nil && len(group.Members) > 0 {
		err = ErrKeyInUse
	}
	return err
}

// finished returns what the topics hold below the group's offsets.
func (s *State) finished(ctx context.Context) (all []finishedRange, records int64, err error) {
	for _, topic := range []string{s.cfg.Kafka.Topic, wiring.Topics(s.cfg).Redrive} {
		ranges, err := s.ranges(ctx, topic)
		if isMissingTopic(err) && topic != s.cfg.Kafka.Topic {
			continue
		}
		if err != nil {
			return nil, 0, err
		}
		stored, err := s.committed(ctx, topic)
		if err != nil {
			return nil, 0, err
		}
		for p, r := range ranges {
			if r.End = min(r.End, stored[p]); r.End > r.First {
				all = append(all, finishedRange{topic, p, r})
				records += r.End - r.First
			}
		}
	}
	return all, records, nil
}

// Run restores the state, and reports how many events were restored so far. Loss is called once,
// with what could not be read of dead letters and audit records.
func (r *Rebuild) Run(ctx context.Context, who Who, loss func(dlq.Loss), progress func(events int)) (RebuildResult, error) {
	r.progress = progress
	record := dlq.AuditRecord{
		Actor: who.Actor, Action: dlq.ActionStateRebuild, Subject: r.replays.cfg.Kafka.Group, Note: who.Note,
		Detail: dlq.Detail{Records: r.Records},
	}
	err := r.replays.recorded(ctx, record, func() error { return r.restoreAll(ctx, loss) })
	return r.result, err
}

func (r *Rebuild) restoreAll(ctx context.Context, loss func(dlq.Loss)) error {
	store, group := r.replays.parts.Store, r.replays.cfg.Kafka.Group
	rebuild, err := store.BeginRebuild(ctx, group) // if Redis is emptied from now on, the end fails
	if err != nil {
		return err
	}
	// The offsets are read again: what was finished since the plan may have been lost, too.
	ranges, _, err := r.replays.finished(ctx)
	if err != nil {
		return err
	}
	if r.index, err = r.replays.Index(ctx, dlq.Query{}, nil); err != nil {
		return err
	}
	loss(r.index.Loss)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(context.Canceled)
	var all sync.WaitGroup
	faults := make([]error, len(ranges))
	for i, one := range ranges {
		all.Go(func() {
			if faults[i] = r.restore(ctx, one); faults[i] != nil {
				cancel(faults[i])
			}
		})
	}
	all.Wait()
	if err := errors.Join(faults...); err != nil {
		return err
	}
	if err := r.replays.finishedSince(ctx, ranges); err != nil {
		return err
	}
	return store.EndRebuild(ctx, group, rebuild)
}

// finishedSince refuses to end a rebuild under a new state key if the group has members, or has
// finished records since the ranges were read: their versions would be known under the former key
// alone. Not closed: an instance that starts in the moment between this check and the new marker.
func (s *State) finishedSince(ctx context.Context, ranges []finishedRange) error {
	other, err := s.isOtherKey(ctx)
	if err != nil || !other {
		return err
	}
	now, _, err := s.finished(ctx)
	if err == nil && !maps.Equal(endsOf(ranges), endsOf(now)) {
		err = ErrKeyInUse
	}
	return errors.Join(err, s.keyRefusal(ctx))
}

func endsOf(ranges []finishedRange) map[finishedRange]int64 {
	ends := make(map[finishedRange]int64, len(ranges))
	for _, r := range ranges {
		ends[finishedRange{topic: r.topic, partition: r.partition}] = r.End
	}
	return ends
}

// restore reads one range and restores what it states.
func (r *Rebuild) restore(ctx context.Context, one finishedRange) error {
	byMember, n := map[dedupe.Member][]dedupe.DoneEvent{}, 0
	flush := func() error {
		err := r.flush(ctx, byMember)
		clear(byMember)
		n = 0
		return err
	}
	_, err := r.replays.log().Read(ctx, one.topic, one.partition, one.Range, func(rec *partlog.Record) error {
		if rec.Rejection != nil { // it was not read by the service either, and states nothing
			return nil
		}
		in, err := sourceRecord(one.topic, rec)
		if err != nil {
			return err
		}
		run, err := r.replays.decode(ctx, in, nil)
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

// skip counts a record of the redrive topic that restores nothing. An invalid redrive was refused
// when it came. Of an expired one it is not known whether it is genuine.
func (r *Rebuild) skip(run preview.Redrive) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if run.Expired {
		r.result.Expired++
		return
	}
	r.result.Invalid++
}

// gather adds the outcomes of a record's events, and returns how many they are.
func (r *Rebuild) gather(byMember map[dedupe.Member][]dedupe.DoneEvent, run preview.Redrive) (n int) {
	cfg := r.replays.cfg
	if run.Expired || run.Record.Topic != cfg.Kafka.Topic {
		r.skip(run)
		return 0
	}
	for _, res := range run.Results {
		if res.Event.Ignored != "" {
			continue
		}
		done, ok := preview.Restored(r.index, preview.DeliveryOf(cfg.Kafka.Topic, run, res), res)
		if !ok {
			continue
		}
		member, id := preview.Identify(cfg.CRM.BaseURL, cfg.CRM.CorpID, run.Record, res)
		done.ID = id
		byMember[member] = append(byMember[member], done)
		n++
	}
	return n
}

func (r *Rebuild) flush(ctx context.Context, byMember map[dedupe.Member][]dedupe.DoneEvent) error {
	const concurrency = 16
	slots := make(chan struct{}, concurrency)
	var (
		all   sync.WaitGroup
		mu    sync.Mutex
		fault error
	)
	n, deadLettered := 0, 0
	for member, done := range byMember {
		for _, e := range done {
			if n++; e.Outcome == string(consumer.DeadLettered) {
				deadLettered++
			}
		}
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			if err := r.replays.parts.Store.Restore(ctx, member, done); err != nil {
				mu.Lock()
				fault = err
				mu.Unlock()
			}
		})
	}
	all.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Restored, r.result.DeadLettered, r.read = r.result.Restored+int64(n), r.result.DeadLettered+int64(deadLettered), r.read+n
	r.progress(r.read)
	return fault
}
