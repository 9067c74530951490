package cli

import (
	"context"
	"errors"
	"flag"
	"time"

	"membersync/cmd/internal/ops"
	"membersync/dlq"
)

func pauseCommand() command {
	var (
		o      order
		length time.Duration
	)
	return onCallCommand(command{
		name: "pause", summary: "stop calling the CRM, on all instances",
		details: "They stop within 2 s, keep their partitions, and go on at resume or when the time is over.\n\n" +
			outputHelp + "  --for  a duration such as 2h\n        how long (default until resume)\n" + orderHelp,
		flags: func(in *invocation, flags *flag.FlagSet) {
			outputFlag(in, flags)
			o.define(flags)
			flags.Func("for", "", func(text string) error {
				var err error
				if length, err = time.ParseDuration(text); err != nil || length < time.Second {
					in.fault("--for", "should be a duration such as 2h, at least 1s")
				}
				return nil
			})
		},
	}, func(ctx context.Context, in *invocation, d *desk) int { return in.pause(ctx, d, o, length) })
}

func resumeCommand() command {
	var (
		o       order
		release bool
	)
	return onCallCommand(command{
		name: "resume", summary: "continue calling the CRM after pause",
		details: "With --dead-letter-held it also sends the events that the storm guard holds at that moment to the\n" +
			"dead-letter topic, where they can be inspected and redriven. Without it they stay held.\n\n" +
			outputHelp + "  --dead-letter-held\n        dead-letter what the storm guard holds\n" + orderHelp,
		flags: func(in *invocation, flags *flag.FlagSet) {
			outputFlag(in, flags)
			flags.BoolVar(&release, "dead-letter-held", false, "")
			o.define(flags)
		},
	}, func(ctx context.Context, in *invocation, d *desk) int { return in.resume(ctx, d, o, release) })
}

// The json form of pause and resume.
type actionJSON struct {
	Action dlq.Action `json:"action"`
	Result string     `json:"result"` // done, or planned in a dry run
	Until  ops.Time   `json:"until"`
	Was    *ops.Pause `json:"was"`  // the pause that was in force
	Held   *int       `json:"held"` // events that are dead-lettered; null: that was not requested
}

func (in *invocation) pause(ctx context.Context, d *desk, o order, length time.Duration) int {
	was, err := d.Paused(ctx)
	if err != nil {
		return in.failed(ctx, err)
	}
	var until time.Time
	if length > 0 {
		until = time.Now().Add(length)
	}
	plan := "stop all calls to " + d.Target().CRM + ", for every group on this Redis, " + untilText(until)
	if !in.plan(o, plan+wasText(was), "Pause?") {
		return exitFailed
	}
	report := actionJSON{dlq.ActionPause, dlq.ResultDone, ops.Time{Time: until}, was, nil}
	if o.dryRun {
		return in.reportAction(report, plan)
	}
	return in.actionDone(ctx, d.Pause(ctx, until, in.who(o)), report, "paused, "+untilText(until))
}

func (in *invocation) resume(ctx context.Context, d *desk, o order, release bool) int {
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
		plan += "\n" + plural(held, "held event") + " to be sent to the dead-letter topic " + d.Target().DLQ
		done += ", " + plural(held, "held event") + " to be dead-lettered"
	}
	if !in.plan(o, plan+wasText(was), "Resume?") {
		return exitFailed
	}
	if o.dryRun {
		return in.reportAction(report, plan)
	}
	return in.actionDone(ctx, d.Resume(ctx, release, in.who(o)), report, done)
}

// actionDone prints the result of what is in force, although it may not be recorded.
func (in *invocation) actionDone(ctx context.Context, err error, report actionJSON, text string) int {
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
	return "until " + timestamp(until)
}

func wasText(was *ops.Pause) string {
	if was == nil {
		return ""
	}
	text := "\npaused already since " + was.At.String() + " by " + printable(was.Actor)
	if !was.Until.IsZero() {
		text += " until " + was.Until.String()
	}
	if was.Note != "" {
		text += ": " + printable(was.Note)
	}
	return text
}

// plan prints the plan and asks. In a dry run it does neither: there the plan is the result.
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
