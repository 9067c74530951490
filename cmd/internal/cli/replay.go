package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"membersync/cmd/internal/ops"
	"membersync/cmd/internal/texts"
	"membersync/consumer"
)

// replaying is what replay is asked for.
type replaying struct {
	order
	from, to ops.Position
	employee string
	reapply  bool
	rate     int
	resume   string
	diffs    int // members
}

func startReplay(ctx context.Context, in *invocation, d *ops.Session, o replaying) int {
	if o.resume == "" && !o.from.IsGiven() && len(in.faults) == 0 {
		in.fault("--from", "is required, or --resume")
	}
	if o.diffs > 0 && !o.dryRun {
		in.fault("--diff", "needs --dry-run")
	}
	if o.resume != "" && (o.from.IsGiven() || o.to.IsGiven() || o.employee != "" || o.reapply) {
		in.fault("--resume", "takes no range, --employee or --reapply: those of the first run count")
	}
	if err := ops.CheckRange(o.from, o.to); err != nil {
		in.fault("--from, --to", err.Error())
	}
	if in.refuse(nil) {
		return exitUsage
	}
	request := ops.ReplayRequest{
		From: o.from, To: o.to, Employee: o.employee, Reapply: o.reapply, Rate: o.rate, Diffs: o.diffs,
		Who: in.who(o.order), Version: buildOf(in.Env).Version, DigestWait: in.digestWait,
	}
	run, err := planReplay(ctx, d, o.resume, request)
	if err != nil {
		return in.failed(ctx, flagError("--from or --to", err))
	}
	in.warnOf(run.Loss())
	if o.dryRun {
		in.sayTarget()
		return previewReplay(ctx, in, run)
	}
	plan := fmt.Sprintf("replay %s: %s of %s%s; done events are %s", run.ID, texts.Plural(int(run.Total()), "offset"), texts.Plural(run.Partitions(), "partition"),
		map[bool]string{true: ", of one employee alone"}[run.Employee != ""], map[bool]string{true: "processed again", false: "skipped"}[run.Reapply])
	if !in.plan(o.order, plan, "Replay?") {
		return exitFailed
	}
	return runReplay(ctx, in, run)
}

func planReplay(ctx context.Context, d *ops.Session, resume string, request ops.ReplayRequest) (*ops.Replay, error) {
	if resume != "" {
		return d.ResumeReplay(ctx, resume, request)
	}
	return d.NewReplay(ctx, request)
}

func runReplay(ctx context.Context, in *invocation, run *ops.Replay) int {
	if wait := run.DigestDelay(); wait > 0 {
		in.say(fmt.Sprintf("%v until no instance leaves out what the CRM held before\n", wait))
	}
	bar := in.newProgress(int(run.Total()))
	result, err := run.Run(ctx, func(done, _ int64) { bar.show(int(done)) })
	bar.clear()
	if _, unrecorded := errors.AsType[*ops.UnrecordedError](err); unrecorded {
		in.complain(err.Error())
		err = nil
	}
	if result.Result == "" { // it did not begin
		return in.failed(ctx, err)
	}
	status := printReplay(in, result)
	if err != nil {
		in.complain("run it again to resume: " + commandToResume(run.ID))
		return max(status, in.failed(ctx, err))
	}
	return status
}

func printReplay(in *invocation, r ops.ReplayResult) int {
	status := exitDone
	if r.Result == ops.ReplayCanceled { // from elsewhere
		status = exitPart
	}
	if in.output == outputJSON {
		return max(in.printJSON(r), status)
	}
	in.print(fmt.Sprintf("replay %s %s: %d of %s\n", r.ID, r.Result, r.Done, texts.Plural(int(r.Records), "offset")))
	for _, o := range consumer.Outcomes() {
		if n := r.Outcomes[string(o)]; n > 0 {
			in.print(fmt.Sprintf("  %-14s %d\n", o, n))
		}
	}
	if r.Expired > 0 {
		in.print(fmt.Sprintf("  %-14s %d\n", "expired", r.Expired))
	}
	return status
}

// previewReplay is the dry run.
func previewReplay(ctx context.Context, in *invocation, run *ops.Replay) int {
	bar := in.newProgress(int(run.Total()))
	p, err := run.Preview(ctx, bar.show)
	bar.clear()
	if err != nil {
		return in.failed(ctx, err)
	}
	if run.Employee != "" && !p.HasEvents() {
		in.complain("no record in the range is of employee " + texts.Quoted(run.Employee))
	}
	if in.output == outputJSON {
		return in.printJSON(p)
	}
	in.print(replayPlanText(p))
	return exitDone
}

func replayPlanText(p ops.ReplayPlan) string {
	var b strings.Builder
	fmt.Fprintf(&b, "would replay %s\n", texts.Plural(int(p.Records), "offset"))
	for _, line := range []struct {
		name string
		n    int64
		note string
	}{
		{"send", p.Send, ""},
		{"done", p.Done, openDeadLetters(p.WithOpenDeadLetter)},
		{"superseded", p.Superseded, ""},
		{"unchanged", p.Unchanged, ""},
		{"ignored", p.Ignored, ""},
		{"poison", p.Poison, ""},
		{"redrives", p.Redrives, ""},
		{"expired", p.Expired, ""},
	} {
		fmt.Fprintf(&b, "  %-10s %d%s\n", line.name, line.n, line.note)
	}
	if len(p.Fields) > 0 {
		b.WriteString("members for which a field would be sent\n")
	}
	for _, name := range slices.Sorted(maps.Keys(p.Fields)) {
		fmt.Fprintf(&b, "  %-24s %d\n", name, p.Fields[name])
	}
	for _, m := range p.Members {
		fmt.Fprintf(&b, "employee %s\n", texts.Quoted(m.EmployeeID))
		for _, name := range slices.Sorted(maps.Keys(m.Fields)) {
			fmt.Fprintf(&b, "  %-24s %s\n", name, m.Fields[name])
		}
	}
	fmt.Fprintf(&b, "at least %s, %s under the rate limit\n", texts.Plural(int(p.Calls), "call"), time.Duration(p.Seconds)*time.Second)
	return b.String()
}

// openDeadLetters continues the count of done events with that of their open dead letters.
func openDeadLetters(n int64) string {
	switch n {
	case 0:
		return ""
	case 1:
		return ", of which 1 has an open dead letter: membersync dlq redrive processes it"
	}
	return fmt.Sprintf(", of which %d have an open dead letter: membersync dlq redrive processes them", n)
}
