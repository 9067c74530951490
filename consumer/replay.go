package consumer

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"membersync/consumer/source"
	"membersync/consumer/watermark"
	"membersync/dlq"
)

// A Range is a stretch of a partition to run again: from the first offset up to, not including, the end.
type Range struct {
	Topic      string // the source topic, or the redrive topic
	Partition  int
	First, End int64
}

// A ReplayProgress is how far a replay is.
type ReplayProgress struct {
	Done, Total int64 // offsets
}

// errReplayed is how a replay's own context ends.
var errReplayed = errors.New("consumer: the replay is over")

// Replay runs stretches of the topics again, as a process of its own beside the live service: it joins no group, and keeps
// its offsets under Config.Group, from which it goes on if they are there. It returns nil at the end of all
// ranges, and the context's cause if that ends first: then what runs is let end, and the offsets are stored. An outage
// is waited for. Progress is told about every second. It must be called once, instead of Run.
func (s *Service) Replay(ctx context.Context, ranges []Range, progress func(ReplayProgress)) error {
	work, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	var engine sync.WaitGroup
	engine.Go(func() { s.engine.loop(work) })
	if s.parts.Control != nil {
		engine.Go(func() { s.oversee(work) })
	}
	defer func() {
		stop(errReplayed)
		engine.Wait()
	}()
	g, err := s.replayAccount(ctx, ranges)
	if err != nil {
		return err
	}
	s.status.assigned(g)
	readCtx, stopReading := context.WithCancelCause(ctx)
	defer stopReading(errReplayed)
	var readers sync.WaitGroup
	for _, p := range g.partitions {
		readers.Go(func() { s.replayPartition(readCtx, p) })
	}
	err = s.replayUntil(ctx, g, progress)
	stopReading(errReplayed)
	readers.Wait()
	s.engine.revoke(g)
	s.drain(context.WithoutCancel(ctx), g)
	return err
}

// replayAccount opens the account of all ranges, where an earlier run of this replay has stopped.
func (s *Service) replayAccount(ctx context.Context, ranges []Range) (*generation, error) {
	g := &generation{
		member: source.Member{Group: s.cfg.Group, Generation: -1},
		buffer: s.buffer, drained: make(chan struct{}), commitNow: make(chan struct{}, 1),
	}
	for _, r := range ranges {
		stored, err := s.offsets.Committed(ctx, s.cfg.Group, r.Topic, []int{r.Partition})
		if errors.Is(err, kafka.GroupIdNotFound) { // it has stored nothing yet
			stored, err = map[int]source.Committed{r.Partition: {Offset: -1, Stamp: watermark.Stamp{Offset: -1}}}, nil
		}
		if err != nil {
			return nil, err
		}
		first := max(r.First, min(stored[r.Partition].Offset, r.End))
		p := &partition{topic: r.Topic, id: r.Partition, gen: g, target: -1, replayed: r}
		s.engine.open(p, first, r.End, source.Committed{Offset: -1, Stamp: stored[r.Partition].Stamp})
		g.partitions = append(g.partitions, p)
	}
	return g, nil
}

// replayUntil commits and tells the progress until all is done or the context ends.
func (s *Service) replayUntil(ctx context.Context, g *generation, progress func(ReplayProgress)) error {
	ticker := time.NewTicker(commitEvery / 5)
	defer ticker.Stop()
	for n := 1; ; n++ {
		at := s.replayedSoFar(g)
		if at.Done >= at.Total {
			progress(at)
			return nil
		}
		if n%5 == 0 {
			s.commit(ctx, g)
			progress(at)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

func (s *Service) replayedSoFar(g *generation) (at ReplayProgress) {
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	for _, p := range g.partitions {
		at.Total += p.replayed.End - p.replayed.First
		at.Done += min(p.mark.Committable(), p.replayed.End) - p.replayed.First
	}
	return at
}

// replayPartition brings a range into the lanes.
func (s *Service) replayPartition(ctx context.Context, p *partition) {
	retry := newKafkaBackoff()
	s.engine.mu.Lock()
	offset := p.mark.Committable()
	s.engine.mu.Unlock()
	for ctx.Err() == nil && offset < p.replayed.End {
		batch, err := s.log.Fetch(ctx, p.topic, p.id, offset)
		if _, gone := errors.AsType[*source.OutOfRangeError](err); gone {
			var next int64
			if next, err = s.jump(ctx, p, offset); err == nil {
				if next <= offset { // the topic was made anew: there is nothing left of the range
					next = p.replayed.End
				}
				offset = next
				s.engine.skip(p, min(offset, p.replayed.End))
				continue
			}
		}
		if err != nil {
			s.fetchFailed(ctx, p, err)
			if sleep(ctx, retry.Next(err)) != nil {
				return
			}
			continue
		}
		retry.Reset()
		s.kafkaWorks(ctx, s.statusKey(p))
		for _, rec := range batch.Records {
			if rec.Offset >= p.replayed.End {
				break
			}
			if s.parts.Pace != nil && s.parts.Pace(ctx) != nil || s.take(ctx, p, rec) != nil {
				return
			}
		}
		offset = batch.Next
		s.engine.skip(p, min(offset, p.replayed.End))
	}
}

// silent is the auditor of a replay: what its redrives come to was recorded when they ran first.
type silent struct{}

func (silent) Write(context.Context, dlq.AuditRecord) error { return nil }
