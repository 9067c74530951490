package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/redis/go-redis/v9"

	"membersync/cmd/internal/ops"
	"membersync/cmd/internal/wiring"
	"membersync/dedupe"
	"membersync/dlq"
	"membersync/dlq/partlog"
)

const (
	startTimeout    = 15 * time.Second // of one attempt to reach something
	startFirstWait  = 500 * time.Millisecond
	startLargeWait  = 2 * time.Second // what is asked is cheap, and a restart in an outage must not prolong it
	startMultiplier = 2
)

var errStartTimeout = errors.New("no answer in time")

// A refusedError is something at start that only an operator can change.
type refusedError struct{ err error }

// Error says what was refused.
func (e *refusedError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *refusedError) Unwrap() error { return e.err }

// start waits until Redis and Kafka are there. The CRM is not waited for: the service
// pauses by itself while that is away.
func (r *running) start(ctx context.Context) error {
	if r.dry != nil {
		return r.startDry(ctx)
	}
	if !r.cfg.State.Key.IsSet() {
		r.parts.Logger.LogAttrs(ctx, slog.LevelWarn, "MEMBERSYNC_STATE_KEY is not set: a reader of redis can test guesses at ids, "+
			"what the CRM holds already is sent again, and no value can be edited in a redrive")
	}
	if err := r.await(ctx, "redis", r.metrics.RedisPaused, r.startRedis); err != nil {
		return err
	}
	return r.await(ctx, "kafka", r.metrics.KafkaPaused, r.startKafka)
}

// await tries until it succeeds, is refused or the context ends. In the meantime the metric shows
// why the instance does nothing.
func (r *running) await(ctx context.Context, what string, pause func(bool), try func(context.Context) error) error {
	r.board.wait(what)
	once := func() error {
		ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, errStartTimeout)
		defer cancel()
		err := try(ctx)
		if refused, ok := errors.AsType[*refusedError](err); ok {
			return backoff.Permanent(refused)
		}
		return err
	}
	tell := func(err error, wait time.Duration) {
		r.board.wait(what + " is unreachable")
		pause(true)
		r.parts.Logger.LogAttrs(ctx, slog.LevelWarn, "start waits", slog.String("for", what),
			slog.String("error", err.Error()+wiring.Advice(what, err)), slog.Duration("retry_in", wait))
	}
	waits := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(startFirstWait), backoff.WithMaxInterval(startLargeWait),
		backoff.WithMultiplier(startMultiplier), backoff.WithMaxElapsedTime(0),
	)
	defer pause(false)
	return backoff.RetryNotify(once, backoff.WithContext(waits, ctx), tell)
}

func (r *running) startRedis(ctx context.Context) error {
	err := r.parts.Store.Check(ctx)
	switch {
	case errors.Is(err, dedupe.ErrEvictionUnknown):
		r.parts.Logger.LogAttrs(ctx, slog.LevelWarn, "redis does not tell its maxmemory-policy, which must be noeviction")
		return r.startHashes(ctx)
	case errors.Is(err, dedupe.ErrEviction), isRedisRefusal(err):
		return &refusedError{err}
	case err != nil:
		return fmt.Errorf("redis: %w", err)
	default:
		return r.startHashes(ctx)
	}
}

// startHashes looks at the lookups that Redis holds. One that is no hash would stop every event
// that needs it.
func (r *running) startHashes(ctx context.Context) error {
	if r.parts.Hashes == nil {
		return nil
	}
	err := r.parts.Hashes.Check(ctx)
	if errors.Is(err, wiring.ErrNoHash) || isRedisRefusal(err) {
		return &refusedError{err}
	}
	return err
}

// isRedisRefusal reports whether Redis answered that the credentials are wrong, which
// it says by the first word of an error of its own. A permission that they lack is waited for.
func isRedisRefusal(err error) bool {
	answer, ok := errors.AsType[redis.Error](err)
	if !ok {
		return false
	}
	word, _, _ := strings.Cut(answer.Error(), " ")
	return word == "WRONGPASS" || word == "NOAUTH" || strings.HasPrefix(answer.Error(), "ERR AUTH")
}

func (r *running) ensureTopics(ctx context.Context) error {
	return dlq.EnsureTopics(ctx, r.parts.Kafka, dlq.TopicSpec{
		Topics:    wiring.Topics(r.cfg),
		Retention: r.cfg.DLQ.Retention,
		Create:    r.cfg.Kafka.CreateTopics,
	})
}

// recreateTopics creates topics that were deleted while the service ran.
func (r *running) recreateTopics(ctx context.Context) error {
	err := r.ensureTopics(ctx)
	if _, isSmall := errors.AsType[*dlq.SmallTopicError](err); isSmall { // reported at start
		return nil
	}
	return err
}

// isDenied reports whether Kafka's ACLs lack a permission. It is waited for, as at any later time:
// an ACL that is added takes effect at once.
func isDenied(err error) bool {
	_, denied := errors.AsType[*partlog.DeniedError](err)
	return denied
}

func (r *running) startKafka(ctx context.Context) error {
	err := r.ensureTopics(ctx)
	small, isSmall := errors.AsType[*dlq.SmallTopicError](err)
	switch {
	case err == nil:
		return r.checkMemberTTL(ctx)
	case isSmall:
		r.parts.Logger.LogAttrs(ctx, slog.LevelWarn, "dead-letter topic takes smaller records than the source topic",
			slog.String("topic", small.Topic), slog.Int64("limit", small.Limit), slog.Int64("need", small.Need))
		return r.checkMemberTTL(ctx)
	case dlq.IsUnavailable(err) || isDenied(err) || ctx.Err() != nil:
		return fmt.Errorf("kafka: %w", err)
	default:
		return &refusedError{fmt.Errorf("kafka: %w%s", err, wiring.Advice("kafka", err))}
	}
}

// checkMemberTTL refuses a start with versions that expire while a topic still holds older events.
// What keeps it from knowing that is waited for.
func (r *running) checkMemberTTL(ctx context.Context) error {
	err := ops.CheckMemberTTL(ctx, r.cfg, r.parts.Kafka)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("kafka: %w", err)
	if _, isShort := errors.AsType[*ops.MemberTTLError](err); isShort {
		return &refusedError{err}
	}
	return err
}
