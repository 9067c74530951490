package cli

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"

	"membersync/cmd/internal/ops"
	"membersync/dlq"
)

// A filter says which dead letters a command is about.
type filter struct {
	query      dlq.Query
	stateGiven bool
}

const filterHelp = "  --reason  one or several, comma-separated\n        of the latest death\n" +
	"  --stage  decode, map or update\n" +
	"  --code  the CRM's errorCode\n" +
	"  --employee  the HR system's id\n" +
	"  --since, --until  a time in RFC 3339, or how long ago, such as 2h\n        of the latest death: from, and before\n"

func stateHelp(def string) string {
	return "  --state  open, redriving, applied, superseded, discarded or all; several comma-separated\n        (default " + def + ")\n"
}

func (f *filter) define(in *invocation, flags *flag.FlagSet) {
	flags.Func("reason", "", func(text string) error {
		for one := range strings.SplitSeq(text, ",") {
			if !slices.Contains(dlq.Reasons(), dlq.Reason(one)) {
				in.fault("--reason", "should be of "+joined(dlq.Reasons()))
			}
			f.query.Reasons = append(f.query.Reasons, dlq.Reason(one))
		}
		return nil
	})
	flags.Func("stage", "", func(text string) error {
		if f.query.Stage = dlq.Stage(text); !slices.Contains([]dlq.Stage{dlq.StageDecode, dlq.StageMap, dlq.StageUpdate}, f.query.Stage) {
			in.fault("--stage", "should be decode, map or update")
		}
		return nil
	})
	flags.StringVar(&f.query.Code, "code", "", "")
	flags.StringVar(&f.query.Employee, "employee", "", "")
	in.timeFlag(flags, "since", &f.query.Since)
	in.timeFlag(flags, "until", &f.query.Until)
}

func (f *filter) defineState(in *invocation, flags *flag.FlagSet, def ...dlq.State) {
	f.query.States = def
	flags.Func("state", "", func(text string) error {
		if !f.stateGiven {
			f.query.States, f.stateGiven = nil, true
		}
		for one := range strings.SplitSeq(text, ",") {
			switch {
			case one == "all":
				f.query.States = dlq.States()
			case slices.Contains(dlq.States(), dlq.State(one)):
				f.query.States = append(f.query.States, dlq.State(one))
			default:
				in.fault("--state", "should be of all, "+joined(dlq.States()))
			}
		}
		return nil
	})
}

// isEmpty reports whether the filter narrows nothing down.
func (f *filter) isEmpty() bool {
	q := f.query
	return len(q.Reasons) == 0 && q.Stage == "" && q.Code == "" && q.Employee == "" && q.Since.IsZero() && q.Until.IsZero()
}

func joined[T ~string](all []T) string {
	texts := make([]string, len(all))
	for i, one := range all {
		texts[i] = string(one)
	}
	return strings.Join(texts, ", ")
}

// takeIDs takes the arguments for ids of dead letters, in full or short form, once each.
func (in *invocation) takeIDs() []string {
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

// index reads all dead letters, and warns of what could not be read.
func (in *invocation) index(ctx context.Context, d *desk, q dlq.Query, groupBy func(dlq.DeadLetter) string) (*dlq.Index, error) {
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
	return table{{"ID", 14}, {"STATE", 10}, {"REASON", 17}, {"EMPLOYEE", 10}, {"CODE", 9}, {"REDRIVES", 8}, {"FAILED", 20}, {"ERROR", 0}}
}

func itemRow(x *dlq.Index, i dlq.Item) string {
	l := i.DeadLetter
	return itemTable().row(x.ShortID(i.ID), string(i.State), string(l.Reason), l.EmployeeID, l.CRMCode, fmt.Sprint(i.Number),
		timestamp(l.FailedAt), l.Error)
}

func (in *invocation) printGroups(by string, groups []dlq.Group, now time.Time) int {
	t := table{{strings.ToUpper(by), 20}, {"COUNT", 7}, {"OLDEST", 8}, {"OLDEST FAILED", 20}, {"NEWEST FAILED", 0}}
	if in.output == outputTable {
		in.print(t.heading())
	}
	for _, g := range groups {
		if in.output == outputTable {
			in.print(t.row(g.Name, fmt.Sprint(g.Count), age(g.Oldest, now), timestamp(g.Oldest), timestamp(g.Newest)))
			continue
		}
		if status := in.printJSON(ops.NewGroup(by, g, now)); status != exitDone {
			return status
		}
	}
	return exitDone
}
