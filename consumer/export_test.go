package consumer

import (
	"fmt"
	"strings"
	"time"
)

// Dump describes what the service holds in memory, for tests whose wait has timed out.
func (s *Service) Dump() string {
	var b strings.Builder
	stats := s.schedule.Stats(time.Now())
	fmt.Fprintf(&b, "%+v\nkafka: %+v\n", stats, s.intake.Status())
	for _, p := range s.intake.Dump() {
		fmt.Fprintln(&b, p)
	}
	return b.String()
}

// Items returns how many events are in the lanes, running or waiting.
func (s *Service) Items() int { return s.schedule.Stats(time.Now()).Items }

// Redrives returns how many events of the redrive topic are in the lanes.
func (s *Service) Redrives() int { return s.schedule.Stats(time.Now()).Redrives }

// Revoked reports whether the partitions were taken away, and in-flight calls are drained.
func (s *Service) Revoked() bool { return s.intake.IsRevoked() }

// Calling returns the number of batches before the end of their call.
func (s *Service) Calling() int { return s.schedule.Stats(time.Now()).Calling }
