package intake

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/segmentio/kafka-go"

	"membersync/consumer/wait"
)

// When a topic that the group consumes does not exist, kafka-go's leader assigns nothing of any
// topic, and its partition watcher ends each generation at once, without a backoff: 190 joins per
// second were measured for a missing source topic, 1,900 for a missing redrive topic. kafka-go
// joins again only after all functions of the last generation have returned, so a wait in one of
// them slows the joins down.

// shortLived is how long a generation lives at least if its topics exist.
const shortLived = time.Second

// A rejoinGate delays the next join of the group. Only the goroutine of a generation uses it.
type rejoinGate struct {
	in    *Intake
	retry *backoff.ExponentialBackOff
}

func newRejoinGate(in *Intake) *rejoinGate { return &rejoinGate{in: in, retry: newBackoff()} }

// wait returns when the group may be joined again: after a generation with partitions at once;
// after one that ended at once, without any partition, with backoff and when all topics exist.
// Topics are looked for after the backoff only, since the client remembers for a few seconds that a
// topic exists.
func (r *rejoinGate) wait(ctx context.Context, hadPartitions bool, lived time.Duration) {
	if hadPartitions || lived >= shortLived {
		r.retry.Reset()
	} else if wait.For(ctx, r.retry.NextBackOff()) != nil {
		return
	}
	for _, topic := range r.in.cfg.topics() {
		r.awaitTopic(ctx, topic)
	}
}

// awaitTopic returns when a topic exists, or when the context ends.
func (r *rejoinGate) awaitTopic(ctx context.Context, topic string) {
	key := partitionKey{topic: topic, id: -1}
	for retry := newBackoff(); ctx.Err() == nil; {
		_, err := r.in.offsets.Partitions(ctx, topic)
		if err == nil {
			r.in.status.worked(ctx, key)
			return
		}
		r.in.status.failed(ctx, key, err)
		_ = wait.For(ctx, retry.NextBackOff()) // its error is the end of the context
	}
}

func hasPartitions(gen *kafka.Generation) bool {
	for _, as := range gen.Assignments {
		if len(as) > 0 {
			return true
		}
	}
	return false
}
