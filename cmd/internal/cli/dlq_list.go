package cli

import (
	"context"
	"errors"
	"fmt"
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

func listDeadLetters(ctx context.Context, in *invocation, d *ops.Session, l listing) int {
	x, err := readIndex(ctx, in, d, l.query, ops.Groupings()[l.groupBy])
	if err != nil {
		return in.failed(ctx, err)
	}
	if l.groupBy != "" {
		return printGroups(in, l.groupBy, x.Groups(), time.Now())
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
			if err := printItem(in, x, item); err != nil {
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
	return in.failed(ctx, d.Follow(ctx, x, func(i dlq.Item) error { return printItem(in, x, i) }))
}

var errStdout = errors.New("stdout does not take the result")

func printItem(in *invocation, x *dlq.Index, i dlq.Item) error {
	if in.output == outputTable {
		in.print(itemRow(x, i))
		return nil
	}
	if in.printJSON(ops.NewDeadLetter(i)) != exitDone {
		return errStdout
	}
	return nil
}
