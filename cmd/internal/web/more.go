package web

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"membersync/cmd/internal/ops"
	"membersync/cmd/internal/texts"
	"membersync/mapper"
)

// slowTimeout bounds what reads a range of the source topic.
const slowTimeout = 60 * time.Second

var errSlowTimeout = errors.New("not read within 60s: use the command, or a shorter range")

// slow lets an answer take longer than others.
func (v *visit) slow(ctx context.Context) (context.Context, context.CancelFunc) {
	_ = http.NewResponseController(v.w).SetWriteDeadline(v.now.Add(slowTimeout + planTimeout))
	return context.WithTimeoutCause(ctx, slowTimeout, errSlowTimeout)
}

type employeeData struct {
	ops.Explanation
	ID, Since string
	Ranges    []string
	Command   string
	FieldRows []memberField
}

// A memberField is a field of a member and what has set it.
type memberField struct {
	Name, Event string
	At          time.Time
	Digest      bool
}

// employees goes to the page of the employee that is looked for.
func (s *Server) employees(_ context.Context, v *visit) (reply, error) {
	if id := v.form("id"); id != "" {
		return reply{to: "/employees/" + url.PathEscape(id)}, nil
	}
	return reply{page: "employee", title: text("employee.title"), data: employeeData{}}, nil
}

const employeeSince = "7d"

func (s *Server) employee(ctx context.Context, v *visit) (reply, error) {
	data := employeeData{ID: v.r.PathValue("id"), Since: v.form("since"), Ranges: []string{"1d", "7d", "30d", "all"}}
	if data.Since == "" {
		data.Since = employeeSince
	}
	since, ok := parseTime(data.Since, v.now)
	if !ok && data.Since != "all" {
		return reply{}, &inputError{text("input.time")}
	}
	ctx, cancel := v.slow(ctx)
	defer cancel()
	var err error
	if data.Explanation, err = s.live.Explain(ctx, ops.Subject{Employee: data.ID}, since); err != nil {
		return reply{}, err
	}
	data.Sentence = texts.Explain(data.Cause, data.Evidence)
	slices.Reverse(data.Events)
	data.FieldRows = memberFields(data.Member)
	from := data.Since
	if from == "all" {
		from = "earliest"
	}
	data.Command = command("replay", "--from", from, "--employee", data.ID)
	return reply{page: "employee", title: text("employee.of", data.ID), data: data}, nil
}

// memberFields names for each field the event that has set it.
func memberFields(m ops.Member) (rows []memberField) {
	for _, f := range m.Fields {
		row := memberField{Name: f.Name, Event: f.Version, Digest: f.Digest}
		if partition, offset, index, at, ok := f.Source(); ok {
			row.Event, row.At = strconv.Itoa(partition)+":"+strconv.FormatInt(offset, 10), at
			for _, e := range m.Events {
				if e.Partition == partition && e.Offset == offset && e.Index == index && e.EventID != "" {
					row.Event = e.EventID
				}
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// command is a command line of membersync, for a POSIX shell.
func command(words ...string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/@+"
	line := []string{"membersync"}
	for _, w := range words {
		if w == "" || strings.Trim(w, plain) != "" {
			w = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		line = append(line, w)
	}
	return strings.Join(line, " ")
}

type replaysData struct {
	All                         []ops.ReplayState
	From, To, Employee, Reapply string
	Plan                        *ops.ReplayPlan
	Fields                      []resultCount
	Duration                    time.Duration
	Command                     string
	Problem, ProblemOfList      string
}

func (s *Server) replays(ctx context.Context, v *visit) (reply, error) {
	return s.showReplays(ctx, v, replaysData{From: "2h"})
}

func (s *Server) showReplays(ctx context.Context, _ *visit, data replaysData) (reply, error) {
	all, err := s.live.Replays(ctx)
	if err != nil {
		data.ProblemOfList = err.Error()
	}
	slices.Reverse(all)
	data.All = all
	a := reply{page: "replays", title: text("replays.title"), data: data}
	if data.Problem != "" {
		a.status = http.StatusUnprocessableEntity
	}
	if data.Plan == nil && slices.ContainsFunc(all, func(r ops.ReplayState) bool { return r.State == ops.ReplayRunning }) {
		a.refresh = jobRefresh
	}
	return a, nil
}

// planReplay shows what a replay would do, and the command that runs it.
func (s *Server) planReplay(ctx context.Context, v *visit) (reply, error) {
	data := replaysData{From: v.form("from"), To: v.form("to"), Employee: v.form("employee"), Reapply: v.form("reapply")}
	request := ops.ReplayRequest{Employee: data.Employee, Reapply: data.Reapply == "yes", Who: v.who()}
	var okFrom, okTo bool
	request.From, okFrom = parsePosition(data.From, v.now)
	request.To, okTo = parsePosition(data.To, v.now)
	if !okFrom || !okTo && data.To != "" {
		data.Problem = text("input.position")
		return s.showReplays(ctx, v, data)
	}
	ctx, cancel := v.slow(ctx)
	defer cancel()
	run, err := s.live.NewReplay(ctx, request)
	if err != nil {
		data.Problem = err.Error()
		return s.showReplays(ctx, v, data)
	}
	plan, err := run.Preview(ctx)
	if err != nil {
		data.Problem = err.Error()
		return s.showReplays(ctx, v, data)
	}
	data.Plan, data.Duration = &plan, time.Duration(plan.Seconds)*time.Second
	for name, n := range plan.Fields {
		data.Fields = append(data.Fields, resultCount{name, int(n)})
	}
	slices.SortFunc(data.Fields, func(a, b resultCount) int { return strings.Compare(a.Result, b.Result) })
	words := []string{"replay", "--from", data.From}
	if data.To != "" {
		words = append(words, "--to", data.To)
	}
	if data.Employee != "" {
		words = append(words, "--employee", data.Employee)
	}
	if request.Reapply {
		words = append(words, "--reapply")
	}
	data.Command = command(words...)
	return s.showReplays(ctx, v, data)
}

// parsePosition reads where a range begins or ends: a time, earliest, latest or partition:offset.
func parsePosition(given string, now time.Time) (p ops.Position, ok bool) {
	switch at, isTime := parseTime(given, now); {
	case given == "":
		return p, false
	case given == "earliest":
		p.Earliest = true
	case given == "latest":
		p.Latest = true
	case isTime:
		p.At = at
	default:
		for one := range strings.FieldsSeq(given) {
			if !p.AddOffset(one) {
				return p, false
			}
		}
	}
	return p, true
}

func (s *Server) cancelReplay(ctx context.Context, v *visit) (reply, error) {
	if err := s.live.CancelReplay(ctx, v.r.PathValue("id"), v.who()); err != nil {
		return reply{}, err
	}
	s.live.Changed(ctx)
	return reply{to: "/replays", notice: text("replays.canceled")}, nil
}

type mappingData struct {
	File, Key, Value string
	NoValue          bool
	Tried            bool
	Explanations     []explained
	Problem          string
	Lookups          []string
}

type explained struct {
	Outcome, Detail, Employee, Event string
	User                             string
	Parts, Fields                    []mapper.Explained
}

func (s *Server) mapping(context.Context, *visit) (reply, error) {
	return reply{page: "mapping", title: text("mapping.title"), data: mappingData{Lookups: s.live.Lookups()}}, nil
}

// tryMapping shows what an event would do. Nothing is read but the lookups of the running mapping.
func (s *Server) tryMapping(ctx context.Context, v *visit) (reply, error) {
	data := mappingData{
		File: v.r.FormValue("file"), Key: v.form("key"), Value: v.r.FormValue("value"), NoValue: v.form("novalue") == "yes", Tried: true,
		Lookups: s.live.Lookups(),
	}
	rec := mapper.Record{Time: v.now, Value: []byte(data.Value)}
	if data.NoValue {
		rec.Value = nil
	}
	if data.Key != "" {
		rec.Key = []byte(data.Key)
	}
	a := reply{page: "mapping", title: text("mapping.title")}
	all, err := s.live.TryMapping(ctx, strings.ReplaceAll(data.File, "\r\n", "\n"), rec)
	if err != nil {
		data.Problem, a.status = err.Error(), http.StatusUnprocessableEntity
	}
	for _, e := range all {
		one := explained{Employee: e.Result.Event.EmployeeID, Event: e.Result.Event.ID, Parts: e.Parts, Fields: e.Fields}
		switch r := e.Result; {
		case r.Fault != nil:
			one.Outcome, one.Detail = "rejected", string(r.Fault.Reason)+": "+r.Fault.Error()
		case r.Event.Ignored != "":
			one.Outcome, one.Detail = "ignored", r.Event.Ignored
		case r.Event.Update.Len() == 0:
			one.Outcome = "unchanged"
		default:
			one.Outcome, one.User = "update", string(r.Event.Update.AppendJSON(nil))
		}
		data.Explanations = append(data.Explanations, one)
	}
	a.data = data
	return a, nil
}
