package web

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"membersync/cmd/internal/ops"
	"membersync/cmd/internal/texts"
	"membersync/cmd/internal/times"
	"membersync/dlq"
)

// overviewPages are those of the state of the service and the audit topic.
type overviewPages struct{ jobPages }

// A chart is a line of an inline SVG, as points from the left to the right.
type chart struct {
	Points string // empty: there are fewer than two values
	Label  string // for screen readers
	Tone   string
}

// The size of a chart's coordinates.
const (
	chartWidth  = 120.0
	chartHeight = 34.0
	chartMargin = 2.0
)

func newChart(label, tone string, values []float64) chart {
	c := chart{Label: label, Tone: tone}
	if len(values) < 2 {
		return c
	}
	most := max(slices.Max(values), 1)
	var b strings.Builder
	for i, v := range values {
		x := chartWidth * float64(i) / float64(len(values)-1)
		y := chartHeight - chartMargin - (chartHeight-2*chartMargin)*v/most
		fmt.Fprintf(&b, "%.1f,%.1f ", x, y)
	}
	c.Points = strings.TrimSpace(b.String())
	c.Label = text("chart.label", label, number(int64(values[0])), number(int64(values[len(values)-1])), number(int64(slices.Max(values))))
	return c
}

type card struct{ Key, Value, Note, To string }

type overviewData struct {
	Tone, Sentence, Advice, Cause string
	Status                        ops.Status
	Cards                         []card
	Charts                        []chart
	Refresh                       int
	Refreshes                     []int
	Reading                       string // what has been read so far, while the topics were not read once
	Resume                        bool
	Seen                          string // when the pause began that the page shows
	Release                       bool
	OpenGroups                    bool
	Actions                       []actionRow
	Interrupted                   int // jobs
	Redriving                     int // dead letters without a result yet
}

// An actionRow is what an operator did, or the same several times in a row.
type actionRow struct {
	dlq.AuditRecord
	Count int
	Job   string // the id of a bulk job; empty: it is of none
}

const (
	actionsShown = 5
	actionsRead  = 1000
)

// lastActions returns the latest actions of operators, the latest first.
func (s overviewPages) lastActions() (rows []actionRow) {
	for _, a := range s.live.Actions(ops.AuditQuery{Actions: ops.OperatorActions(), Limit: actionsRead}) {
		if n := len(rows); n > 0 && isAlike(rows[n-1].AuditRecord, a) {
			rows[n-1].Count++
			continue
		}
		if len(rows) == actionsShown {
			break
		}
		row := actionRow{AuditRecord: a, Count: 1}
		if a.Detail.Job != nil {
			row.Job = dlq.JobID(a.Subject)
		}
		rows = append(rows, row)
	}
	return rows
}

// isAlike reports whether two records differ only in what they are about, and when.
func isAlike(a, b dlq.AuditRecord) bool {
	return a.Action == b.Action && a.Actor == b.Actor && a.Note == b.Note && a.Result == b.Result && a.Detail.Job == nil && b.Detail.Job == nil
}

// refreshes are the choices of seconds between two loads of the overview; 0: paused.
func refreshes() []int { return []int{0, 2, 5, 30} }

func (s overviewPages) overview(ctx context.Context, v *visit) (reply, error) {
	st, err := s.live.Latest(ctx)
	if err != nil {
		return reply{}, err
	}
	data := overviewData{Status: st, Cause: string(st.Cause), Tone: tone(st), Refreshes: refreshes(), Refresh: 5}
	data.Sentence, data.Advice = texts.Status(st)
	if n, err := strconv.Atoi(v.r.FormValue("refresh")); err == nil && slices.Contains(data.Refreshes, n) {
		data.Refresh = n
	}
	data.Actions = s.lastActions()
	_, data.Interrupted = s.jobList()
	if st.Redriving != nil {
		data.Redriving = *st.Redriving
	}
	if data.Resume = st.Paused != nil; data.Resume {
		data.Seen = st.Paused.At.Format(time.RFC3339Nano)
	}
	data.Release = st.Cause == ops.StatusStorm
	data.OpenGroups = st.Cause == ops.StatusMappingRejects || st.Cause == ops.StatusWorking && len(st.DeadLetters) > 0
	if at, items, _ := s.live.Catalog().State(); at.IsZero() {
		data.Reading = text("deadletters.reading", number(items))
	}
	data.Cards = cards(st)
	data.Charts = charts(s.live.Samples())
	return reply{page: "overview", title: text("overview.title"), data: data, refresh: data.Refresh}, nil
}

// tone is red for what needs action, amber for what ends by itself, green otherwise.
func tone(st ops.Status) string {
	switch {
	case st.Cause == ops.StatusWorking:
		return "ok"
	case st.Attention:
		return "bad"
	}
	return "warn"
}

func cards(st ops.Status) []card {
	open, oldest := 0, int64(0)
	for _, g := range st.DeadLetters {
		open += g.Count
		oldest = max(oldest, g.OldestSeconds)
	}
	c := []card{
		{Key: text("card.lag"), Value: text("card.unknown")},
		{Key: text("card.current"), Value: text("card.unknown")},
		{Key: text("card.open"), Value: number(open), Note: text("card.open.none"), To: "/dead-letters"},
		{Key: text("card.limit"), Value: text("card.unknown"), Note: text("card.limit.note")},
		{Key: text("card.instances"), Value: strconv.Itoa(len(st.Instances)), Note: text("card.held", texts.Count(st.Held, "event"))},
	}
	if open > 0 {
		c[2].Note = text("card.open.note", texts.Plural(len(st.DeadLetters), "cause"), texts.Duration(time.Duration(oldest)*time.Second))
	}
	if st.Lag != nil {
		c[0].Value, c[0].Note = number(st.Lag.Records), text("card.lag.note", texts.Duration(time.Duration(st.Lag.Seconds)*time.Second))
	}
	switch {
	case st.Lag == nil:
	case !st.CurrentAt.IsZero():
		c[1].Value, c[1].Note = st.CurrentAt.UTC().Format("15:04"), text("card.current.in", texts.Duration(st.CurrentAt.Sub(st.At.Time)))
	case st.Lag.Records > 0:
		c[1].Note = text("card.current.behind")
	default:
		c[1].Value, c[1].Note = text("card.current.now"), text("card.current.note")
	}
	if st.RateUsed != nil {
		const percent = 100
		c[3].Value = strconv.Itoa(int(*st.RateUsed*percent)) + " %"
	}
	return c
}

func charts(samples []ops.Sample) []chart {
	lag, events, failures := make([]float64, len(samples)), make([]float64, len(samples)), make([]float64, len(samples))
	for i, s := range samples {
		lag[i], events[i], failures[i] = float64(s.Lag), s.Events, float64(s.Failures)
	}
	return []chart{
		newChart(text("chart.lag"), "warn", lag), newChart(text("chart.events"), "accent", events), newChart(text("chart.failures"), "bad", failures),
	}
}

func (s overviewPages) pause(ctx context.Context, v *visit) (reply, error) {
	var until time.Time
	if length := v.form("for"); length != "" {
		d, err := time.ParseDuration(length)
		if err != nil || d < time.Second {
			return reply{}, &inputError{text("input.duration")}
		}
		until = v.now.Add(d)
	}
	if err := s.live.Pause(ctx, v.seenPause(), until, v.who()); err != nil {
		return reply{}, err
	}
	s.live.Changed(ctx)
	return reply{to: "/", notice: text("pause.done")}, nil
}

func (s overviewPages) resume(ctx context.Context, v *visit) (reply, error) {
	if err := s.live.Resume(ctx, v.seenPause(), v.form("release") == "yes", v.who()); err != nil {
		return reply{}, err
	}
	s.live.Changed(ctx)
	return reply{to: "/", notice: text("resume.done")}, nil
}

// seenPause returns the pause that the form's page has shown. A script sends none, and means any.
func (v *visit) seenPause() ops.SeenPause {
	if !v.r.Form.Has("seen") {
		return ops.SeenPause{Any: true}
	}
	at, _ := time.Parse(time.RFC3339Nano, v.form("seen")) // empty: none was in force
	return ops.SeenPause{At: at}
}

// who is the actor and the note that a form has sent.
func (v *visit) who() ops.Who { return ops.Who{Actor: v.actor, Note: clip(v.form("note"))} }

const maxNote = 500

// clip bounds a note.
func clip(note string) string {
	if r := []rune(note); len(r) > maxNote {
		return string(r[:maxNote])
	}
	return note
}

type auditData struct {
	Records                       []dlq.AuditRecord
	Actor, Action, Subject, Since string
	Actions                       []dlq.Action
	Limit                         int
}

// auditShown is how many records the page has.
const auditShown = 200

func (s overviewPages) audit(_ context.Context, v *visit) (reply, error) {
	data := auditData{
		Actor: v.form("actor"), Action: v.form("action"), Subject: v.form("subject"), Since: v.form("since"), Actions: dlq.Actions(), Limit: auditShown,
	}
	q := ops.AuditQuery{Actor: data.Actor, Subject: data.Subject, Limit: auditShown}
	if data.Action != "" {
		q.Actions = []dlq.Action{dlq.Action(data.Action)}
	}
	if data.Since != "" {
		var ok bool
		if q.Since, ok = times.Parse(data.Since, v.now); !ok {
			return reply{}, &inputError{text("input.time")}
		}
	}
	data.Records = s.live.Actions(q)
	return reply{page: "audit", title: text("audit.title"), data: data}, nil
}
