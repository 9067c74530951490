package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"membersync/dlq"
)

// listing is what dlq list is asked for.
type listing struct {
	filter
	groupBy string
	limit   int
	follow  bool
}

func (in *invocation) list(ctx context.Context, d *desk, l listing) int {
	s, err := in.survey(ctx, d, l.query, groupings()[l.groupBy])
	if err != nil {
		return in.failed(ctx, err)
	}
	if l.groupBy != "" {
		return in.printGroups(l.groupBy, s.Groups(), time.Now())
	}
	if in.output == outputTable {
		in.print(itemTable().heading())
	}
	for item, err := range d.reader.Items(ctx, s, l.limit, false) {
		switch {
		case err != nil && item.ID != "":
			in.complain(item.ID + ": " + err.Error())
		case err != nil:
			return in.failed(ctx, err)
		default:
			if err := in.printItem(s, item); err != nil {
				return in.failed(ctx, err)
			}
		}
	}
	if n := s.Selected(); l.limit > 0 && n > l.limit {
		in.complain(fmt.Sprintf("the latest %d of %d; --limit 0 lists all", l.limit, n))
	}
	if !l.follow {
		return exitDone
	}
	return in.failed(ctx, d.reader.Follow(ctx, s, func(i dlq.Item) error { return in.printItem(s, i) }))
}

var errStdout = errors.New("stdout does not take the result")

func (in *invocation) printItem(s *dlq.Index, i dlq.Item) error {
	if in.output == outputTable {
		in.print(itemRow(s, i))
		return nil
	}
	if in.printJSON(itemOf(i)) != exitDone {
		return errStdout
	}
	return nil
}
