package consumer

import (
	"strings"
	"sync"
	"time"
)

// A status is what readiness and liveness are answered from. It is safe for concurrent use.
type status struct {
	mu       sync.Mutex
	joined   bool // at least once
	draining bool
	gen      *generation  // the current one
	kafka    map[int]bool // partitions, or the join, for which it does not answer
}

func newStatus() *status { return &status{kafka: make(map[int]bool)} }

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

// kafkaFails notes whether Kafka answers for a partition, and reports whether it is news that it
// fails for any, or works for all again.
func (s *status) kafkaFails(part int, fails bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	failed := len(s.kafka) > 0
	if fails {
		s.kafka[part] = true
	} else {
		delete(s.kafka, part)
	}
	return failed != (len(s.kafka) > 0)
}

func (s *status) current() *generation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gen
}

// Ready reports whether the service takes part in its group, and what it waits for: the reason if it is
// not ready, the causes of a pause if it is. It is safe for concurrent use.
func (s *Service) Ready() (ok bool, cause string) {
	s.status.mu.Lock()
	joined, draining, kafka := s.status.joined, s.status.draining, len(s.status.kafka) > 0
	s.status.mu.Unlock()
	switch {
	case draining:
		return false, "draining"
	case !joined:
		return false, "not joined the consumer group yet"
	}
	return true, s.engine.pauseText(kafka)
}

// stuckAfter is far longer than any run may take: its call, its lease and Redis are all bounded.
const stuckAfter = 5 * time.Minute

// Live reports whether a restart would help: it would if runs are under way or could be, and none
// has come to anything for minutes. It is safe for concurrent use.
func (s *Service) Live() (ok bool, why string) { return s.engine.live(time.Now()) }

func (e *engine) live(now time.Time) (ok bool, why string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	running := e.busy+e.closing+e.burying > 0
	could := (e.letters.Ready(now) && !e.guard.On()) || (e.lanes.Ready(now) && e.gate.Peek(now).Open)
	if (!running && (!could || !e.oversight.known)) || e.progress.IsZero() {
		e.progress = now // nothing to come to anything
		return true, ""
	}
	if stuck := now.Sub(e.progress); stuck > stuckAfter {
		return false, "nothing has come of any work for " + stuck.Round(time.Second).String()
	}
	return true, ""
}

// pauseText names the causes as the metrics do.
func (e *engine) pauseText(kafka bool) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var names []string
	for _, c := range e.gate.Causes() {
		names = append(names, c.String())
	}
	if e.noLetter {
		names = append(names, "dlq")
	}
	if kafka {
		names = append(names, "kafka")
	}
	return strings.Join(names, ", ")
}
