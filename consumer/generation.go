package consumer

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"membersync/consumer/source"
)

// commitEvery is how often offsets are committed. While a generation drains, the
// commits are also its only sign of life (kafka-go stops the heartbeats).
const commitEvery = time.Second

var errRevoked = errors.New("consumer: the partitions were taken away")

// serve runs one generation: reads its partitions until they are taken away,
// lets what runs end, commits, and returns. kafka-go joins the next generation only then.
func (s *Service) serve(ctx context.Context, gen *kafka.Generation) {
	g := s.newGeneration(gen)
	// The generation's context ends with an error that is neither Canceled nor DeadlineExceeded, and only when it
	// ends: bridge it to one with a cause, so that no error of ours is mistaken for an API's.
	readCtx, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	var readers sync.WaitGroup
	s.status.assigned(g)
	s.engine.gather(g)
	s.kafkaWorks(ctx, joining)
	readers.Go(func() { s.readAll(readCtx, g) })
	s.commitUntil(readCtx, g, ctx.Done())

	stop(errRevoked)
	readers.Wait()
	s.engine.revoke(g)
	s.drain(context.WithoutCancel(ctx), g)
	s.status.unassigned(g)
	for _, p := range g.partitions { // not ours to worry about any more
		s.kafkaFails(s.statusKey(p), false)
	}
}

func (s *Service) newGeneration(gen *kafka.Generation) *generation {
	g := &generation{
		member:  source.Member{Group: gen.GroupID, Generation: int(gen.ID), ID: gen.MemberID},
		buffer:  s.buffer,
		drained: make(chan struct{}), commitNow: make(chan struct{}, 1),
	}
	for _, topic := range s.cfg.topics() {
		for _, a := range gen.Assignments[topic] {
			g.partitions = append(g.partitions, &partition{topic: topic, id: a.ID, gen: g, target: -1})
		}
	}
	return g
}

// readAll reads all partitions, once it is known what the group has stored for them.
func (s *Service) readAll(ctx context.Context, g *generation) {
	if len(g.partitions) == 0 {
		return
	}
	stored, groupIsNew, err := s.stored(ctx, g)
	if err != nil || s.bear(ctx, groupIsNew) != nil {
		return // the generation is over
	}
	var readers sync.WaitGroup
	for _, p := range g.partitions {
		readers.Go(func() { s.read(ctx, p, stored[p.topic][p.id], groupIsNew) })
	}
	readers.Wait()
}

// stored asks until Kafka answers: reading from a guess would lose or repeat.
func (s *Service) stored(ctx context.Context, g *generation) (map[string]map[int]source.Committed, bool, error) {
	retry := newKafkaBackoff()
	for {
		stored, groupIsNew, err := s.askStored(ctx, g)
		if err == nil {
			return stored, groupIsNew, nil
		}
		s.fetchFailed(ctx, g.partitions[0], err)
		if err := sleep(ctx, retry.Next(err)); err != nil {
			return nil, false, err
		}
	}
}

// askStored also tells whether the group has no offset at all, on any partition of the source topic.
func (s *Service) askStored(ctx context.Context, g *generation) (map[string]map[int]source.Committed, bool, error) {
	stored := make(map[string]map[int]source.Committed)
	for _, topic := range s.cfg.topics() {
		all, err := s.offsets.Partitions(ctx, topic)
		if err != nil {
			return nil, false, err
		}
		for _, p := range g.partitions { // it may be newer than the metadata
			if p.topic == topic && p.id >= len(all) {
				all = append(all, p.id)
			}
		}
		if stored[topic], err = s.offsets.Committed(ctx, s.cfg.Group, topic, all); err != nil {
			return nil, false, err
		}
	}
	groupIsNew := true
	for _, c := range stored[s.cfg.Topic] {
		groupIsNew = groupIsNew && c.Offset < 0
	}
	return stored, groupIsNew, nil
}

// commitUntil commits now and then until the generation ends.
func (s *Service) commitUntil(ctx context.Context, g *generation, ended <-chan struct{}) {
	ticker := time.NewTicker(commitEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ended:
			return
		case <-g.commitNow:
		case <-ticker.C:
		}
		s.commit(ctx, g)
	}
}

// drain waits for what runs, up to the limit, and makes the last commit. After it, nothing
// of this generation is committed: it may belong to somebody else.
func (s *Service) drain(ctx context.Context, g *generation) {
	limit := time.NewTimer(s.cfg.DrainLimit)
	defer limit.Stop()
	ticker := time.NewTicker(commitEvery)
	defer ticker.Stop()
	for over := false; !over; {
		select {
		case <-g.drained:
			over = true
		case <-limit.C:
			over = true
			s.logger.LogAttrs(ctx, slog.LevelWarn, "drain limit reached; running calls are left to whoever gets the partitions next",
				slog.Int("events", s.engine.pendingOf(g)))
		case <-ticker.C:
			s.commit(ctx, g)
		}
	}
	s.commit(ctx, g)
	s.engine.closeAccount(g)
}

// commit stores what has moved. A failure is tried again at the next turn.
func (s *Service) commit(ctx context.Context, g *generation) {
	for _, topic := range s.cfg.topics() {
		s.commitTopic(ctx, g, topic)
	}
}

func (s *Service) commitTopic(ctx context.Context, g *generation, topic string) {
	ps := s.engine.positions(g, topic)
	if len(ps) == 0 {
		return
	}
	err := s.offsets.Commit(ctx, g.member, topic, ps)
	switch {
	case err == nil:
		s.engine.committed(g, topic, ps)
		s.parts.Metrics.committed("ok")
	case source.Fenced(err):
		s.parts.Metrics.committed("fenced")
		s.logger.LogAttrs(ctx, slog.LevelWarn, "commit refused: the partitions belong to another member now", errAttr(err))
	default:
		s.parts.Metrics.committed("failed")
		s.logger.LogAttrs(ctx, slog.LevelWarn, "commit failed; it is tried again", errAttr(err))
	}
}

func (e *engine) positions(g *generation, topic string) []source.Position {
	e.mu.Lock()
	defer e.mu.Unlock()
	return g.positions(topic)
}

func (e *engine) committed(g *generation, topic string, ps []source.Position) {
	e.mu.Lock()
	defer e.mu.Unlock()
	g.committed(topic, ps)
}

func (e *engine) pendingOf(g *generation) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return g.pending
}

func (e *engine) closeAccount(g *generation) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, p := range g.partitions {
		p.closed = true
	}
	e.dropAway()
}
