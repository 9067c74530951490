package intake

import (
	"context"
	"log/slog"
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

// until commits regularly until the generation ends.
func (c *committer) until(ctx context.Context, g *generation, ended <-chan struct{}) {
	ticker := time.NewTicker(commitEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ended:
			return
		case <-g.commitNow:
		case <-ticker.C:
		}
		c.commit(ctx, g)
	}
}

// drain waits for the batches that run, up to the limit, and makes the last commit.
func (c *committer) drain(ctx context.Context, g *generation, drainLimit time.Duration) {
	limit := time.NewTimer(drainLimit)
	defer limit.Stop()
	ticker := time.NewTicker(commitEvery)
	defer ticker.Stop()
	for over := false; !over; {
		select {
		case <-g.drained:
			over = true
		case <-limit.C:
			over = true
			c.log.LogAttrs(ctx, slog.LevelWarn,
				"drain limit reached; in-flight calls are left to the next owner of the partitions",
				slog.Int("events", c.accounts.pending(g)))
		case <-ticker.C:
			c.commit(ctx, g)
		}
	}
	c.commit(ctx, g)
}

// commit stores what has moved. A failure is tried again at the next turn.
func (c *committer) commit(ctx context.Context, g *generation) {
	for _, topic := range c.topics {
		c.commitTopic(ctx, g, topic)
	}
}

func (c *committer) commitTopic(ctx context.Context, g *generation, topic string) {
	ps := c.accounts.positions(g, topic)
	if len(ps) == 0 {
		return
	}
	err := c.offsets.Commit(ctx, g.member, topic, ps)
	switch {
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
