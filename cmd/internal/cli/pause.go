package cli

import (
	"context"
	"slices"
	"time"

	"membersync/dedupe"
	"membersync/dlq"
)

// The json form of pause and resume.
type actionJSON struct {
	Action dlq.Action `json:"action"`
	Result string     `json:"result"` // done, or planned in a dry run
	Until  *string    `json:"until"`
	Was    *pauseJSON `json:"was"`  // the pause that was in force
	Held   *int       `json:"held"` // events that are dead-lettered; null: none were asked for
}

type pauseJSON struct {
	At    *string `json:"at"`
	Until *string `json:"until"`
	Actor string  `json:"actor"`
	Note  string  `json:"note"`
}

func (in *invocation) pause(ctx context.Context, d *desk, o order, length time.Duration) int {
	was, err := d.paused(ctx)
	if err != nil {
		return in.failed(ctx, err)
	}
	var until time.Time
	if length > 0 {
		until = time.Now().Add(length)
	}
	plan := "no instance of this scope calls the CRM any more, " + untilText(until)
	if !in.plan(o, plan+wasText(was), "Pause?") {
		return exitFailed
	}
	report := actionJSON{dlq.ActionPause, dlq.ResultDone, jsonTime(until), was, nil}
	if o.dryRun {
		return in.reportAction(report, plan)
	}
	// The pause first: it must work although Kafka does not.
	if err := d.parts.Store.Pause(ctx, until, o.note, in.who(o)); err != nil {
		return in.failed(ctx, err)
	}
	return in.recordAction(ctx, d, o, report, "paused, "+untilText(until), timestamp(until))
}

func (in *invocation) resume(ctx context.Context, d *desk, o order, release bool) int {
	was, err := d.paused(ctx)
	if err != nil {
		return in.failed(ctx, err)
	}
	plan, done := "all instances call the CRM again, unless something else holds them", "resumed"
	if was == nil {
		plan += "; nobody has paused them"
	}
	report := actionJSON{dlq.ActionResume, dlq.ResultDone, nil, was, nil}
	if release {
		held, err := d.held(ctx)
		if err != nil {
			return in.failed(ctx, err)
		}
		report.Held = &held
		plan += "\n" + plural(held, "held event") + " to be sent to the dead-letter topic " + d.cfg.DLQ.Topic
		done += ", " + plural(held, "held event") + " to be dead-lettered"
	}
	if !in.plan(o, plan+wasText(was), "Resume?") {
		return exitFailed
	}
	if o.dryRun {
		return in.reportAction(report, plan)
	}
	if err := d.parts.Store.Resume(ctx); err != nil {
		return in.failed(ctx, err)
	}
	if release {
		if err := d.parts.Store.ReleaseHeld(ctx); err != nil {
			return in.failed(ctx, err)
		}
	}
	return in.recordAction(ctx, d, o, report, done, "")
}

// held returns how many events the storm guards of the running instances hold.
func (d *desk) held(ctx context.Context) (n int, err error) {
	beats, err := d.heartbeats(ctx)
	for _, b := range beats {
		n += b.Held
	}
	return n, err
}

// beatAge is how old the heartbeat of a running instance is at most.
const beatAge = 30 * time.Second

// heartbeats returns those of the instances that are running.
func (d *desk) heartbeats(ctx context.Context) ([]dedupe.Heartbeat, error) {
	all, err := d.parts.Store.Heartbeats(ctx, d.cfg.Kafka.Group)
	return slices.DeleteFunc(all, func(b dedupe.Heartbeat) bool { return b.Age > beatAge }), err
}

func (d *desk) paused(ctx context.Context) (*pauseJSON, error) {
	p, paused, err := d.parts.Store.Paused(ctx)
	if err != nil || !paused {
		return nil, err
	}
	return pauseOf(p), nil
}

func pauseOf(p dedupe.Pause) *pauseJSON {
	return &pauseJSON{jsonTime(p.At), jsonTime(p.Until), p.Actor, p.Note}
}

func untilText(until time.Time) string {
	if until.IsZero() {
		return "until resume"
	}
	return "until " + timestamp(until)
}

func wasText(was *pauseJSON) string {
	if was == nil {
		return ""
	}
	text := "\npaused already since " + *was.At + " by " + printable(was.Actor)
	if was.Until != nil {
		text += " until " + *was.Until
	}
	if was.Note != "" {
		text += ": " + printable(was.Note)
	}
	return text
}

// plan tells the plan and asks. In a dry run it does neither: there the plan is the result.
func (in *invocation) plan(o order, plan, question string) bool {
	if o.dryRun {
		return true
	}
	in.say("plan: " + plan + "\n")
	return in.goesAhead(o, question)
}

func (in *invocation) reportAction(report actionJSON, text string) int {
	if report.Result == dlq.ResultDone {
		report.Result = "planned"
	}
	return in.printAction(report, "would: "+text)
}

func (in *invocation) printAction(report any, text string) int {
	if in.output == outputJSON {
		return in.printJSON(report)
	}
	in.print(text + "\n")
	return exitDone
}

// recordAction writes the audit record of what is in force already, and prints the result.
func (in *invocation) recordAction(ctx context.Context, d *desk, o order, report actionJSON, text, until string) int {
	err := d.audit.Write(ctx, dlq.AuditRecord{
		Actor: in.who(o), Action: report.Action, Subject: d.cfg.Kafka.Group, Note: o.note, Result: dlq.ResultDone,
		Detail: dlq.Detail{Until: until},
	})
	status := in.printAction(report, text)
	if err != nil {
		in.complain("it is in force, but the audit topic has no record of it: " + err.Error())
		return exitPart
	}
	return status
}

// recorded carries out what the audit topic must know of before: a first record says what is about to be done, a
// second what came of it.
func (d *desk) recorded(ctx context.Context, r dlq.AuditRecord, do func() error) error {
	r.Result = dlq.ResultRequested
	if err := d.audit.Write(ctx, r); err != nil {
		return err
	}
	err := do()
	if r.Result = dlq.ResultDone; err != nil {
		r.Result = dlq.ResultFailed
	}
	recordErr := d.audit.Write(context.WithoutCancel(ctx), r)
	if err != nil {
		return err
	}
	return recordErr
}
