package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"membersync/cmd/internal/ops"
	"membersync/cmd/internal/texts"
	"membersync/dlq"
)

// discarding is what dlq discard is asked for.
type discarding struct {
	filter
	order
	all bool
}

// maxIDs bounds the ids of a command line.
const maxIDs = 10_000

// chooseItems completes the filter by ids or --all, and refuses an invalid choice.
func chooseItems(in *invocation, f *filter, all bool, states ...dlq.State) bool {
	f.query.IDs = takeIDs(in)
	given := 0
	for _, one := range []bool{len(f.query.IDs) > 0, !f.isEmpty(), all} {
		if one {
			given++
		}
	}
	if given != 1 && len(in.faults) == 0 {
		in.fault("", "say which: ids, filters or --all, and only one of them")
	}
	if len(f.query.IDs) == 0 {
		f.query.States = states
	}
	return !in.refuse(nil)
}

func discardDeadLetters(ctx context.Context, in *invocation, d *ops.Session, o discarding) int {
	if !chooseItems(in, &o.filter, o.all, dlq.StateOpen) {
		return exitUsage
	}
	x, err := readIndex(ctx, in, d, o.query, ops.ByReason)
	if err != nil {
		return in.failed(ctx, err)
	}
	if o.dryRun {
		in.sayTarget()
	} else {
		in.say("to discard: " + planOf(x, time.Now()))
		if x.Selected()+len(x.Missing()) == 0 {
			return exitDone
		}
		if !in.goesAhead(o.order, "Discard?") {
			return exitFailed
		}
	}
	r := in.newResults(x)
	if o.dryRun {
		err = d.PreviewDiscard(ctx, x, r.print)
	} else {
		err = d.Discard(ctx, x, in.who(o.order), r.print)
	}
	status := r.status()
	if err != nil {
		return in.failed(ctx, err)
	}
	return status
}

// planOf says how many items of each group are concerned.
func planOf(x *dlq.Index, now time.Time) string {
	var b strings.Builder
	b.WriteString(texts.Plural(x.Selected(), "dead letter") + "\n")
	for _, g := range x.Groups() {
		fmt.Fprintf(&b, "  %-18s %6d  oldest %s\n", texts.Quoted(g.Name), g.Count, age(g.Oldest, now))
	}
	return b.String()
}
