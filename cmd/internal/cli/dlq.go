package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

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
	return len(q.Reasons) == 0 && q.Stage == "" && q.Code == "" && q.Employee == "" && q.Since.IsZero() && q.Until.IsZero()
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

// survey looks at all dead letters, and warns of what it could not make out.
func (in *invocation) survey(ctx context.Context, d *desk, q dlq.Query, groupBy func(dlq.DeadLetter) string) (*dlq.Index, error) {
	s, err := d.reader.Index(ctx, q, groupBy)
	if err == nil {
		in.warnOf(s.Loss)
	}
	return s, err
}

func (in *invocation) warnOf(loss dlq.Loss) {
	if loss.Unreadable > 0 {
		in.complain("warning: records of the dead-letter topic that are no dead letters: " + fmt.Sprint(loss.Unreadable))
	}
	if loss.Foreign > 0 {
		in.complain("warning: records of the audit topic that are no audit records: " + fmt.Sprint(loss.Foreign))
	}
	if loss.Gone > 0 {
		in.complain("warning: offsets that retention removed while they were read: " + fmt.Sprint(loss.Gone))
	}
}

// The json form of an item. Its names are part of the contract.
type itemJSON struct {
	ID            string     `json:"id"` // always the full form
	State         dlq.State  `json:"state"`
	Reason        dlq.Reason `json:"reason"`
	Stage         dlq.Stage  `json:"stage"`
	Error         string     `json:"error"`
	EmployeeID    string     `json:"employee_id"`
	EventID       string     `json:"event_id"`
	CRMCode       string     `json:"crm_code"`
	Attempts      int        `json:"attempts"`
	Redrives      int        `json:"redrives"`
	FirstFailedAt *string    `json:"first_failed_at"`
	FailedAt      *string    `json:"failed_at"`
	Source        sourceJSON `json:"source"`
}

type sourceJSON struct {
	Topic     string  `json:"topic"`
	Partition int     `json:"partition"`
	Offset    int64   `json:"offset"`
	Timestamp *string `json:"timestamp"`
}

func itemOf(i dlq.Item) itemJSON {
	l := i.DeadLetter
	return itemJSON{
		ID: i.ID, State: i.State, Reason: l.Reason, Stage: l.Stage, Error: l.Error,
		EmployeeID: l.EmployeeID, EventID: l.EventID, CRMCode: l.CRMCode, Attempts: l.Attempts, Redrives: i.Number,
		FirstFailedAt: jsonTime(i.FirstFailedAt), FailedAt: jsonTime(l.FailedAt),
		Source: sourceJSON{l.Source.Topic, l.Source.Partition, l.Source.Offset, jsonTime(l.Source.Timestamp)},
	}
}

func itemTable() table {
	return table{{"ID", 14}, {"STATE", 10}, {"REASON", 17}, {"EMPLOYEE", 10}, {"CODE", 9}, {"REDRIVES", 8}, {"FAILED", 20}, {"ERROR", 0}}
}

func itemRow(s *dlq.Index, i dlq.Item) string {
	l := i.DeadLetter
	return itemTable().row(s.ShortID(i.ID), string(i.State), string(l.Reason), l.EmployeeID, l.CRMCode, fmt.Sprint(i.Number),
		timestamp(l.FailedAt), l.Error)
}

// groupings are what --group-by takes.
func groupings() map[string]func(dlq.DeadLetter) string {
	return map[string]func(dlq.DeadLetter) string{
		"reason":   func(l dlq.DeadLetter) string { return string(l.Reason) },
		"stage":    func(l dlq.DeadLetter) string { return string(l.Stage) },
		"code":     func(l dlq.DeadLetter) string { return l.CRMCode },
		"employee": func(l dlq.DeadLetter) string { return l.EmployeeID },
		"error":    func(l dlq.DeadLetter) string { return l.Error },
	}
}

type groupJSON struct {
	GroupBy        string  `json:"group_by"`
	Group          string  `json:"group"`
	Count          int     `json:"count"`
	OldestFailedAt *string `json:"oldest_failed_at"`
	NewestFailedAt *string `json:"newest_failed_at"`
	OldestSeconds  int64   `json:"oldest_age_seconds"`
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
		line := groupJSON{by, g.Name, g.Count, jsonTime(g.Oldest), jsonTime(g.Newest), int64(now.Sub(g.Oldest).Seconds())}
		if status := in.printJSON(line); status != exitDone {
			return status
		}
	}
	return exitDone
}
