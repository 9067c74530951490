package consumer

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"membersync/consumer/event"
	"membersync/consumer/intake"
	"membersync/consumer/schedule"
	"membersync/dedupe"
)

// A redisGuard pauses calls while Redis does not answer: without it no update is safe. It is safe
// for concurrent use.
type redisGuard struct {
	schedule *schedule.Schedule
	log      *slog.Logger

	mu       sync.Mutex
	warnedOf string    // what it last warned of
	warnedAt time.Time // when that was
}

// warnEvery is the least time between two warnings of the same: while Redis refuses only some
// commands, calls pause and resume in turn.
const warnEvery = 10 * time.Second

func (g *redisGuard) failed(ctx context.Context, op string, err error) {
	if ctx.Err() != nil {
		return
	}
	level, now := slog.LevelDebug, time.Now()
	if g.mustWarn(now, err) {
		level = slog.LevelWarn
	}
	g.log.LogAttrs(ctx, level, "redis failed; trying again", slog.String("op", op), errAttr(err))
	g.schedule.Pause(now, event.CauseRedis, 0)
}

// mustWarn reports whether an error is another one than the last, or that is some time ago.
func (g *redisGuard) mustWarn(now time.Time, err error) bool {
	what := "outage"
	if denied, ok := errors.AsType[*dedupe.PermissionError](err); ok {
		what = "permission for " + strings.Join(denied.Commands, ",")
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if what == g.warnedOf && now.Sub(g.warnedAt) < warnEvery {
		return false
	}
	g.warnedOf, g.warnedAt = what, now
	return true
}

func (g *redisGuard) worked() { g.schedule.Resume(time.Now(), event.CauseRedis) }

// outages implements [decode.Outages].
type outages struct {
	redis  *redisGuard
	intake *intake.Intake
	report *reporter
}

// LookupsFailed implements [decode.Outages]. Lookups are kept in Redis, as the state is.
func (o *outages) LookupsFailed(ctx context.Context, err error) { o.redis.failed(ctx, "lookup", err) }

// LookupsWorked implements [decode.Outages].
func (o *outages) LookupsWorked(context.Context) { o.redis.worked() }

// KafkaFailed implements [decode.Outages].
func (o *outages) KafkaFailed(ctx context.Context, topic string, partition int, err error) {
	o.intake.ReportFailure(ctx, topic, partition, err)
}

// EvidenceFailed implements [decode.Outages].
func (o *outages) EvidenceFailed(ctx context.Context, err error) { o.report.evidenceFails(ctx, err) }

// EvidenceRead implements [decode.Outages].
func (o *outages) EvidenceRead(ctx context.Context) { o.report.evidenceWorks(ctx) }

// backlog implements [intake.Backlog]: calls wait for the backlog, for a moment.
type backlog struct{ schedule *schedule.Schedule }

// An orderedBacklog reports what was read only once it is in lanes or finished.
type orderedBacklog struct {
	backlog
	ahead *lookahead
}

// Complete implements [intake.Backlog].
func (b orderedBacklog) Complete() { b.ahead.signal(false, b.backlog) }

// Full implements [intake.Backlog].
func (b orderedBacklog) Full() { b.ahead.signal(true, b.backlog) }

// Assigned implements [intake.Backlog].
func (b backlog) Assigned() { b.schedule.StartGathering(time.Now()) }

// Complete implements [intake.Backlog].
func (b backlog) Complete() { b.schedule.StopGathering(false) }

// Full implements [intake.Backlog].
func (b backlog) Full() { b.schedule.StopGathering(true) }
