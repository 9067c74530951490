package web

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"membersync/cmd/internal/ops"
	"membersync/dlq"
)

// deadLetterPages are those of dead letters, their plans and redrives.
type deadLetterPages struct{ jobPages }

const (
	pageRows = 50
	// typedFrom is the number of dead letters above which it must be typed.
	typedFrom = 100
	// previewed is up to how many dead letters a plan looks at each one.
	previewed = 200
	// planTimeout bounds that look.
	planTimeout = 15 * time.Second
)

var errPlanTimeout = errors.New("not previewed within 15s")

// A bar is one hour of a chart.
type bar struct{ X, Y, Height int }

type groupRow struct {
	dlq.CatalogGroup
	Bars  []bar
	Label string // what the bars show, for screen readers
	Text  string // the cause in words
}

type listData struct {
	Search, Cause string
	Groups        []groupRow // if neither is given
	Items         []dlq.Item
	Total         int
	From, To      int
	Earlier, More template.URL // queries of other pages
	Query         template.URL // the query of the whole selection
	Reading       string
	LeftOut       int
	Hint          string
	Jobs          []jobView
	Interrupted   int // of these
}

func (s deadLetterPages) deadLetters(_ context.Context, v *visit) (reply, error) {
	data := listData{Search: v.form("q"), Cause: v.form("cause")}
	data.Jobs, data.Interrupted = s.jobList()
	readAt, items, leftOut := s.live.Catalog().State()
	if data.LeftOut = leftOut; readAt.IsZero() {
		data.Reading = text("deadletters.reading", number(items))
	}
	if data.Search == "" && data.Cause == "" {
		for _, g := range s.live.Catalog().Open(v.now) {
			data.Groups = append(data.Groups, groupRow{g, bars(g.Hours), dayLabel(g.Hours), causeText(g.First)})
			data.Total += g.Count
		}
		return reply{page: "dead-letters", title: text("deadletters.title"), data: data}, nil
	}
	q, err := parseSearch(data.Search, v.now)
	if err != nil {
		return reply{}, err
	}
	q.Cause = data.Cause
	page, _ := strconv.Atoi(v.form("page"))
	page = min(max(page, 0), 1<<20)
	data.Items, data.Total = s.live.Catalog().Find(q, page*pageRows, pageRows)
	data.From, data.To = page*pageRows+1, page*pageRows+len(data.Items)
	query := url.Values{"q": {data.Search}, "cause": {data.Cause}}
	data.Query = template.URL(query.Encode()) //nolint:gosec // encoded
	if page > 0 {
		query.Set("page", strconv.Itoa(page-1))
		data.Earlier = template.URL(query.Encode()) //nolint:gosec // encoded
	}
	if data.To < data.Total {
		query.Set("page", strconv.Itoa(page+1))
		data.More = template.URL(query.Encode()) //nolint:gosec // encoded
	}
	if len(data.Items) > 0 && data.Cause != "" {
		data.Hint = string(data.Items[0].DeadLetter.Reason)
	}
	return reply{page: "dead-letters", title: text("deadletters.title"), data: data}, nil
}

// bars are those of the hours with failures.
func bars(hours [24]int) (all []bar) {
	const width, height = 5, 24
	most := 1
	for _, n := range hours {
		most = max(most, n)
	}
	for i, n := range hours {
		if n > 0 {
			h := max(height*n/most, 2)
			all = append(all, bar{i * width, height - h, h})
		}
	}
	return all
}

// dayLabel says in words what the bars of a day show.
func dayLabel(hours [24]int) string {
	total := 0
	for _, n := range hours {
		total += n
	}
	return text("chart.day", number(total), number(slices.Max(hours[:])), number(hours[len(hours)-1]))
}

// causeText says in words what dead letters of a cause have in common.
func causeText(d dlq.DeadLetter) string { return text("reason." + string(d.Reason)) }

// export streams the selected dead letters as the command dlq export prints them: masked.
func (s deadLetterPages) export(ctx context.Context, v *visit) error {
	q, err := parseSearch(v.form("q"), v.now)
	if err != nil {
		return err
	}
	q.Cause = v.form("cause")
	ids := s.live.Catalog().FindIDs(q)
	if len(ids) == 0 {
		return &inputError{text("select.none")}
	}
	index, err := s.live.Index(ctx, dlq.Query{IDs: ids}, nil)
	if err != nil {
		return err
	}
	_ = http.NewResponseController(v.w).SetWriteDeadline(time.Time{}) // it takes as long as it is large
	v.w.Header().Set("Content-Type", "application/x-ndjson")
	v.w.Header().Set("Content-Disposition", `attachment; filename="dead-letters.ndjson"`)
	out := json.NewEncoder(v.w)
	for view, err := range s.live.Export(ctx, index, false, v.who()) {
		if err != nil {
			continue // removed by retention since
		}
		if err := out.Encode(view); err != nil {
			return nil // the visitor has gone
		}
	}
	return nil
}

// streamed answers a visit that writes its own response, unless it fails.
func (s deadLetterPages) streamed(write func(context.Context, *visit) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := s.visitor(w, r, viewer)
		if v == nil {
			return
		}
		if err := write(r.Context(), v); err != nil {
			s.answer(r.Context(), v, reply{}, err)
		}
	})
}

// A selection is what a form has chosen: ids, or all that a search found up to a moment.
type selection struct {
	IDs           []string
	Search, Cause string
	Until         string // RFC 3339 with nanoseconds; failures since then are not selected
	All           bool
}

func (s deadLetterPages) selected(v *visit) (selection, []string, error) {
	sel := selection{Search: v.form("q"), Cause: v.form("cause"), All: v.form("scope") == "all", Until: v.form("until")}
	if !sel.All {
		sel.IDs = v.r.Form["id"]
		if len(sel.IDs) == 0 {
			return sel, nil, &inputError{text("select.none")}
		}
		return sel, s.live.Catalog().FindIDs(dlq.Query{IDs: sel.IDs, States: []dlq.State{dlq.StateOpen, dlq.StateRedriving}}), nil
	}
	q, err := parseSearch(sel.Search, v.now)
	if err != nil {
		return sel, nil, err
	}
	q.Cause = sel.Cause
	if sel.Until == "" {
		sel.Until = v.now.UTC().Format(time.RFC3339Nano)
	}
	until, err := time.Parse(time.RFC3339Nano, sel.Until)
	if err != nil {
		return sel, nil, &inputError{text("input.time")}
	}
	if q.Until.IsZero() || until.Before(q.Until) {
		q.Until = until
	}
	return sel, s.live.Catalog().FindIDs(q), nil
}

type planData struct {
	selection
	Kind     string // redrive or discard
	Count    int
	Set      string // of what the plan is
	Calls    int
	Duration time.Duration
	Preview  *ops.RedrivePlan // nil: too many
	Results  []ops.ItemResult // of the preview
	Rejected bool             // an edited value would send nothing
	Typed    bool             // the count must be typed
	Problem  string
	Value    string // an edited value; empty: it is not edited
	Edited   bool
	Note     string
	Canary   string
	Rate     string
}

// The kinds of jobs.
const (
	kindRedrive = "redrive"
	kindDiscard = "discard"
)

func (s deadLetterPages) plan(ctx context.Context, v *visit) (reply, error) {
	if err := s.refresh(ctx); err != nil {
		return reply{}, err
	}
	sel, ids, err := s.selected(v)
	if err != nil {
		return reply{}, err
	}
	return s.showPlan(ctx, v, planData{selection: sel, Kind: v.form("kind")}, ids)
}

// refresh reads the topics to their ends, so that a plan is of what is there now.
func (s deadLetterPages) refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, recordsTimeout, errRecordsTimeout)
	defer cancel()
	if err := s.live.Catalog().Refresh(ctx); err != nil {
		return fmt.Errorf("%s: %w", text("plan.unread"), err)
	}
	return nil
}

// showPlan shows what would be done.
func (s deadLetterPages) showPlan(ctx context.Context, v *visit, p planData, ids []string) (reply, error) {
	if err := s.complete(ctx, v, &p, ids); err != nil {
		return reply{}, err
	}
	return planPage(p), nil
}

func planPage(p planData) reply {
	status := http.StatusOK
	if p.Problem != "" || p.Rejected {
		status = http.StatusUnprocessableEntity
	}
	return reply{page: "plan", title: text("plan.title." + p.Kind), data: p, status: status}
}

// complete adds to a plan what would be done.
func (s deadLetterPages) complete(ctx context.Context, v *visit, p *planData, ids []string) error {
	if p.Kind != kindDiscard {
		p.Kind = kindRedrive
	}
	p.Note, p.Canary, p.Rate = v.form("note"), v.form("canary"), v.form("rate")
	if len(ids) == 0 {
		return &inputError{text("select.none")}
	}
	if !p.All {
		p.IDs = ids
	}
	p.Count, p.Calls, p.Typed, p.Set = len(ids), len(ids), len(ids) > typedFrom, setOf(s.live.Items(ids))
	if p.Kind == kindRedrive && len(ids) <= previewed {
		if err := s.preview(ctx, v, p, ids); err != nil {
			return err
		}
	}
	p.Duration = s.live.Control.UnderLimit(p.Calls)
	return nil
}

// preview looks at what each dead letter would do.
func (s deadLetterPages) preview(ctx context.Context, v *visit, p *planData, ids []string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, planTimeout, errPlanTimeout)
	defer cancel()
	run, err := s.live.NewRedrive(ctx, ops.RedriveRequest{Query: dlq.Query{IDs: ids}, Who: v.who(), Value: []byte(p.Value), Edited: p.Edited})
	if err != nil {
		return err
	}
	plan, err := run.Preview(ctx, func(r ops.ItemResult) { p.Results = append(p.Results, r) })
	if err != nil {
		return err
	}
	p.Preview, p.Calls = &plan, plan.Calls
	p.Rejected = p.Edited && plan.Calls == 0
	return nil
}

// setOf identifies dead letters in the state in which a plan shows them: a job is what its plan
// showed, and not another selection of the same size.
func setOf(items []dlq.JobItem) string {
	lines := make([]string, len(items))
	for n, i := range items {
		lines[n] = i.String()
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	return hex.EncodeToString(sum[:16])
}

// startJob carries out a plan that was confirmed.
func (s deadLetterPages) startJob(ctx context.Context, v *visit) (reply, error) {
	sel, ids, err := s.selected(v)
	if err != nil {
		return reply{}, err
	}
	p := planData{selection: sel, Kind: v.form("kind"), Edited: v.form("edited") == "yes", Value: unix(v.r.FormValue("value"))}
	canary, okCanary := count(v.form("canary"))
	rate, okRate := count(v.form("rate"))
	items := s.live.Items(ids)
	switch {
	case strconv.Itoa(len(ids)) != v.form("count"), setOf(items) != v.form("set"):
		p.Problem = text("plan.changed", number(len(ids)))
	case len(ids) > typedFrom && v.form("typed") != strconv.Itoa(len(ids)):
		p.Problem = text("plan.typed", len(ids))
	case p.Kind == kindDiscard && v.form("note") == "":
		p.Problem = text("plan.note")
	case !okCanary || !okRate:
		p.Problem = text("plan.number")
	}
	if p.Edited && p.Problem == "" {
		if err := s.complete(ctx, v, &p, ids); err != nil {
			return reply{}, err
		}
	}
	if p.Problem != "" || p.Rejected {
		return s.showPlan(ctx, v, p, ids)
	}
	if p.Edited {
		j := newJob(kindRedrive, v.who(), ids, v.now)
		j.run = s.editedJob(j, ops.RedriveRequest{
			Query: dlq.Query{IDs: ids}, Who: j.Who, Value: []byte(p.Value), Edited: true, Planned: items,
		})
		if !s.jobs.add(j) {
			return reply{}, &ops.RefusedError{Reason: text("job.full")}
		}
		return reply{to: "/jobs/" + j.ID}, nil
	}
	if p.Kind != kindDiscard {
		p.Kind = kindRedrive
	}
	if !s.jobs.hasRoom(p.Kind) {
		return reply{}, &ops.RefusedError{Reason: text("job.full")}
	}
	run, err := s.live.NewJob(ctx, dlq.Action(p.Kind), items, canary, rate, v.who())
	if err != nil {
		return reply{}, err
	}
	return s.start(ctx, run, v.now)
}

// count reads a number from 0; empty is 0.
func count(given string) (int, bool) {
	if given == "" {
		return 0, true
	}
	n, err := strconv.Atoi(given)
	return n, err == nil && n >= 0
}
