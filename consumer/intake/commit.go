package intake

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"membersync/consumer/intake/source"
	"membersync/consumer/wait"
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
	stored   func(topic string) // called after a commit
}

// until commits regularly until ended is closed; if unmoved is set, also what has not moved.
func (c *committer) until(ctx context.Context, g *generation, ended <-chan struct{}, unmoved bool) {
	ticker := time.NewTicker(commitEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ended:
			return
		case <-g.commitNow:
		case <-ticker.C:
		}
		if !c.commitUntil(ctx, g, ended, unmoved) {
			return
		}
	}
}

// commitGrace is how long a commit may be in flight after its part of the generation has ended.
// Canceled at once, its request could reach the coordinator after the next one's, over another
// connection, and take the offset back. Not canceled at all, a coordinator that does not answer
// would delay the drain.
const commitGrace = time.Second

// commitUntil makes one commit, and returns false if that was the last of its part.
func (c *committer) commitUntil(ctx context.Context, g *generation, ended <-chan struct{}, unmoved bool) bool {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.commit(ctx, g, unmoved)
	}()
	select {
	case <-done:
		return true
	case <-ended:
	}
	grace := time.NewTimer(commitGrace)
	defer grace.Stop()
	select {
	case <-grace.C:
		cancel(errCommitTimeout)
		<-done
	case <-done:
	}
	return false
}

// lastCommitTimeout bounds the commit after a drain, with its repetitions. Without it the records
// are delivered again, and found done.
const lastCommitTimeout = 5 * time.Second

var errCommitTimeout = errors.New("intake: no response to a commit in time")

// drain waits for the batches that run, up to the limit, and makes the last commit. In that time it
// commits also what has not moved: kafka-go sends no heartbeats then, so commits are the only sign
// of life, and a drain may last longer than the session's timeout.
func (c *committer) drain(ctx context.Context, g *generation, drainLimit time.Duration) {
	drained := make(chan struct{})
	var commits sync.WaitGroup
	commits.Go(func() { c.until(ctx, g, drained, true) })
	limit := time.NewTimer(drainLimit)
	defer limit.Stop()
	select {
	case <-g.drained:
	case <-limit.C:
		c.log.LogAttrs(ctx, slog.LevelWarn,
			"drain limit reached; in-flight calls are left to the next owner of the partitions",
			slog.Int("events", c.accounts.pending(g)))
	}
	close(drained)
	commits.Wait()
	c.last(ctx, g)
}

// last makes the last commit. No later one would include what it has, so it is repeated.
func (c *committer) last(ctx context.Context, g *generation) {
	limited, cancel := context.WithTimeoutCause(ctx, lastCommitTimeout, errCommitTimeout)
	defer cancel()
	for retry := newBackoff(); !c.commit(limited, g, false); {
		if wait.For(limited, retry.NextBackOff()) != nil {
			c.log.LogAttrs(ctx, slog.LevelWarn, "last commit failed; its records are delivered again, and found done")
			return
		}
	}
}

// commit stores what has moved or, if unmoved is set, all offsets. It returns false if committing
// again can help.
func (c *committer) commit(ctx context.Context, g *generation, unmoved bool) (isOver bool) {
	isOver = true
	for _, topic := range c.topics {
		isOver = c.commitTopic(ctx, g, topic, unmoved) && isOver
	}
	return isOver
}

func (c *committer) commitTopic(ctx context.Context, g *generation, topic string, unmoved bool) (isOver bool) {
	ps := c.accounts.positions(g, topic, unmoved)
	if len(ps) == 0 {
		return true
	}
	err := c.offsets.Commit(ctx, g.member, topic, ps)
	switch {
	case err == nil:
		c.accounts.committed(g, topic, ps)
		c.stored(topic)
		c.metrics.Committed("ok")
	case source.Fenced(err):
		c.metrics.Committed("fenced")
		c.log.LogAttrs(ctx, slog.LevelWarn, "commit refused: the partitions belong to another member now", errAttr(err))
	default:
		c.metrics.Committed("failed")
		c.log.LogAttrs(ctx, slog.LevelWarn, "commit failed; trying again", errAttr(err))
		return false
	}
	return true
}
