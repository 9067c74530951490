package consumer

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"membersync/consumer/gate"
	"membersync/crmapi"
)

func errAttr(err error) slog.Attr { return slog.String("error", err.Error()) }

// levelOf is the level of trouble that mends itself: no news while stopping.
func levelOf(ctx context.Context) slog.Level {
	if ctx.Err() != nil {
		return slog.LevelDebug
	}
	return slog.LevelWarn
}

// report tells the observer, the metrics and the log what became of an event.
func (e *engine) report(ctx context.Context, end ending) {
	ev := end.event
	topic, partition, src := ev.rec.origin()
	level, reason := slog.LevelDebug, ""
	if ev.doom != nil && end.outcome == DeadLettered {
		level, reason = slog.LevelWarn, string(ev.doom.reason)
		e.parts.Metrics.deadLetter(reason)
	}
	e.parts.Metrics.ended(end.outcome, e.path(ev.rec), time.Since(ev.rec.src.Time))
	if ev.reused {
		e.parts.Metrics.reusedIDs.Inc()
	}
	e.parts.Observer.Ended(Ended{
		Topic: topic, Partition: partition, Offset: src.Offset, Redrive: ev.rec.number(),
		Event: ev.mapped, Outcome: end.outcome, Reason: reason, LeftOut: end.leftOut,
	})
	if !e.log.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{slog.String("outcome", string(end.outcome)), slog.String("reason", reason)}
	attrs = append(attrs, identify(ev)...)
	if reason != "" {
		attrs = append(attrs, slog.String("error", ev.doom.text))
	}
	e.log.LogAttrs(ctx, level, "event ended", append(attrs, crmAttrs(ev.trials.last)...)...)
}

func identify(ev *event) []slog.Attr {
	topic, partition, src := ev.rec.origin()
	return []slog.Attr{
		slog.String("event_id", ev.mapped.ID), slog.String("employee_id", ev.mapped.EmployeeID),
		slog.String("topic", topic), slog.Int("partition", partition), slog.Int64("offset", src.Offset),
	}
}

func crmAttrs(err *crmapi.Error) []slog.Attr {
	if err == nil {
		return nil
	}
	attrs := []slog.Attr{slog.String("crm_trace_id", err.TraceID), slog.String("third_trace_id", err.ThirdTraceID)}
	if err.HasCode {
		attrs = append(attrs, slog.Int("crm_code", err.Code))
	}
	return attrs
}

func (e *engine) observeCall(w *work, err error) {
	e.parts.Observer.Called(Called{Update: w.update, Events: len(w.events), Err: err})
}

// logFailure tells of each failed call: the vendor's support asks for its trace ids.
func (e *engine) logFailure(ctx context.Context, r *run, w *work, j judgement) {
	attrs := append(identify(w.events[0]), slog.String("class", j.err.Class.String()), slog.Int("events", len(w.events)),
		slog.Bool("probe", r.probe), errAttr(j.err))
	e.log.LogAttrs(ctx, slog.LevelInfo, "call failed", append(attrs, crmAttrs(j.err)...)...)
}

// wasLate tells of a call that succeeded under a lease that had run out: meanwhile another process
// may have sent something newer, which this call may have undone. Sent again from the oldest event of the fold on, each
// field comes back to its newest value.
func (e *engine) wasLate(ctx context.Context, w *work) {
	if w.update.Len() == 0 {
		return // nothing was sent
	}
	e.parts.Metrics.late()
	e.log.LogAttrs(ctx, slog.LevelError, "a call was completed after its lease had run out; it may have undone a newer change",
		append(identify(w.events[0]), slog.String("remedy", w.remedy()))...)
}

// remedy is the command that mends what a late call may have undone. The employee id is the source's, and whoever reads the
// log pastes it into a shell.
func (w *work) remedy() string {
	_, _, oldest := w.events[0].rec.origin()
	for _, ev := range w.events {
		if _, _, src := ev.rec.origin(); src.Time.Before(oldest.Time) {
			oldest = src
		}
	}
	return "membersync replay --employee " + quoted(w.events[0].mapped.EmployeeID) + " --reapply --from " + oldest.Time.UTC().Format(time.RFC3339Nano)
}

// quoted is a text as one word of a shell's command.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// callSucceeded notes that the CRM works. If the call was a probe, it ends the pauses.
func (e *engine) callSucceeded(ctx context.Context, r *run) {
	now := time.Now()
	e.mu.Lock()
	var ended []gate.Cause
	if r.probe {
		if ended = e.gate.Succeeded(); len(ended) > 0 {
			e.health.Reset(now)
			e.refusedOnly, e.refusedMore = nil, false
		}
	}
	e.health.Record(now, r.lane.Key.member, true)
	e.health.SetPaused(now, len(e.gate.Causes()) > 0)
	e.mu.Unlock()
	for _, c := range ended {
		e.tellPause(ctx, c, false)
	}
}

// callFailed notes a call that failed for a reason that may be the CRM's, and pauses all if most fail.
func (e *engine) callFailed(ctx context.Context, now time.Time, r *run) {
	e.mu.Lock()
	if !r.probe {
		e.health.Record(now, r.lane.Key.member, false)
	}
	outage := e.health.Outage(now)
	e.mu.Unlock()
	if outage {
		e.pause(ctx, gate.Outage, 0)
	}
}

// pause closes the gate, and tells of it once.
func (e *engine) pause(ctx context.Context, c gate.Cause, floor time.Duration) {
	now := time.Now()
	e.mu.Lock()
	fresh := e.gate.Close(now, c, floor)
	if c == gate.Redis {
		e.redisDown.Store(true)
	}
	e.health.SetPaused(now, true)
	e.mu.Unlock()
	if fresh {
		e.tellPause(ctx, c, true)
	}
}

// redisWorks ends the pause for Redis.
func (e *engine) redisWorks(ctx context.Context) {
	if !e.redisDown.Load() { // as nearly always, and this is asked after every answer
		return
	}
	e.mu.Lock()
	e.redisDown.Store(false)
	was := e.gate.Open(gate.Redis)
	if was {
		e.health.SetPaused(time.Now(), len(e.gate.Causes()) > 0)
	}
	e.mu.Unlock()
	if was {
		e.tellPause(ctx, gate.Redis, false)
		e.wake()
	}
}

func (e *engine) tellPause(ctx context.Context, c gate.Cause, on bool) {
	if c == gate.Throttled {
		e.mu.Lock()
		e.throttled.set(time.Now(), on)
		e.mu.Unlock()
	}
	e.parts.Metrics.setPaused(c.String(), on)
	if on {
		e.log.LogAttrs(ctx, slog.LevelWarn, "calling paused; it resumes by itself", slog.String("cause", c.String()))
		return
	}
	e.log.LogAttrs(ctx, slog.LevelInfo, "calling resumed", slog.String("cause", c.String()))
}

func (s *Service) joinFailed(ctx context.Context, err error) {
	if s.kafkaFails(joining, true) {
		s.logger.LogAttrs(ctx, slog.LevelWarn, "cannot join the consumer group; trying again", errAttr(err))
	}
}

func (s *Service) fetchFailed(ctx context.Context, p *partition, err error) {
	if ctx.Err() == nil && s.kafkaFails(s.statusKey(p), true) {
		s.logger.LogAttrs(ctx, slog.LevelWarn, "kafka failed; trying again", slog.String("topic", p.topic),
			slog.Int("partition", p.id), errAttr(err))
	}
}

func (s *Service) kafkaWorks(ctx context.Context, part int) {
	if s.kafkaFails(part, false) {
		s.logger.LogAttrs(ctx, slog.LevelInfo, "kafka answers again")
	}
}

// joining stands for the group where others give a partition.
const joining = -1

func (s *Service) kafkaFails(part int, fails bool) bool {
	news := s.status.kafkaFails(part, fails)
	if news {
		s.parts.Metrics.setPaused("kafka", fails)
	}
	return news
}

// lettersFail notes whether dead letters can be written, and reports whether that is news.
func (e *engine) lettersFail(fails bool) bool {
	e.mu.Lock()
	news := e.noLetter != fails
	e.noLetter = fails
	e.mu.Unlock()
	if news {
		e.parts.Metrics.setPaused("dlq", fails)
	}
	return news
}

func (e *engine) breakerState() breaker {
	switch {
	case !e.gate.Paused(gate.Outage):
		return breakerClosed
	case e.probes > 0:
		return breakerHalfOpen
	}
	return breakerOpen
}
