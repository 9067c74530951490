package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"membersync/cmd/internal/ops"
	"membersync/dlq"
)

func resetOffsets(ctx context.Context, in *invocation, d *ops.Session, o order, to ops.Position) int {
	if !to.IsGiven() && len(in.faults) == 0 {
		in.fault("--to", "is required: earliest, latest, a time or partition:offset")
	}
	if in.refuse(nil) {
		return exitUsage
	}
	plan, err := d.PlanReset(ctx, to)
	if err != nil {
		return in.failed(ctx, flagError("--to", err))
	}
	if o.dryRun {
		in.sayTarget()
		return printReset(in, plan, "planned")
	}
	if err := d.CheckNotLive(ctx); err != nil {
		return in.failed(ctx, err)
	}
	in.say(resetText(plan))
	if !in.goesAhead(o, "Reset?") {
		return exitFailed
	}
	err = d.Reset(ctx, plan, in.who(o))
	_, isUnrecorded := errors.AsType[*ops.UnrecordedError](err)
	if err != nil && !isUnrecorded {
		printReset(in, plan, dlq.ResultFailed)
		return in.failed(ctx, err)
	}
	status := printReset(in, plan, dlq.ResultDone)
	if undo := undoOf(plan); undo != "" {
		in.complain("to undo it: " + undo)
	}
	if isUnrecorded {
		in.complain(err.Error())
		return max(status, exitPart)
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

func printReset(in *invocation, lines []ops.Reset, result string) int {
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

// undoOf is the command that sets the old offsets again. A partition that had none cannot be put
// back.
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
