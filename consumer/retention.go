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
	}
}
