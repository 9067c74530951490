package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"membersync/cmd/internal/ops"
	"membersync/cmd/internal/texts"
	"membersync/dlq"
)

// redriving is what dlq redrive is asked for.
type redriving struct {
	filter
	order
	all       bool
	rate      int // a second; 0: as fast as it goes
	valueFile string
	wait      time.Duration // for results; 0: until all have arrived
	canary    int           // the first so many alone; 0: all at once
	most      int           // leave out what was redriven so often; 0: nothing
	olderThan time.Duration // only those that failed so long ago; 0: all
}

func redriveDeadLetters(ctx context.Context, in *invocation, d *ops.Session, o redriving) int {
	ok := chooseItems(in, &o.filter, o.all, dlq.StateOpen, dlq.StateRedriving)
	if ok && o.valueFile != "" && len(o.query.IDs) != 1 {
		in.fault("--value-file", "is for one id")
		ok = !in.refuse(nil)
	}
	if !ok {
		return exitUsage
	}
	if o.olderThan > 0 {
		o.query.Until = time.Now().Add(-o.olderThan)
	}
	request := ops.RedriveRequest{
		Query: o.query, Rate: o.rate, Timeout: o.wait, Canary: o.canary, Most: o.most, Who: in.who(o.order), Quiet: in.quiet,
	}
	if o.valueFile != "" {
		value, err := in.ReadFile(o.valueFile)
		if err != nil {
			return in.failed(ctx, fmt.Errorf("--value-file: %w", err))
		}
		request.Value, request.Edited = value, true
	}
	run, err := d.NewRedrive(ctx, request)
	if errors.Is(err, ops.ErrNoStateKey) {
		in.complain("--value-file: " + err.Error())
		return exitUsage
	}
	if err != nil {
		return in.failed(ctx, err)
	}
	in.warnOf(run.Index().Loss)
	if o.dryRun {
		in.sayTarget()
		return previewRedrive(ctx, in, run)
	}
	if err := run.Refusal(); err != nil {
		return in.failed(ctx, fmt.Errorf("--value-file: %w", err))
	}
	in.say("to redrive: " + planOf(run.Index(), time.Now()))
	if request.Edited {
		in.say("with the value of " + texts.Quoted(o.valueFile) + "\n")
	}
	selected := run.Index().Selected()
	if o.rate > 0 {
		in.say(fmt.Sprintf("at %d a second: %s\n", o.rate, (time.Duration(selected) * time.Second / time.Duration(o.rate)).Round(time.Second)))
	}
	if err := sayWhatAwaits(ctx, in, d, run.Index()); err != nil {
		return in.failed(ctx, err)
	}
	if selected > 0 && !in.goesAhead(o.order, "Redrive?") {
		return exitFailed
	}
	r := in.newResults(run.Index())
	outstanding, err := run.Run(ctx, r.print, func(n ops.NoResults) { in.complain(texts.NoResults(n) + "; still waiting, Ctrl-C stops without harm") })
	status := r.status()
	if outstanding > 0 {
		in.complain(fmt.Sprintf("%s sent and without a result; the results will be in membersync dlq list --state all", texts.Plural(outstanding, "redrive")))
		status = exitPart
	}
	if err != nil {
		status = max(in.failed(ctx, err), min(status, exitPart))
	}
	return status
}

// sayWhatAwaits says what the operator may not expect of a redrive: that discarded ones are opened
// again, and that an operator's pause keeps all of them waiting.
func sayWhatAwaits(ctx context.Context, in *invocation, d *ops.Session, x *dlq.Index) error {
	discarded := 0
	for _, i := range x.JobItems() {
		if i.State == dlq.StateDiscarded {
			discarded++
		}
	}
	if discarded > 0 {
		in.say(fmt.Sprintf("of these discarded: %d; a redrive opens them again\n", discarded))
	}
	paused, err := d.Paused(ctx)
	if paused != nil {
		in.say("calls were paused by an operator, " + texts.Quoted(paused.Actor) + ": what is sent waits until membersync resume\n")
	}
	return err
}

// previewRedrive is the dry run: what each would do now, and how many of its fields have newer
// values.
func previewRedrive(ctx context.Context, in *invocation, run *ops.Redrive) int {
	r := in.newResults(run.Index())
	plan, err := run.Preview(ctx, r.print)
	status := r.status()
	if err != nil {
		return in.failed(ctx, err)
	}
	in.say(fmt.Sprintf("newer values: %d all, %d some, %d none, %d unknown; %d state no fields or would fail again\n",
		plan.NewerAll, plan.NewerSome, plan.NewerNone, plan.NewerUnknown, plan.Other))
	if plan.Duration > 0 {
		in.say(fmt.Sprintf("at most %s, %s under the rate limit\n", texts.Plural(plan.Calls, "call"), plan.Duration))
	}
	return status
}
