package cli

import (
	"context"
	"fmt"
	"strings"

	"membersync/cmd/internal/flags"
	"membersync/cmd/internal/ops"
	"membersync/cmd/internal/texts"
	"membersync/dlq"
)

func replayListCommand() command {
	return onCallCommand(command{
		name: "replay list", short: "list replays, the latest last",
		long: `List replays that the audit topic still knows, the latest last: running (a process runs it now),
stopped (it can be resumed, and the command is printed), done or canceled. One whose process was
killed is shown as running for up to 30 s.`,
		example: "  membersync replay list",
		define:  outputFlag,
	}, func(ctx context.Context, in *invocation, d *ops.Session) int { return listReplays(ctx, in, d) })
}

func listReplays(ctx context.Context, in *invocation, d *ops.Session) int {
	all, err := d.Replays(ctx)
	if err != nil {
		return in.failed(ctx, err)
	}
	t := table{{"ID", 10}, {"STATE", 8}, {"REQUESTED", 24}, {"DONE", 21}, {"REAPPLY", 7}, {"EMPLOYEE", 10}, {"ACTOR", 20}, {"NOTE", 0}}
	if in.output == outputTable {
		in.print(t.heading())
	}
	for _, r := range all {
		if in.output == outputTable {
			in.print(t.row(r.ID, r.State, r.RequestedAt.String(), fmt.Sprintf("%d of %d", r.Done, r.Records), fmt.Sprint(r.Reapply),
				r.Employee, r.Actor, r.Note))
			continue
		}
		if status := in.printJSON(r); status != exitDone {
			return status
		}
	}
	if in.output == outputTable {
		in.print(resumeText(all))
	}
	return exitDone
}

// resumeText has the command that resumes each replay that is stopped.
func resumeText(all []ops.ReplayState) string {
	var b strings.Builder
	for _, r := range all {
		if r.State == ops.ReplayStopped {
			fmt.Fprintf(&b, "\nto resume %s: %s\n", texts.Quoted(r.ID), commandToResume(r.ID))
		}
	}
	return b.String()
}

func commandToResume(id string) string { return "membersync replay --resume " + texts.Quoted(id) }

func replayCancelCommand() command {
	var o order
	return onCallCommand(command{
		name: "replay cancel", args: "ID", maxArgs: 1, short: "end a replay for good",
		long: `End a replay for good. A process that runs it stops within seconds, and it cannot be resumed. What
it has processed stays processed.`,
		example: `  membersync replay cancel k3v6d2q7ab --note "wrong range"`,
		define: func(in *invocation, set *flags.Set) {
			defineOrder(&o, set)
			outputFlag(in, set)
		},
	}, func(ctx context.Context, in *invocation, d *ops.Session) int { return cancelReplay(ctx, in, d, o) })
}

func cancelReplay(ctx context.Context, in *invocation, d *ops.Session, o order) int {
	if len(in.args) == 0 && len(in.faults) == 0 {
		in.fault("", "give the id of a replay; membersync replay list shows them")
	}
	if in.refuse(nil) {
		return exitUsage
	}
	plan := "cancel replay " + texts.Quoted(in.args[0])
	if !in.plan(o, plan, "Cancel it?") {
		return exitFailed
	}
	report := canceledJSON{dlq.ActionReplayCancel, "planned", in.args[0]}
	if o.dryRun {
		return in.printAction(report, "would "+plan)
	}
	if err := d.CancelReplay(ctx, in.args[0], in.who(o)); err != nil {
		return in.failed(ctx, err)
	}
	report.Result = dlq.ResultDone
	return in.printAction(report, "canceled replay "+texts.Quoted(in.args[0]))
}

// The json form of replay cancel.
type canceledJSON struct {
	Action dlq.Action `json:"action"`
	Result string     `json:"result"` // done, or planned in a dry run
	ID     string     `json:"id"`
}
