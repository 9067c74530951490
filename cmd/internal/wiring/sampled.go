package wiring

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// A message may be logged so often in this time. More of it is left out until the time is over: in
// an outage, or when thousands of held events are dead-lettered, each line says the same.
const (
	sampleTime  = 10 * time.Second
	sampleLines = 50
)

// A sampler leaves messages out that repeat fast. The next line of such a message has the attribute
// left_out, with the number. If debug lines are logged nothing is left out. Messages are constants,
// so there are few.
type sampler struct {
	slog.Handler
	state *samples
}

func sampled(h slog.Handler) slog.Handler {
	return sampler{h, &samples{of: make(map[string]*sample)}}
}

// Handle implements [slog.Handler].
func (s sampler) Handle(ctx context.Context, r slog.Record) error {
	if s.Enabled(ctx, slog.LevelDebug) {
		return s.Handler.Handle(ctx, r)
	}
	leftOut, ok := s.state.take(r.Message, r.Time)
	if !ok {
		return nil
	}
	if leftOut > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("left_out", leftOut))
	}
	return s.Handler.Handle(ctx, r)
}

// WithAttrs implements [slog.Handler].
func (s sampler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return sampler{s.Handler.WithAttrs(attrs), s.state}
}

// WithGroup implements [slog.Handler].
func (s sampler) WithGroup(name string) slog.Handler {
	return sampler{s.Handler.WithGroup(name), s.state}
}

type samples struct {
	mu sync.Mutex
	of map[string]*sample
}

// A sample is one message in the current time.
type sample struct {
	began          time.Time
	lines, leftOut int
}

// take reports whether a line may be logged now, and how many were left out before it.
func (s *samples) take(message string, now time.Time) (leftOut int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.of[message]
	if one == nil {
		one = &sample{began: now}
		s.of[message] = one
	}
	if now.Sub(one.began) >= sampleTime {
		one.began, one.lines = now, 0
	}
	if one.lines == sampleLines {
		one.leftOut++
		return 0, false
	}
	one.lines++
	leftOut, one.leftOut = one.leftOut, 0
	return leftOut, true
}
