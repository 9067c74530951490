package consumer

import "time"

// A stopwatch adds up the time for which something is on.
type stopwatch struct {
	sum   time.Duration
	since time.Time // zero: it is off
}

func (s *stopwatch) set(now time.Time, on bool) {
	s.sum, s.since = s.total(now), time.Time{}
	if on {
		s.since = now
	}
}

func (s *stopwatch) total(now time.Time) time.Duration {
	if s.since.IsZero() {
		return s.sum
	}
	return s.sum + now.Sub(s.since)
}
