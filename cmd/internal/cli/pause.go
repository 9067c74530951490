package cli

import (
	"context"
	"errors"
	"time"

	"membersync/cmd/internal/ops"
	"membersync/cmd/internal/texts"
	"membersync/dlq"
)

// The json form of pause and resume.
type actionJSON struct {
	Action dlq.Action `json:"action"`
	Result string     `json:"result"` // done, or planned in a dry run
	Until  ops.Time   `json:"until"`
	Was    *ops.Pause `json:"was"`  // the pause that was in force
	Held   *int       `json:"held"` // events that are dead-lettered; null: that was not requested
}

func pauseCalls(ctx context.Context, in *invocation, d *ops.Session, o order, length time.Duration) int {
	was, err := d.Paused(ctx)
	if err != nil {
		return in.failed(ctx, err)
	}
	var until time.Time
	if length > 0 {
		until = time.Now().Add(length)
	}
	plan := "stop all calls to " + d.Target().CRM + ", for every group on this Redis, " + untilText(until)
	if !in.plan(o, plan+wasText("paused already", was), "Pause?") {
		return exitFailed
	}
	report := actionJSON{dlq.ActionPause, dlq.ResultDone, ops.Time{Time: until}, was, nil}
	if o.dryRun {
		return reportAction(in, report, plan)
	}
	return actionDone(ctx, in, d.Pause(ctx, was.Seen(), until, in.who(o)), report, "paused, "+untilText(until))
}

func resumeCalls(ctx context.Context, in *invocation, d *ops.Session, o order, release bool) int {
	was, err := d.Paused(ctx)
	if err != nil {
		return in.failed(ctx, err)
	}
	plan, done := "all instances call the CRM again, unless another cause pauses them", "resumed"
	if was == nil {
		plan += "; no pause is in force"
	}
	report := actionJSON{Action: dlq.ActionResume, Result: dlq.ResultDone, Was: was}
	if release {
		held, err := d.Held(ctx)
		if err != nil {
			return in.failed(ctx, err)
		}
		report.Held = &held
		plan += "\n" + texts.Plural(held, "held event") + " to be sent to the dead-letter topic " + d.Target().DLQ
		done += ", " + texts.Plural(held, "held event") + " to be dead-lettered"
	}
	if !in.plan(o, plan+wasText("paused", was), "Resume?") {
		return exitFailed
	}
	if o.dryRun {
		return reportAction(in, report, plan)
	}
	return actionDone(ctx, in, d.Resume(ctx, was.Seen(), release, in.who(o)), report, done)
}

// actionDone prints the result of what is in force, although it may not be recorded.
func actionDone(ctx context.Context, in *invocation, err error, report actionJSON, text string) int {
	_, unrecorded := errors.AsType[*ops.UnrecordedError](err)
	if err != nil && !unrecorded {
		return in.failed(ctx, err)
	}
	status := in.printAction(report, text)
	if unrecorded {
		in.complain(err.Error())
		return exitPart
	}
	return status
}

func untilText(until time.Time) string {
	if until.IsZero() {
		return "until resume"
	}
	return "until " + texts.Moment(until)
}

func wasText(state string, was *ops.Pause) string {
	if was == nil {
		return ""
	}
	text := "\n" + state + " since " + was.At.String() + " by " + texts.Quoted(was.Actor)
	if !was.Until.IsZero() {
		text += " until " + was.Until.String()
	}
	if was.Note != "" {
		text += ": " + texts.Quoted(was.Note)
	}
	return text
}

// plan prints the plan and asks. In a dry run the plan is the result, so only the target is named.
func (in *invocation) plan(o order, plan, question string) bool {
	if o.dryRun {
		in.sayTarget()
		return true
	}
	in.say("plan: " + plan + "\n")
	return in.goesAhead(o, question)
}

func reportAction(in *invocation, report actionJSON, text string) int {
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
