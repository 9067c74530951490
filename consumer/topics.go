package consumer

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/segmentio/kafka-go"

	"membersync/consumer/wait"
	"membersync/dlq"
)

// topicsEvery is the least time between two attempts to create topics: the brokers need a moment to
// hear of a new one, and so do the clients.
const topicsEvery = 5 * time.Second

// A topicKeeper creates membersync's own topics again if they are deleted while the service runs.
// It is safe for concurrent use.
type topicKeeper struct {
	ensure  func(context.Context) error // nil: they are created by hand
	log     *slog.Logger
	missing chan struct{} // one of them may be missing
}

func newTopicKeeper(parts *Parts) *topicKeeper {
	k := &topicKeeper{ensure: parts.EnsureTopics, log: parts.Logger, missing: make(chan struct{}, 1)}
	if parts.DeadLetters != nil {
		parts.DeadLetters = keptDeadLetters{parts.DeadLetters, k}
	}
	if parts.Audit != nil {
		parts.Audit = keptAudit{parts.Audit, k}
	}
	return k
}

// reportMissing does not block.
func (k *topicKeeper) reportMissing() { signal(k.missing) }

func (k *topicKeeper) check(err error) error {
	if errors.Is(err, kafka.UnknownTopicOrPartition) {
		k.reportMissing()
	}
	return err
}

// watch creates what is reported as missing, until the context ends.
func (k *topicKeeper) watch(ctx context.Context) {
	if k.ensure == nil {
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.missing:
		}
		if err := k.ensure(ctx); err != nil {
			k.log.LogAttrs(ctx, levelOf(ctx), "missing topics not created; trying again", errAttr(err))
		} else {
			k.log.LogAttrs(ctx, slog.LevelInfo, "missing topics created")
		}
		if wait.For(ctx, topicsEvery) != nil {
			return
		}
	}
}

type keptDeadLetters struct {
	DeadLetterWriter
	keeper *topicKeeper
}

// Write implements [DeadLetterWriter].
func (w keptDeadLetters) Write(ctx context.Context, d dlq.DeadLetter) error {
	return w.keeper.check(w.DeadLetterWriter.Write(ctx, d))
}

type keptAudit struct {
	Auditor
	keeper *topicKeeper
}

// Write implements [Auditor].
func (a keptAudit) Write(ctx context.Context, r dlq.AuditRecord) error {
	return a.keeper.check(a.Auditor.Write(ctx, r))
}
