package intake

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"membersync/dlq/partlog"
)

// A partitionKey names a partition, a topic (id -1), or the join of the group (no topic).
type partitionKey struct {
	topic string
	id    int
}

// joinKey stands for the join of the group.
func joinKey() partitionKey { return partitionKey{id: -1} }

func (p *partition) key() partitionKey { return partitionKey{p.topic, p.id} }

// A status is what readiness is answered from: the membership, and whether Kafka answers. It is
// safe for concurrent use.
type status struct {
	metrics Metrics
	log     *slog.Logger

	mu       sync.Mutex
	joined   bool // at least once
	draining bool
	gen      *generation // the current one
	// failing has the partitions, or the join, for which Kafka does not answer, and whether that is
	// for lack of a permission.
	failing map[partitionKey]bool
}

func newStatus(metrics Metrics, log *slog.Logger) *status {
	return &status{metrics: metrics, log: log, failing: make(map[partitionKey]bool)}
}

func (s *status) assigned(g *generation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.joined, s.gen = true, g
}

// unassigned forgets a generation, and with it the failures of its partitions: they are another
// member's from now on.
func (s *status) unassigned(g *generation) {
	s.mu.Lock()
	if s.gen == g {
		s.gen = nil
	}
	s.mu.Unlock()
	for _, p := range g.partitions {
		s.setFailing(p.key(), false)
	}
}

func (s *status) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
}

func (s *status) current() *generation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gen
}

// failed notes that Kafka does not answer for a partition, or for the join.
func (s *status) failed(ctx context.Context, key partitionKey, err error) {
	if ctx.Err() != nil {
		return
	}
	// What the first failure was may hide that a permission is missing, which does not pass by itself.
	if changed, denied := s.setFailing(key, true), s.setDenied(key, err); changed || denied {
		attrs := []slog.Attr{slog.String("topic", key.topic), errAttr(err)}
		if key.id >= 0 {
			attrs = append(attrs, slog.Int("partition", key.id))
		}
		s.log.LogAttrs(ctx, slog.LevelWarn, "kafka failed; trying again", attrs...)
	}
}

func (s *status) worked(ctx context.Context, key partitionKey) {
	if s.setFailing(key, false) {
		s.log.LogAttrs(ctx, slog.LevelInfo, "kafka answers again")
	}
}

// setFailing reports whether that has changed whether Kafka fails for any partition.
func (s *status) setFailing(key partitionKey, fails bool) (changed bool) {
	s.mu.Lock()
	failed := len(s.failing) > 0
	if fails {
		denied := s.failing[key] // false if it is not there
		s.failing[key] = denied
	} else {
		delete(s.failing, key)
	}
	changed = failed != (len(s.failing) > 0)
	s.mu.Unlock()
	if changed {
		s.metrics.KafkaPaused(fails)
	}
	return changed
}

// setDenied reports whether a partition that fails has begun to do so for lack of a permission.
func (s *status) setDenied(key partitionKey, err error) (began bool) {
	_, denied := errors.AsType[*partlog.DeniedError](err)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !denied || s.failing[key] {
		return false
	}
	s.failing[key] = true
	return true
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
	in.status.failed(ctx, partitionKey{topic, partition}, err)
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
