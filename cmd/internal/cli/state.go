package cli

import (
	"context"
	"fmt"
	"strings"

	"membersync/cmd/internal/ops"
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
	fmt.Fprintf(&b, "EMPLOYEE  %s\nMEMBER    %s, in Redis %s\n", printable(v.EmployeeID), printable(v.OpenUserID), v.Member)
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

func forgetState(ctx context.Context, in *invocation, d *ops.Session, s subject, o order) int {
	if !s.take(in) {
		return exitUsage
	}
	f, err := d.PlanForget(ctx, s.forOps())
	if err != nil {
		return in.failed(ctx, err)
	}
	report := forgottenJSON{dlq.ActionStateForget, dlq.ResultDone, f.Employee, f.Member, f.Fields, f.Events}
	plan := fmt.Sprintf("forget of employee %s the versions of %s (%s) and the done marks of %s", printable(f.Employee),
		plural(len(f.Fields), "field"), strings.Join(f.Fields, ", "), plural(f.Events, "event"))
	if !in.plan(o, plan+"\nthe next event of each field is taken for the newest, however old", "Forget?") {
		return exitFailed
	}
	if o.dryRun {
		report.Result = "planned"
		return in.printAction(report, "would: "+plan)
	}
	if err := f.Do(ctx, in.who(o)); err != nil {
		return in.failed(ctx, err)
	}
	return in.printAction(report, "forgotten: "+plural(len(f.Fields), "field")+" and "+plural(f.Events, "event"))
}
