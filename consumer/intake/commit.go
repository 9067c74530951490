package intake

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"membersync/consumer/intake/source"
)

// commitEvery is how often offsets are committed. While a generation drains, commits are also its
// only sign of life: kafka-go stops the heartbeats.
const commitEvery = time.Second

// A committer stores the offsets of generations.
type committer struct {
	topics   []string
	offsets  *source.Offsets
	accounts *accounts
	metrics  Metrics
	log      *slog.Logger
}

// until commits regularly until the generation ends. A commit that is in flight then is canceled: a
// coordinator that does not answer must not delay the drain, which sends what is missing.
func (c *committer) until(ctx, generation context.Context, g *generation) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(errRevoked)
	defer context.AfterFunc(generation, func() { cancel(errRevoked) })()
	c.regularly(ctx, g, false)
}

// regularly commits until the context ends.
func (c *committer) regularly(ctx context.Context, g *generation, unmoved bool) {
	ticker := time.NewTicker(commitEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.commitNow:
		case <-ticker.C:
		}
		c.commit(ctx, g, unmoved)
	}
}

// lastCommitTimeout bounds the commit after a drain. Without it the records are delivered again,
// and found done.
const lastCommitTimeout = 5 * time.Second

var (
	errDrained       = errors.New("intake: the drain is over")
	errCommitTimeout = errors.New("intake: no response to the last commit in time")
)

// drain waits for the batches that run, up to the limit, and makes the last commit. In that time it
// commits also what has not moved: kafka-go sends no heartbeats then, so commits are the only sign
// of life, and a drain may last longer than the session's timeout.
func (c *committer) drain(ctx context.Context, g *generation, drainLimit time.Duration) {
	alive, stop := context.WithCancelCause(ctx)
	var commits sync.WaitGroup
	commits.Go(func() { c.regularly(alive, g, true) })
	limit := time.NewTimer(drainLimit)
	defer limit.Stop()
	select {
	case <-g.drained:
	case <-limit.C:
		c.log.LogAttrs(ctx, slog.LevelWarn,
			"drain limit reached; in-flight calls are left to the next owner of the partitions",
			slog.Int("events", c.accounts.pending(g)))
	}
	stop(errDrained)
	commits.Wait()
	last, cancel := context.WithTimeoutCause(ctx, lastCommitTimeout, errCommitTimeout)
	defer cancel()
	c.commit(last, g, false)
}

// commit stores what has moved or, if unmoved is set, all offsets. A failure is tried again at the
// next turn.
func (c *committer) commit(ctx context.Context, g *generation, unmoved bool) {
	for _, topic := range c.topics {
		c.commitTopic(ctx, g, topic, unmoved)
	}
}

func (c *committer) commitTopic(ctx context.Context, g *generation, topic string, unmoved bool) {
	ps := c.accounts.positions(g, topic, unmoved)
	if len(ps) == 0 {
		return
	}
	err := c.offsets.Commit(ctx, g.member, topic, ps)
	switch cause := context.Cause(ctx); {
	case err != nil && (errors.Is(cause, errRevoked) || errors.Is(cause, errDrained)): // the next commit includes it
	case err == nil:
		c.accounts.committed(g, topic, ps)
		c.metrics.Committed("ok")
	case source.Fenced(err):
		c.metrics.Committed("fenced")
		c.log.LogAttrs(ctx, slog.LevelWarn, "commit refused: the partitions belong to another member now", errAttr(err))
	default:
		c.metrics.Committed("failed")
		c.log.LogAttrs(ctx, slog.LevelWarn, "commit failed; trying again", errAttr(err))
	}
}
