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

// watchRetention keeps a topic's retention up to date until the context ends.
func (s *Service) watchRetention(ctx context.Context, topic string) {
	warned := false
	for wait := time.Duration(0); sleep(ctx, wait) == nil; {
		retention, err := s.offsets.Retention(ctx, topic)
		if err != nil {
			s.logger.LogAttrs(ctx, slog.LevelDebug, "retention of the topic not known", slog.String("topic", topic), errAttr(err))
			wait = retentionRetry
			continue
		}
		wait = retentionEvery
		s.engine.mu.Lock()
		s.engine.retention[topic] = retention
		s.engine.mu.Unlock()
		if topic == s.cfg.Topic {
			warned = s.warnOfMarks(ctx, retention, warned)
		}
	}
}

// warnOfMarks says once that done marks run out before their records do. What is delivered again after that causes a call; the
// versions keep older values back all the same.
func (s *Service) warnOfMarks(ctx context.Context, retention time.Duration, warned bool) bool {
	ttl := s.cfg.DoneTTL
	if ttl == 0 || retention != 0 && retention <= ttl {
		return false
	}
	if !warned {
		kept := retention.String()
		if retention == 0 {
			kept = "unlimited"
		}
		s.logger.LogAttrs(ctx, slog.LevelWarn, "event ids are remembered for less time than the topic keeps its records",
			slog.String("setting", "state.done_ttl"), slog.Duration("done_ttl", ttl), slog.String("retention", kept))
	}
	return true
}
