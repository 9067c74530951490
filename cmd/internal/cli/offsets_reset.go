package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"membersync/cmd/internal/ops"
	"membersync/dlq"
)

// A target is where offsets are to be set to.
type target struct{ ops.Position }

func offsetsResetCommand() command {
	var (
		o  order
		to target
	)
	return onCallCommand(command{
		name: "offsets reset", summary: "set the group's offsets in the source topic, while no instance runs",
		details: "Records that come once more do no harm: what is done is a duplicate, and the versions keep older values back. Records that\n" +
			"are skipped are not processed at all. The old offsets go to the audit topic before, and the command that undoes it is printed.\n\n" +
			outputHelp +
			"  --to  earliest, latest, a time in RFC 3339 or partition:offset\n" +
			"        a time is that of the first record to read, in all partitions; partition:offset is for that one alone, and may be repeated\n" +
			orderHelp,
		flags: func(in *invocation, flags *flag.FlagSet) {
			outputFlag(in, flags)
			o.define(flags)
			flags.Func("to", "", func(text string) error {
				if !to.take(text) {
					in.fault("--to", "should be earliest, latest, a time such as 2026-11-22T08:00:00Z, or offsets such as 3:1042, and only one kind of them")
				}
				return nil
			})
		},
	}, func(ctx context.Context, in *invocation, d *desk) int { return in.resetOffsets(ctx, d, o, to) })
}

// take adds a value of the flag, and returns whether it is valid and goes with those before.
func (t *target) take(text string) bool {
	if t.AddOffset(text) {
		return true
	}
	if t.IsGiven() {
		return false
	}
	switch text {
	case "earliest":
		t.Earliest = true
		return true
	case "latest":
		t.Latest = true
		return true
	}
	var err error
	t.At, err = time.Parse(time.RFC3339, text)
	return err == nil
}

func (in *invocation) resetOffsets(ctx context.Context, d *desk, o order, to target) int {
	if !to.IsGiven() && len(in.faults) == 0 {
		in.fault("--to", "is required: earliest, latest, a time or partition:offset")
	}
	if in.refuse(nil) {
		return exitUsage
	}
	plan, err := d.PlanReset(ctx, to.Position)
	if err != nil {
		return in.failed(ctx, flagError("--to", err))
	}
	if o.dryRun {
		return in.printReset(plan, "planned")
	}
	if err := d.CheckNotLive(ctx); err != nil {
		return in.failed(ctx, err)
	}
	in.say(resetText(plan))
	if !in.goesAhead(o, "Reset?") {
		return exitFailed
	}
	if err := d.Reset(ctx, plan, in.who(o)); err != nil {
		in.printReset(plan, dlq.ResultFailed)
		return in.failed(ctx, err)
	}
	status := in.printReset(plan, dlq.ResultDone)
	if undo := undoOf(plan); undo != "" {
		in.complain("to undo it: " + undo)
	}
	return status
}

// flagError puts the flag before an error about an offset in it.
func flagError(name string, err error) error {
	if _, outside := errors.AsType[*ops.OutsideError](err); outside {
		return fmt.Errorf("%s: %w", name, err)
	}
	return err
}

func resetTable() table {
	return table{{"PARTITION", 30}, {"FROM", 10}, {"TO", 10}, {"AGAIN", 8}, {"SKIPPED", 8}, {"RESULT", 0}}
}

func resetRow(l ops.Reset) string {
	from := "none"
	if l.From >= 0 {
		from = fmt.Sprint(l.From)
	}
	return resetTable().row(fmt.Sprintf("%s/%d", l.Topic, l.Partition), from, fmt.Sprint(l.To), fmt.Sprint(l.Again), fmt.Sprint(l.Skipped), l.Result)
}

func resetText(lines []ops.Reset) string {
	var b strings.Builder
	b.WriteString("plan:\n" + resetTable().heading())
	for _, l := range lines {
		b.WriteString(resetRow(l))
	}
	return b.String()
}

func (in *invocation) printReset(lines []ops.Reset, result string) int {
	status := exitDone
	if in.output == outputTable {
		in.print(resetTable().heading())
	}
	for _, l := range lines {
		l.Result = result
		if in.output == outputTable {
			in.print(resetRow(l))
		} else {
			status = max(status, in.printJSON(l))
		}
	}
	return status
}

// undoOf is the command that sets the old offsets again. A partition that had none cannot be put back.
func undoOf(lines []ops.Reset) string {
	var b strings.Builder
	for _, l := range lines {
		if l.From >= 0 {
			fmt.Fprintf(&b, " --to %d:%d", l.Partition, l.From)
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return "membersync offsets reset" + b.String()
}
