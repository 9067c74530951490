package consumer

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"membersync/consumer/event"
	"membersync/consumer/schedule"
	"membersync/consumer/tracing"
	"membersync/crmapi"
)

// A reporter reports outcomes, calls and pauses to the observer, the metrics and the log. It is
// safe for concurrent use.
type reporter struct {
	metrics  *Metrics
	observer Observer
	log      *slog.Logger
	replay   bool
	beat     func() // lets other instances know of a change at once

	activity activity

	mu sync.Mutex
	// failing has the uses of membersync's own topics that fail now.
	failing map[topicUse]bool
}

// A topicUse is what the service does with the DLQ and audit topics.
type topicUse int

const (
	writeDeadLetters topicUse = iota
	writeResults
	readEvidence
)

func errAttr(err error) slog.Attr { return slog.String("error", err.Error()) }

// levelOf is the level of trouble that ends by itself: not worth a warning while the process stops.
func levelOf(ctx context.Context) slog.Level {
	if ctx.Err() != nil {
		return slog.LevelDebug
	}
	return slog.LevelWarn
}

// finished reports the outcome of an event.
func (r *reporter) finished(ctx context.Context, f event.Finished) {
	ev := f.Event
	level, reason := slog.LevelDebug, ""
	if ev.Rejection != nil && f.Outcome == event.DeadLettered {
		level, reason = slog.LevelWarn, string(ev.Rejection.Reason)
		r.metrics.deadLetter(reason)
	}
	tracing.Finished(f, reason)
	r.activity.finish(ev, f.Outcome)
	r.metrics.finished(f.Outcome, r.pathOf(ev), time.Since(ev.Record.Time()))
	if ev.Reused {
		r.metrics.reusedIDs.Inc()
	}
	if _, none := r.observer.(noObserver); !none {
		r.observer.Finished(EventResult{
			Topic: ev.Record.Topic(), Partition: ev.Record.Partition(), Offset: ev.Record.Offset(), Redrive: ev.Record.RedriveNumber(),
			Event: ev.Mapped(), Outcome: f.Outcome, Reason: reason, LeftOut: f.LeftOut,
		})
	}
	if !r.log.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{slog.String("outcome", string(f.Outcome)), slog.String("reason", reason)}
	attrs = append(attrs, eventAttrs(ev)...)
	if reason != "" {
		attrs = append(attrs, slog.String("error", ev.Rejection.Text))
	}
	r.log.LogAttrs(ctx, level, "event finished", append(attrs, crmAttrs(ev.LastError())...)...)
}

// pathOf is the value of the metrics' label.
func (r *reporter) pathOf(ev *event.Event) string {
	switch {
	case r.replay:
		return pathReplay
	case ev.IsRedrive():
		return pathRedrive
	}
	return pathLive
}

func eventAttrs(ev *event.Event) []slog.Attr {
	mapped := ev.Mapped()
	attrs := []slog.Attr{
		slog.String("event_id", mapped.ID), slog.String("employee_id", mapped.EmployeeID), slog.String("topic", ev.Record.Topic()),
		slog.Int("partition", ev.Record.Partition()), slog.Int64("offset", ev.Record.Offset()),
	}
	if id := ev.Record.Trace.ID(); id != "" {
		attrs = append(attrs, slog.String("trace_id", id))
	}
	return attrs
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

// called reports an attempt to the observer.
func (r *reporter) called(u *event.Update, err error) {
	r.activity.calls.Add(1)
	r.observer.Called(CallAttempt{Update: u.Fields, Events: len(u.Events), Err: err})
}

// callFailed logs each failed call: the vendor's support asks for its trace ids.
func (r *reporter) callFailed(ctx context.Context, b *event.Batch, u *event.Update, d event.Decision) {
	attrs := append(eventAttrs(u.Events[0]), slog.String("class", d.Err.Class.String()), slog.Int("events", len(u.Events)),
		slog.Bool("probe", b.IsProbe), errAttr(d.Err))
	r.log.LogAttrs(ctx, slog.LevelInfo, "call failed", append(attrs, crmAttrs(d.Err)...)...)
}

// late reports a call that succeeded under a lease that had expired: another process may have sent
// something newer since, which this call may have undone.
func (r *reporter) late(ctx context.Context, u *event.Update) {
	if u.Fields.Len() == 0 {
		return // nothing was sent
	}
	r.metrics.late()
	r.log.LogAttrs(ctx, slog.LevelError, "a call was completed after its lease had expired; it may have undone a newer change",
		append(eventAttrs(u.Events[0]), slog.String("command", repairCommand(u.Events[0].Mapped().EmployeeID)))...)
}

// repairCommand is the command that sends the newest values of an employee again. The newer change
// may be before the late one in the topic.
func repairCommand(employee string) string {
	return "membersync replay --from earliest --employee " + shellWord(employee) + " --reapply"
}

// shellWord quotes a text from outside that a shell would split or expand.
func shellWord(text string) string {
	special := func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("-_.:@", c)
	}
	if text != "" && !strings.ContainsFunc(text, special) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// paused reports the begin or the end of a pause. The schedule calls it without its lock.
func (r *reporter) paused(c schedule.Change) {
	ctx := context.Background()
	r.metrics.setPaused(c.Cause.String(), c.On)
	if c.Cause == event.CauseStorm {
		r.stormFillsBuffer(ctx, c.On)
		return
	}
	if !c.On {
		r.log.LogAttrs(ctx, slog.LevelInfo, "calls resumed", slog.String("cause", c.Cause.String()))
		return
	}
	r.log.LogAttrs(ctx, slog.LevelWarn, "calls paused", slog.String("cause", c.Cause.String()), slog.String("until", endOf(c.Cause)))
}

// endOf says what ends a pause.
func endOf(c event.Cause) string {
	switch c {
	case event.CauseOperator:
		return "membersync resume, or the time given with the pause"
	case event.CauseRefused:
		return "action needed: the CRM refuses our credentials or our address"
	case event.CauseStateKey:
		return "action needed: the state in Redis was written under another MEMBERSYNC_STATE_KEY"
	case event.CauseQuota:
		return "the quota is reset"
	case event.CauseOutage, event.CauseThrottled:
		return "a call succeeds; calls are tried from time to time"
	case event.CauseRedis:
		return "Redis responds"
	case event.CauseStorm:
	}
	return "the cause is gone"
}

// stormFillsBuffer reports whether held events leave no room for others.
func (r *reporter) stormFillsBuffer(ctx context.Context, on bool) {
	if on {
		r.log.LogAttrs(ctx, slog.LevelError, "held events fill the buffer; nothing more is read",
			slog.String("cause", event.CauseStorm.String()))
		return
	}
	r.log.LogAttrs(ctx, slog.LevelInfo, "reading continues", slog.String("cause", event.CauseStorm.String()))
}

// storm reports the begin or the end of a storm. The schedule calls it without its lock.
func (r *reporter) storm(c schedule.StormChange) {
	ctx := context.Background()
	r.beat()
	switch {
	case c.On && c.Reason == "":
		r.log.LogAttrs(ctx, slog.LevelWarn, "another instance holds rejected events; this one holds its own, too")
	case c.On:
		r.log.LogAttrs(ctx, slog.LevelError,
			"most events would be dead-lettered; rejected ones are held and tried again from time to time, all others continue",
			slog.String("reason", c.Reason), slog.String("command", "membersync resume --dead-letter-held"))
	case c.Last:
		r.log.LogAttrs(ctx, slog.LevelWarn,
			"new events succeed again; the held ones are tried once more, and dead-lettered if they are rejected",
			slog.Int("held", c.Held))
	default:
		r.log.LogAttrs(ctx, slog.LevelInfo, "held events succeed again; the others are tried now", slog.Int("held", c.Held))
	}
}

// released reports held events that are dead-lettered now.
func (r *reporter) released(ctx context.Context, held int, why string) {
	if held > 0 {
		r.log.LogAttrs(ctx, slog.LevelWarn, "held events are dead-lettered",
			slog.Int("held", held), slog.String("why", why))
	}
}

// deadLettersFail reports, once, that dead letters cannot be written.
func (r *reporter) deadLettersFail(ctx context.Context, err error, tooLarge bool) {
	if r.setFailing(writeDeadLetters, true) {
		r.log.LogAttrs(ctx, slog.LevelError, "dead letter not written; its record is not committed", errAttr(err),
			slog.Bool("too_large", tooLarge))
	}
}

// deadLettersWork reports, once, that they can be written again.
func (r *reporter) deadLettersWork(ctx context.Context) {
	if r.setFailing(writeDeadLetters, false) {
		r.log.LogAttrs(ctx, slog.LevelInfo, "dead letters are written again")
	}
}

// resultsFail reports, once, that results of redrives cannot be written to the audit topic.
func (r *reporter) resultsFail(ctx context.Context, deadLetter string, err error) {
	level := slog.LevelDebug
	if ctx.Err() == nil && r.setFailing(writeResults, true) {
		level = slog.LevelWarn
	}
	r.log.LogAttrs(ctx, level, "result of a redrive not recorded; its offset is not committed, trying again",
		slog.String("dead_letter", deadLetter), errAttr(err))
}

// resultsWork reports, once, that they can be written again.
func (r *reporter) resultsWork(ctx context.Context) {
	if r.setFailing(writeResults, false) {
		r.log.LogAttrs(ctx, slog.LevelInfo, "results of redrives are recorded again")
	}
}

// evidenceFails reports, once, that redrives wait: what they name cannot be read.
func (r *reporter) evidenceFails(ctx context.Context, err error) {
	level := slog.LevelDebug
	if ctx.Err() == nil && r.setFailing(readEvidence, true) {
		level = slog.LevelWarn
	}
	r.log.LogAttrs(ctx, level, "dead letter or request of a redrive cannot be read; redrives wait", errAttr(err))
}

// evidenceWorks reports, once, that none waits.
func (r *reporter) evidenceWorks(ctx context.Context) {
	if r.setFailing(readEvidence, false) {
		r.log.LogAttrs(ctx, slog.LevelInfo, "redrives do not wait any more")
	}
}

func (r *reporter) setFailing(what topicUse, isFailing bool) (changed bool) {
	r.mu.Lock()
	changed = r.failing[what] != isFailing
	if r.failing == nil {
		r.failing = make(map[topicUse]bool)
	}
	if isFailing {
		r.failing[what] = true
	} else {
		delete(r.failing, what)
	}
	isPaused := len(r.failing) > 0
	r.mu.Unlock()
	if changed {
		r.metrics.setPaused(causeDLQ, isPaused)
	}
	return changed
}

func (r *reporter) areTopicsFailing() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.failing) > 0
}
