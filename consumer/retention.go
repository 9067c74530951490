package consumer

import (
	"context"
	"log/slog"
	"time"
)

// How often the topic's retention is looked up: it is changed by hand, and seldom.
const (
	retentionEvery = 5 * time.Minute
	retentionRetry = 10 * time.Second
)

// watchRetention keeps the topic's retention up to date until the context ends.
func (s *Service) watchRetention(ctx context.Context) {
	warned := false
	for wait := time.Duration(0); sleep(ctx, wait) == nil; {
		retention, err := s.offsets.Retention(ctx, s.cfg.Topic)
		if err != nil {
			s.logger.LogAttrs(ctx, slog.LevelDebug, "retention of the topic not known", errAttr(err))
			wait = retentionRetry
			continue
		}
		wait = retentionEvery
		s.engine.mu.Lock()
		s.engine.retention = retention
		s.engine.mu.Unlock()
		if !warned {
			s.warnOfShortMemory(ctx, retention)
			warned = true
		}
	}
}

// warnOfShortMemory tells that the topic keeps records for longer than it is remembered which events are done. What is delivered again
// after that is no duplicate, and only its versions keep it from undoing anything.
func (s *Service) warnOfShortMemory(ctx context.Context, retention time.Duration) {
	if s.parts.Overseer == nil {
		return
	}
	remembered, kept := s.parts.Overseer.Remembers(), retention.String()
	switch {
	case retention == 0:
		kept = "without a limit of time"
	case retention <= remembered:
		return
	}
	s.logger.LogAttrs(ctx, slog.LevelWarn, "the topic keeps records for longer than done events are remembered: raise MEMBERSYNC_STATE_DONE_TTL; versions still protect",
		slog.String("topic", s.cfg.Topic), slog.String("retention", kept), slog.String("remembered", remembered.String()))
}
