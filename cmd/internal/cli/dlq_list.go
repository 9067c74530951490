package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"membersync/cmd/internal/ops"
	"membersync/dlq"
)

// listing is what dlq list is asked for.
type listing struct {
	filter
	groupBy string
	limit   int
	follow  bool
}

func dlqListCommand() command {
	var l listing
	return onCallCommand(command{
		name: "dlq list", summary: "list dead letters, the latest death last",
		details: "A dead letter is listed once, however often it died. The redrives are those sent, the last may be under way.\n\n" +
			outputHelp + filterHelp + stateHelp("open") +
			"  --group-by  reason, stage, code, employee or error\n        count instead, with the age of the oldest\n" +
			"  --limit  a whole number\n        the latest so many; 0: all (default 0)\n" +
			"  --follow\n        go on with those that come, until Ctrl-C\n",
		flags: func(in *invocation, flags *flag.FlagSet) {
			outputFlag(in, flags)
			l.define(in, flags)
			l.defineState(in, flags, dlq.StateOpen)
			flags.Func("group-by", "", func(text string) error {
				if l.groupBy = text; ops.Groupings()[text] == nil {
					in.fault("--group-by", "should be of "+strings.Join(slices.Sorted(maps.Keys(ops.Groupings())), ", "))
				}
				return nil
			})
			in.countFlag(flags, "limit", &l.limit)
			flags.BoolVar(&l.follow, "follow", false, "")
		},
		check: func(in *invocation) { l.check(in) },
	}, func(ctx context.Context, in *invocation, d *desk) int { return in.list(ctx, d, l) })
}

func (l *listing) check(in *invocation) {
	const why = "is for a list, not for --group-by"
	if l.groupBy != "" && l.limit > 0 {
		in.fault("--limit", why)
	}
	if l.groupBy != "" && l.follow {
		in.fault("--follow", why)
	}
}

func (in *invocation) list(ctx context.Context, d *desk, l listing) int {
	x, err := in.index(ctx, d, l.query, ops.Groupings()[l.groupBy])
	if err != nil {
		return in.failed(ctx, err)
	}
	if l.groupBy != "" {
		return in.printGroups(l.groupBy, x.Groups(), time.Now())
	}
	if in.output == outputTable {
		in.print(itemTable().heading())
	}
	for item, err := range d.Items(ctx, x, l.limit) {
		switch {
		case err != nil && item.ID != "":
			in.complain(item.ID + ": " + err.Error())
		case err != nil:
			return in.failed(ctx, err)
		default:
			if err := in.printItem(x, item); err != nil {
				return in.failed(ctx, err)
			}
		}
	}
	if n := x.Selected(); l.limit > 0 && n > l.limit {
		in.complain(fmt.Sprintf("the latest %d of %d; --limit 0 lists all", l.limit, n))
	}
	if !l.follow {
		return exitDone
	}
	return in.failed(ctx, d.Follow(ctx, x, func(i dlq.Item) error { return in.printItem(x, i) }))
}

var errStdout = errors.New("stdout does not take the result")

func (in *invocation) printItem(x *dlq.Index, i dlq.Item) error {
	if in.output == outputTable {
		in.print(itemRow(x, i))
		return nil
	}
	if in.printJSON(ops.NewDeadLetter(i)) != exitDone {
		return errStdout
	}
	return nil
}
