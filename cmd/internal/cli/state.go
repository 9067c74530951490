package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"membersync/dedupe"
	"membersync/dlq"
	"membersync/dlq/partlog"
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

// A memberView is what is known of one employee.
type memberView struct {
	member     dedupe.Member
	hash       string // of the member, as in the keys of Redis
	openUserID string
	state      dedupe.MemberState
	events     []sighting
	ids        []dedupe.EventID
	done       []dedupe.EventGrant
}

// lookAt reads the source topic for the employee's events, and Redis for what became of them.
func (d *desk) lookAt(ctx context.Context, s subject) (memberView, error) {
	spans, err := d.spans(ctx, d.cfg.Kafka.Topic)
	if err != nil {
		return memberView{}, err
	}
	return d.lookIn(ctx, s, spans)
}

// lookIn is lookAt for stretches of the topic.
func (d *desk) lookIn(ctx context.Context, s subject, spans map[int]partlog.Range) (v memberView, err error) {
	v.openUserID = s.openUserID
	if v.events, err = d.eventsOf(ctx, s.employee, spans); err != nil {
		return v, err
	}
	var latest time.Time
	for _, e := range v.events {
		if id := e.Result.Event.OpenUserID; s.openUserID == "" && id != "" && !e.Time.Before(latest) {
			v.openUserID, latest = id, e.Time
		}
		v.ids = append(v.ids, d.eventID(e))
	}
	v.done = make([]dedupe.EventGrant, len(v.ids))
	if v.openUserID == "" {
		if err := d.lookUpDone(ctx, &v); err != nil {
			return v, err
		}
		return v, errNoEvents
	}
	v.member = d.member(v.openUserID)
	v.hash = d.parts.Store.MemberHash(v.member)
	if v.state, err = d.parts.Store.Member(ctx, v.member, nil); err != nil {
		return v, err
	}
	return v, d.lookUpDone(ctx, &v)
}

// lookUpDone looks up what became of the events. One that could not be read has its mark under a member of its own.
func (d *desk) lookUpDone(ctx context.Context, v *memberView) error {
	if v.openUserID != "" {
		done, err := d.parts.Store.Done(ctx, v.member, v.ids)
		if err != nil {
			return err
		}
		copy(v.done, done)
	}
	for i, e := range v.events {
		if e.Result.Fault == nil {
			continue
		}
		alone, err := d.parts.Store.Done(ctx, d.memberOf(e), v.ids[i:i+1])
		if err != nil {
			return err
		}
		v.done[i] = alone[0]
	}
	return nil
}

// The json form of state show.
type stateJSON struct {
	EmployeeID string           `json:"employee_id"`
	OpenUserID string           `json:"open_user_id"`
	Member     string           `json:"member"` // as in the keys of Redis
	Leased     bool             `json:"leased"`
	Holder     string           `json:"lease_holder"`
	LeaseLeft  int64            `json:"lease_left_ms"`
	Fields     []fieldStateJSON `json:"fields"`
	Events     []eventStateJSON `json:"events"`
}

type fieldStateJSON struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Digest  bool   `json:"digest"`
}

type eventStateJSON struct {
	EventID   string  `json:"event_id"`
	Partition int     `json:"partition"`
	Offset    int64   `json:"offset"`
	Timestamp *string `json:"timestamp"`
	Index     int     `json:"index"`
	Outcome   string  `json:"outcome"` // empty: not done, or forgotten
	Redrive   int     `json:"redrive"`
	Replay    fate    `json:"replay,omitempty"`  // what a replay would make of it; of explain alone
	Reapply   fate    `json:"reapply,omitempty"` // what one with --reapply would
}

func (v memberView) view(employee string) stateJSON {
	view := stateJSON{
		EmployeeID: employee, OpenUserID: v.openUserID, Member: v.hash,
		Leased: v.state.Leased, Holder: v.state.Holder, LeaseLeft: v.state.Left.Milliseconds(),
		Fields: []fieldStateJSON{}, Events: []eventStateJSON{},
	}
	for _, f := range v.state.Fields {
		view.Fields = append(view.Fields, fieldStateJSON{f.Name, f.Version, f.Digest})
	}
	for i, e := range v.events {
		view.Events = append(view.Events, eventStateJSON{
			EventID: e.Result.Event.ID, Partition: e.Partition, Offset: e.Offset, Timestamp: jsonTime(e.Time),
			Index: e.Result.Event.Index, Outcome: v.done[i].Outcome, Redrive: v.done[i].Redrive,
		})
	}
	return view
}

func (in *invocation) showState(ctx context.Context, d *desk, s subject) int {
	if !s.take(in) {
		return exitUsage
	}
	v, err := d.lookAt(ctx, s)
	if err != nil {
		return in.failed(ctx, err)
	}
	view := v.view(s.employee)
	if in.output == outputJSON {
		return in.printJSON(view)
	}
	in.print(view.text())
	return exitDone
}

func (v stateJSON) text() string {
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

func eventsText(events []eventStateJSON) string {
	columns := table{{"RECORD", 14}, {"TIME", 24}, {"EVENT", 24}, {"REDRIVE", 7}, {"OUTCOME", 0}}
	foreseen := len(events) > 0 && events[0].Replay != ""
	if foreseen {
		columns[len(columns)-1].width = 13
		columns = append(columns, column{"REPLAY", 9}, column{"REAPPLY", 0})
	}
	var b strings.Builder
	b.WriteString(columns.heading())
	for _, e := range events {
		at := ""
		if e.Timestamp != nil {
			at = *e.Timestamp
		}
		cells := []string{fmt.Sprintf("%d:%d:%d", e.Partition, e.Offset, e.Index), at, e.EventID, fmt.Sprint(e.Redrive), e.Outcome}
		if foreseen {
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

func (in *invocation) forgetState(ctx context.Context, d *desk, s subject, o order) int {
	if !s.take(in) {
		return exitUsage
	}
	v, err := d.lookAt(ctx, s)
	if err != nil {
		return in.failed(ctx, err)
	}
	report := forgottenJSON{dlq.ActionStateForget, dlq.ResultDone, s.employee, v.hash, []string{}, 0}
	for _, f := range v.state.Fields {
		report.Fields = append(report.Fields, f.Name)
	}
	for _, verdict := range v.done {
		if verdict.Done {
			report.Events++
		}
	}
	plan := fmt.Sprintf("forget of employee %s the versions of %s (%s) and the marks of %s", printable(s.employee),
		plural(len(report.Fields), "field"), strings.Join(report.Fields, ", "), plural(report.Events, "event"))
	if !in.plan(o, plan+"\nthe next event of each field is taken for the newest, however old", "Forget?") {
		return exitFailed
	}
	if o.dryRun {
		report.Result = "planned"
		return in.printAction(report, "would: "+plan)
	}
	record := dlq.AuditRecord{
		Actor: in.who(o), Action: dlq.ActionStateForget, Subject: s.employee, Note: o.note,
		Detail: dlq.Detail{Fields: strings.Join(report.Fields, ","), Removed: report.Events},
	}
	if err := d.recorded(ctx, record, func() error { return d.parts.Store.Forget(ctx, v.member, v.ids...) }); err != nil {
		return in.failed(ctx, err)
	}
	return in.printAction(report, "forgotten: "+plural(len(report.Fields), "field")+" and "+plural(report.Events, "event"))
}
