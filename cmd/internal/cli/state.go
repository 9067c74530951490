package cli

import (
	"context"
	"fmt"
	"strings"

	"membersync/cmd/internal/ops"
	"membersync/cmd/internal/texts"
	"membersync/dlq"
)

// A subject is the one employee that a command is about.
type subject struct {
	employee, openUserID string
}

// take takes the argument.
func (s *subject) take(in *invocation) bool {
	if len(in.args) == 1 {
		s.employee = in.args[0]
	} else if len(in.faults) == 0 {
		in.fault("", "say which employee: the HR system's id")
	}
	return !in.refuse(nil)
}

func (s subject) forOps() ops.Subject {
	return ops.Subject{Employee: s.employee, OpenUserID: s.openUserID}
}

func showState(ctx context.Context, in *invocation, d *ops.Session, s subject) int {
	if !s.take(in) {
		return exitUsage
	}
	m, err := d.Member(ctx, s.forOps())
	if err != nil {
		return in.failed(ctx, err)
	}
	if in.output == outputJSON {
		return in.printJSON(m)
	}
	in.print(memberText(m))
	return exitDone
}

func memberText(v ops.Member) string {
	var b strings.Builder
	fmt.Fprintf(&b, "EMPLOYEE  %s\n", texts.Quoted(v.EmployeeID))
	if v.OpenUserID == "" {
		b.WriteString("MEMBER    unknown: no event in the source topic states it\n")
	} else {
		fmt.Fprintf(&b, "MEMBER    %s, in Redis %s\n", texts.Quoted(v.OpenUserID), v.Member)
	}
	if v.Leased {
		fmt.Fprintf(&b, "LEASE     held by %s…, %d ms left\n", v.Holder, v.LeaseLeft)
	} else {
		b.WriteString("LEASE     free\n")
	}
	fields := table{{"FIELD", 24}, {"DIGEST", 6}, {"VERSION", 0}}
	b.WriteString("\n" + fields.heading())
	for _, f := range v.Fields {
		digest := "no"
		if f.Digest {
			digest = "yes"
		}
		b.WriteString(fields.row(f.Name, digest, f.Version))
	}
	b.WriteString("\n" + eventsText(v.Events))
	return b.String()
}

func eventsText(events []ops.EventState) string {
	columns := table{{"RECORD", 14}, {"TIME", 24}, {"EVENT", 24}, {"REDRIVE", 7}, {"OUTCOME", 0}}
	previewed := len(events) > 0 && events[0].Replay != ""
	if previewed {
		columns[len(columns)-1].width = 13
		columns = append(columns, column{"REPLAY", 9}, column{"REAPPLY", 0})
	}
	var b strings.Builder
	b.WriteString(columns.heading())
	for _, e := range events {
		cells := []string{fmt.Sprintf("%d:%d:%d", e.Partition, e.Offset, e.Index), e.Timestamp.String(), e.EventID, fmt.Sprint(e.Redrive), e.Outcome}
		if previewed {
			cells = append(cells, string(e.Replay), string(e.Reapply))
		}
		b.WriteString(columns.row(cells...))
	}
	return b.String()
}

// The json form of state forget.
type forgottenJSON struct {
	Action     dlq.Action `json:"action"`
	Result     string     `json:"result"` // done, or planned in a dry run
	EmployeeID string     `json:"employee_id"`
	Member     string     `json:"member"`
	Fields     []string   `json:"fields"`
	Events     int        `json:"events"` // done marks
}

// forgetting is what state forget is asked for.
type forgetting struct {
	subject
	order
	file string // of employees, one per line
}

// subjects returns the employees, and complains if they are not given in one way.
func (o *forgetting) subjects(in *invocation) ([]ops.Subject, bool) {
	ids := in.args
	if o.file != "" {
		text, err := in.ReadFile(o.file)
		if err != nil {
			in.fault("--file", err.Error())
		}
		if len(ids) > 0 {
			in.fault("--file", "and employees as arguments exclude each other")
		}
		ids = strings.Fields(string(text))
	}
	switch {
	case len(in.faults) > 0:
	case len(ids) == 0:
		in.fault("", "give employees, ids of the HR system, or --file")
	case o.openUserID != "" && len(ids) > 1:
		in.fault("--open-user-id", "is for one employee")
	}
	var all []ops.Subject
	for _, id := range ids {
		all = append(all, ops.Subject{Employee: id, OpenUserID: o.openUserID})
	}
	return all, !in.refuse(nil)
}

func forgetState(ctx context.Context, in *invocation, d *ops.Session, o forgetting) int {
	subjects, ok := o.subjects(in)
	if !ok {
		return exitUsage
	}
	all, err := d.PlanForget(ctx, subjects)
	if err != nil {
		return in.failed(ctx, err)
	}
	var plan strings.Builder
	fmt.Fprintf(&plan, "forget %s; the next event of each field counts as the newest, however old it is", texts.Plural(len(all), "employee"))
	for _, f := range all {
		plan.WriteString("\n  " + forgetText(f))
	}
	if !in.plan(o.order, plan.String(), "Forget?") {
		return exitFailed
	}
	good, bar := 0, in.newProgress(len(all))
	for i, f := range all {
		if f.Err == nil && !o.dryRun {
			f.Err = f.Do(ctx, in.who(o.order))
		}
		bar.clear()
		if printForgotten(in, f, o.dryRun) {
			good++
		}
		bar.show(i + 1)
	}
	bar.clear()
	switch good {
	case len(all):
		return exitDone
	case 0:
		return exitFailed
	}
	return exitPart
}

func forgetText(f *ops.Forgetting) string {
	if f.Err != nil {
		return "employee " + texts.Quoted(f.Employee) + ": " + f.Err.Error()
	}
	return fmt.Sprintf("employee %s: versions of %s (%s), done marks of %s", texts.Quoted(f.Employee),
		texts.Plural(len(f.Fields), "field"), strings.Join(f.Fields, ", "), texts.Plural(f.Events, "event"))
}

// printForgotten prints a line, and reports whether it was forgotten or could be.
func printForgotten(in *invocation, f *ops.Forgetting, isDryRun bool) bool {
	report := forgottenJSON{dlq.ActionStateForget, dlq.ResultDone, f.Employee, f.Member, f.Fields, f.Events}
	text := "forgotten: "
	if isDryRun {
		report.Result, text = "planned", "would forget: "
	}
	if f.Err != nil {
		report.Result, text = dlq.ResultFailed, "failed: "
	}
	return in.printAction(report, text+forgetText(f)) == exitDone && f.Err == nil
}
