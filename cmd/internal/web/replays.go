package web

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"membersync/cmd/internal/ops"
)

// replayPages are those of replays.
type replayPages struct{ *Server }

type replaysData struct {
	All                         []ops.ReplayState
	From, To, Employee, Reapply string
	Plan                        *ops.ReplayPlan
	Fields                      []resultCount
	Members                     []memberRow
	Chart                       rangeChart
	Duration                    time.Duration
	Command                     string
	Problem, ProblemOfList      string
}

// diffsShown is how many members a plan shows.
const diffsShown = 20

// A memberRow is what a replay would send for one member, masked.
type memberRow struct {
	Employee string
	Fields   []fieldValue
}

type fieldValue struct{ Name, Value string }

// A rangeChart is the lag over time, to choose a range from.
type rangeChart struct {
	chart
	From, To time.Time
}

// newRangeChart returns the chart of the samples, spaced by time.
func newRangeChart(samples []ops.Sample) (c rangeChart) {
	if len(samples) < 2 {
		return c
	}
	c.From, c.To = samples[0].At, samples[len(samples)-1].At
	span := c.To.Sub(c.From).Seconds()
	if span <= 0 {
		return c
	}
	most := int64(1)
	for _, one := range samples {
		most = max(most, one.Lag)
	}
	var b strings.Builder
	for _, one := range samples {
		x := chartWidth * one.At.Sub(c.From).Seconds() / span
		y := chartHeight - chartMargin - (chartHeight-2*chartMargin)*float64(one.Lag)/float64(most)
		fmt.Fprintf(&b, "%.1f,%.1f ", x, y)
	}
	c.Points, c.Label = strings.TrimSpace(b.String()), text("replays.chart.label", clock(c.From), clock(c.To), counted(most, "record"))
	return c
}

// clock writes the time of a day in UTC.
func clock(at time.Time) string { return at.UTC().Format("15:04:05 UTC") }

func (s replayPages) replays(ctx context.Context, v *visit) (reply, error) {
	return s.showReplays(ctx, v, replaysData{From: "2h"})
}

func (s replayPages) showReplays(ctx context.Context, _ *visit, data replaysData) (reply, error) {
	listCtx, cancel := context.WithTimeoutCause(ctx, recordsTimeout, errRecordsTimeout)
	defer cancel()
	all, err := s.live.Replays(listCtx)
	if err != nil {
		data.ProblemOfList = text("replays.problem", err)
	}
	data.Chart = newRangeChart(s.live.Samples())
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
func (s replayPages) planReplay(ctx context.Context, v *visit) (reply, error) {
	data := replaysData{From: v.form("from"), To: v.form("to"), Employee: v.form("employee"), Reapply: v.form("reapply")}
	request := ops.ReplayRequest{Employee: data.Employee, Reapply: data.Reapply == "yes", Diffs: diffsShown, Who: v.who()}
	var okFrom, okTo bool
	request.From, okFrom = parsePosition(data.From, v.now)
	request.To, okTo = parsePosition(data.To, v.now)
	if !okFrom || !okTo && data.To != "" {
		data.Problem = text("input.position")
		return s.showReplays(ctx, v, data)
	}
	run, err := s.live.NewReplay(ctx, request)
	if err != nil {
		data.Problem = err.Error()
		return s.showReplays(ctx, v, data)
	}
	plan, err := run.Preview(ctx, func(int) {})
	if err != nil {
		data.Problem = err.Error()
		return s.showReplays(ctx, v, data)
	}
	data.Plan, data.Duration = &plan, time.Duration(plan.Seconds)*time.Second
	for name, n := range plan.Fields {
		data.Fields = append(data.Fields, resultCount{name, int(n)})
	}
	slices.SortFunc(data.Fields, func(a, b resultCount) int { return strings.Compare(a.Result, b.Result) })
	for _, m := range plan.Members {
		row := memberRow{Employee: m.EmployeeID}
		for name, value := range m.Fields {
			row.Fields = append(row.Fields, fieldValue{name, value})
		}
		slices.SortFunc(row.Fields, func(a, b fieldValue) int { return strings.Compare(a.Name, b.Name) })
		data.Members = append(data.Members, row)
	}
	words := append([]string{"replay"}, rangeFlags(data.From, data.To)...)
	if data.Employee != "" {
		words = append(words, "--employee", data.Employee)
	}
	if request.Reapply {
		words = append(words, "--reapply")
	}
	data.Command = command(words...)
	return s.showReplays(ctx, v, data)
}

// parsePosition reads where a range begins or ends: a time, earliest, latest, or offsets with
// blanks between them.
func parsePosition(given string, now time.Time) (p ops.Position, ok bool) {
	for word := range strings.FieldsSeq(given) {
		if !p.Add(word, now) {
			return p, false
		}
	}
	return p, p.IsGiven()
}

// rangeFlags are those of the command for what the page calls from and to.
func rangeFlags(from, to string) (words []string) {
	for word := range strings.FieldsSeq(from) {
		words = append(words, "--from", word)
	}
	for word := range strings.FieldsSeq(to) {
		words = append(words, "--to", word)
	}
	return words
}

func (s replayPages) cancelReplay(ctx context.Context, v *visit) (reply, error) {
	if err := s.live.CancelReplay(ctx, v.r.PathValue("id"), v.who()); err != nil {
		return reply{}, err
	}
	s.live.Changed(ctx)
	return reply{to: "/replays", notice: text("replays.canceled")}, nil
}
