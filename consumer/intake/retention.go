package intake

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"membersync/consumer/intake/source"
	"membersync/consumer/wait"
	"membersync/dlq/partlog"
)

// How often the topic's retention is looked up: it is changed by hand, and rarely.
const (
	retentionEvery = 5 * time.Minute
	retentionRetry = 10 * time.Second
)

// A retentionWatcher keeps the retention of the topics up to date.
type retentionWatcher struct {
	cfg      *Config
	offsets  *source.Offsets
	accounts *accounts
	log      *slog.Logger
}

// watch looks after one topic until the context ends.
func (w retentionWatcher) watch(ctx context.Context, topic string) {
	warned, denied := false, false
	for pause := time.Duration(0); wait.For(ctx, pause) == nil; {
		retention, err := w.offsets.Retention(ctx, topic)
		if err != nil {
			level := slog.LevelDebug
			if _, lasts := errors.AsType[*partlog.DeniedError](err); lasts && !denied {
				level, denied = slog.LevelWarn, true
			}
			w.log.LogAttrs(ctx, level, "retention of the topic not known", slog.String("topic", topic), errAttr(err))
			pause = retentionRetry
			continue
		}
		pause, denied = retentionEvery, false
		w.accounts.setRetention(topic, retention)
		if topic == w.cfg.Topic {
			warned = w.warnOfDoneMarks(ctx, retention, warned)
		}
	}
}

func (a *accounts) setRetention(topic string, retention time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.retention[topic] = retention
}

// warnOfDoneMarks logs once that done marks expire before their records do. A later delivery then
// causes a call; the versions keep older values out all the same. A retention of 0 is unlimited.
func (w retentionWatcher) warnOfDoneMarks(ctx context.Context, retention time.Duration, warned bool) bool {
	ttl := w.cfg.DoneTTL
	if ttl == 0 || retention != 0 && retention <= ttl {
		return false
	}
	if !warned {
		kept := retention.String()
		if retention == 0 {
			kept = "unlimited"
		}
		w.log.LogAttrs(ctx, slog.LevelWarn, "done marks expire before the topic's records do",
			slog.String("setting", "state.done_ttl"), slog.Duration("done_ttl", ttl), slog.String("retention", kept))
	}
	return true
}
