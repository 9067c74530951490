package intake

import (
	"context"
	"log/slog"
	"time"

	"membersync/consumer/intake/source"
)

// A leader that reads a topic's partitions just after the topic was created may not see them yet,
// and assigns none. kafka-go's own watcher reads them once more, a moment later, and from then on
// looks for changes only. If it has seen what the leader had not, the partitions would have no
// owner until a member joins or leaves.

// An unassignedWatcher looks for partitions without an owner. Only the goroutine of a generation
// uses it.
type unassignedWatcher struct {
	group    string
	topics   []string
	every    time.Duration
	offsets  *source.Offsets
	log      *slog.Logger
	rejoined int // how often in a row joining again has not helped
}

// watch returns, which ends the generation, when a partition has no owner, so that the group joins
// again. It looks less often if joining again has not helped.
func (w *unassignedWatcher) watch(ctx context.Context, generation int) {
	for before, looks := 0, 0; ; looks++ {
		wait := w.every << min(w.rejoined, maxRejoined)
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
		missing, err := w.offsets.Unassigned(context.WithoutCancel(ctx), w.group, w.topics)
		switch {
		case err != nil:
			w.log.LogAttrs(ctx, slog.LevelDebug, "assignments of the group not known", errAttr(err))
		case missing == 0:
			w.rejoined = 0
		case before > 0: // at two looks, so not just between two generations
			w.rejoined++
			w.log.LogAttrs(ctx, slog.LevelWarn, "partitions without an owner; joining the group again",
				slog.Int("partitions", missing), slog.Int("generation", generation))
			return
		}
		before = missing
	}
}

// maxRejoined bounds the exponent of the wait between looks.
const maxRejoined = 6
