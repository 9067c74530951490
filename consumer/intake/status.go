package intake

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
)

// A partitionKey names a partition, or the join of the group.
type partitionKey struct {
	topic string
	id    int
}

// joinKey stands for the join of the group.
func joinKey() partitionKey { return partitionKey{id: -1} }

func (p *partition) key() partitionKey { return partitionKey{p.topic, p.id} }

// A status is what readiness is answered from. It is safe for concurrent use.
type status struct {
	mu       sync.Mutex
	joined   bool // at least once
	draining bool
	gen      *generation           // the current one
	failing  map[partitionKey]bool // partitions, or the join, for which Kafka does not answer
}

func newStatus() *status { return &status{failing: make(map[partitionKey]bool)} }

func (s *status) assigned(g *generation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.joined, s.gen = true, g
}

func (s *status) unassigned(g *generation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gen == g {
		s.gen = nil
	}
}

func (s *status) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
}

// setFailing notes whether Kafka fails for a partition. It reports whether that has changed whether it
// fails for any.
func (s *status) setFailing(key partitionKey, fails bool) (changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	failed := len(s.failing) > 0
	if fails {
		s.failing[key] = true
	} else {
		delete(s.failing, key)
	}
	return failed != (len(s.failing) > 0)
}

func (s *status) current() *generation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gen
}

// A Status is what readiness depends on.
type Status struct {
	Joined       bool // the group was joined at least once
	Draining     bool // the process stops
	KafkaFailing bool // for at least one partition, or for the join
}

// Status returns the state of the membership.
func (in *Intake) Status() Status {
	in.status.mu.Lock()
	defer in.status.mu.Unlock()
	return Status{
		Joined: in.status.joined, Draining: in.status.draining, KafkaFailing: len(in.status.failing) > 0,
	}
}

// ReportFailure notes that Kafka does not answer what a record of the partition needs. The next
// successful fetch of the partition ends that.
func (in *Intake) ReportFailure(ctx context.Context, topic string, partition int, err error) {
	in.kafkaFailed(ctx, partitionKey{topic, partition}, err)
}

func (in *Intake) joinFailed(ctx context.Context, err error) {
	if in.setKafkaFails(joinKey(), true) {
		in.logger.LogAttrs(ctx, slog.LevelWarn, "cannot join the consumer group; trying again", errAttr(err))
	}
}

func (in *Intake) kafkaFailed(ctx context.Context, key partitionKey, err error) {
	if ctx.Err() != nil {
		return
	}
	if in.setKafkaFails(key, true) {
		in.logger.LogAttrs(ctx, slog.LevelWarn, "kafka failed; trying again",
			slog.String("topic", key.topic), slog.Int("partition", key.id), errAttr(err))
	}
}

func (in *Intake) kafkaWorked(ctx context.Context, key partitionKey) {
	if in.setKafkaFails(key, false) {
		in.logger.LogAttrs(ctx, slog.LevelInfo, "kafka answers again")
	}
}

func (in *Intake) setKafkaFails(key partitionKey, fails bool) (changed bool) {
	changed = in.status.setFailing(key, fails)
	if changed {
		in.parts.Metrics.KafkaPaused(fails)
	}
	return changed
}

// IsRevoked reports whether the current generation is being drained.
func (in *Intake) IsRevoked() bool {
	g := in.status.current()
	return g != nil && g.revoked.Load()
}

// Dump describes the account of each partition, one line each.
func (in *Intake) Dump() []string {
	g := in.status.current()
	if g == nil {
		return nil
	}
	in.accounts.mu.Lock()
	defer in.accounts.mu.Unlock()
	lines := []string{fmt.Sprintf("%d tickets open, revoked %v", g.pending, g.revoked.Load())}
	for _, p := range g.partitions {
		if p.mark != nil {
			lines = append(lines, fmt.Sprintf("%s/%d: committable %d of %d, committed %d, %d records open",
				p.topic, p.id, p.mark.Committable(), p.end, p.committed, p.mark.Open()))
		}
	}
	return lines
}
