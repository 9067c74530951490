package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"membersync/cmd/internal/ops"
	"membersync/cmd/internal/texts"
	"membersync/dlq"
)

// A filter says which dead letters a command is about.
type filter struct {
	query      dlq.Query
	stateGiven bool
}

// isEmpty reports whether the filter narrows nothing down.
func (f *filter) isEmpty() bool {
	q := f.query
	return len(q.Reasons) == 0 && q.Stage == "" && q.Code == "" && q.Employee == "" && q.Text == "" && q.Since.IsZero() && q.Until.IsZero()
}

// takeIDs takes the arguments for ids of dead letters, in full or short form, once each.
func takeIDs(in *invocation) []string {
	var ids []string
	for _, id := range in.args {
		if _, err := dlq.ParseID(id); err != nil {
			in.fault("", err.Error())
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// readIndex reads all dead letters, and warns of what could not be read.
func readIndex(ctx context.Context, in *invocation, d *ops.Session, q dlq.Query, groupBy func(dlq.DeadLetter) string) (*dlq.Index, error) {
	x, err := d.Index(ctx, q, groupBy)
	if err == nil {
		in.warnOf(x.Loss)
	}
	return x, err
}

func (in *invocation) warnOf(loss dlq.Loss) {
	if loss.Unreadable > 0 {
		in.complain("warning: records of the dead-letter topic that are not dead letters: " + fmt.Sprint(loss.Unreadable))
	}
	if loss.Foreign > 0 {
		in.complain("warning: records of the audit topic that are not audit records: " + fmt.Sprint(loss.Foreign))
	}
	if loss.Gone > 0 {
		in.complain("warning: offsets that retention removed while they were read: " + fmt.Sprint(loss.Gone))
	}
}

func itemTable() table {
	return table{{"ID", 14}, {"STATE", 10}, {"REASON", 20}, {"EMPLOYEE", 10}, {"CODE", 9}, {"REDRIVES", 8}, {"FAILED", 20}, {"ERROR", 0}}
}

func itemRow(x *dlq.Index, i dlq.Item) string {
	l := i.DeadLetter
	return itemTable().row(x.ShortID(i.ID), string(i.State), string(l.Reason), l.EmployeeID, l.CRMCode, fmt.Sprint(i.Number),
		texts.Moment(l.FailedAt), l.Error)
}

func printGroups(in *invocation, by string, groups []dlq.Group, now time.Time) int {
	t := table{
		{"COUNT", 7},
		{"EMPLOYEES", 9},
		{"OLDEST", 8},
		{"OLDEST FAILED", 20},
		{"NEWEST FAILED", 20},
		{"LAST REDRIVEN", 20},
		{strings.ToUpper(by), 0},
	}
	if in.output == outputTable {
		in.print(t.heading())
	}
	for _, g := range groups {
		if in.output == outputTable {
			in.print(t.row(fmt.Sprint(g.Count), fmt.Sprint(g.Employees), age(g.Oldest, now), texts.Moment(g.Oldest), texts.Moment(g.Newest),
				texts.Moment(g.Redriven), g.Name))
			continue
		}
		if status := in.printJSON(ops.NewGroup(by, g, now)); status != exitDone {
			return status
		}
	}
	return exitDone
}
