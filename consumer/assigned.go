package consumer

import (
	"context"
	"log/slog"
	"time"

	"github.com/segmentio/kafka-go"
)

// A leader that reads a topic's partitions just after the topic was made may not see them yet, and assigns none.
// kafka-go's own watcher reads them once more, a moment later, and from then on looks for changes alone: where it has
// seen what the leader had not, the partitions would be nobody's until somebody joins or leaves.

// watchAssignment ends a generation in which a partition is nobody's, so that the group joins again. It looks every
// Session.Watch, and less often where joining again has not helped.
func (s *Service) watchAssignment(ctx context.Context, gen *kafka.Generation) {
	for before, looks := 0, 0; ; looks++ {
		wait := s.cfg.Session.Watch << min(s.rejoined, maxRejoined)
		if looks < 2 { // mostly it is so from the start
			wait /= 10
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		missing, err := s.offsets.Unassigned(context.WithoutCancel(ctx), s.cfg.Group, s.cfg.topics())
		switch {
		case err != nil:
			s.logger.LogAttrs(ctx, slog.LevelDebug, "assignments of the group not known", errAttr(err))
		case missing == 0:
			s.rejoined = 0
		case before > 0: // not just between two generations
			s.rejoined++
			s.logger.LogAttrs(ctx, slog.LevelWarn, "partitions that no member has; joining the group again",
				slog.Int("partitions", missing), slog.Int("generation", int(gen.ID)))
			return
		}
		before = missing
	}
}

// maxRejoined bounds the exponent of the wait between looks.
const maxRejoined = 6
