package intake

import (
	"context"
	"log/slog"
	"time"

	"github.com/segmentio/kafka-go"
)

// A leader that reads a topic's partitions just after the topic was created may not see them yet, and
// assigns none. kafka-go's own watcher reads them once more, a moment later, and from then on looks for
// changes only. If it has seen what the leader had not, the partitions would have no owner until a
// member joins or leaves.

// watchAssignment ends a generation in which a partition has no owner, so that the group joins again. It
// looks every Session.Watch, and less often if joining again has not helped.
func (in *Intake) watchAssignment(ctx context.Context, gen *kafka.Generation) {
	for before, looks := 0, 0; ; looks++ {
		wait := in.cfg.Session.Watch << min(in.rejoined, maxRejoined)
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
		missing, err := in.offsets.Unassigned(context.WithoutCancel(ctx), in.cfg.Group, in.cfg.topics())
		switch {
		case err != nil:
			in.logger.LogAttrs(ctx, slog.LevelDebug, "assignments of the group not known", errAttr(err))
		case missing == 0:
			in.rejoined = 0
		case before > 0: // at two looks, so not just between two generations
			in.rejoined++
			in.logger.LogAttrs(ctx, slog.LevelWarn, "partitions without an owner; joining the group again",
				slog.Int("partitions", missing), slog.Int("generation", int(gen.ID)))
			return
		}
		before = missing
	}
}

// maxRejoined bounds the exponent of the wait between looks.
const maxRejoined = 6
