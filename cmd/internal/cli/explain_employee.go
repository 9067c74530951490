package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"membersync/consumer"
	"membersync/consumer/preview"
	"membersync/dedupe"
	"membersync/dlq"
	"membersync/dlq/partlog"
	"membersync/mapper"
)

// The json form of explain.
type whyJSON struct {
	stateJSON
	DeadLetters []itemJSON `json:"dead_letters"`
	Next        []nextJSON `json:"next"`
	Cause       cause      `json:"cause"`
	Sentence    string     `json:"sentence"`
}

// A nextJSON is what a redrive of a dead letter would do, or that one is under way.
type nextJSON struct {
	ID   string `json:"id"`
	What string `json:"what"`
}

// foresee adds to each event its outcome in a replay. The index is nil without a dead-letter topic.
func (d *desk) foresee(v memberView, events []eventStateJSON, index *dlq.Index, lost bool) {
	versions := versionsOf(v.state)
	for i, e := range v.events {
		replay, reapply := fateRefused, fateRefused
		rec := mapper.Record{Topic: d.cfg.Kafka.Topic, Partition: e.Partition, Offset: e.Offset, Time: e.Time}
		skipped := index != nil && index.ReplaySkips(preview.DeliveryOf(d.cfg.Kafka.Topic, preview.Redrive{Record: rec}, e.Result))
		failed := v.done[i].Done && v.done[i].Outcome == string(consumer.DeadLettered)
		switch f := newForeseen(v.ids[i], e.Result); {
		case e.Result.Event.Ignored != "":
			replay, reapply = fateIgnored, fateIgnored
		case !lost:
			replay, reapply = f.fate(skipped || v.done[i].Done, versions), f.fate(skipped || failed, versions)
		}
		events[i].Replay, events[i].Reapply = replay, reapply
	}
}

// nextOf is what a redrive of a dead letter would do; empty: it needs none.
func (d *desk) nextOf(ctx context.Context, i dlq.Item, lost bool) string {
	switch {
	case i.State == dlq.StateRedriving:
		return fmt.Sprintf("under way since %s, as number %d", timestamp(i.RequestedAt), i.Number)
	case i.State != dlq.StateOpen:
		return ""
	case lost:
		return errStateLost.Error()
	}
	return (&redriveRun{desk: d}).foresee(ctx, i)
}

func (in *invocation) explainEmployee(ctx context.Context, d *desk, s subject, since time.Time) int {
	if !s.take(in) {
		return exitUsage
	}
	spans, err := d.spansSince(ctx, since)
	if err != nil {
		return in.failed(ctx, err)
	}
	v, err := d.lookIn(ctx, s, spans)
	if err != nil && !errors.Is(err, errNoEvents) {
		return in.failed(ctx, err)
	}
	letters, index, err := in.lettersOf(ctx, d, s.employee, v.unread())
	if err != nil {
		return in.failed(ctx, err)
	}
	e, err := d.evidence(ctx, s.employee, v, letters)
	if err != nil {
		return in.failed(ctx, err)
	}
	view := whyJSON{stateJSON: v.view(s.employee), DeadLetters: []itemJSON{}, Next: []nextJSON{}}
	d.foresee(v, view.Events, index, e.lost)
	for _, i := range letters {
		view.DeadLetters = append(view.DeadLetters, itemOf(i))
		if what := d.nextOf(ctx, i, e.lost); what != "" {
			view.Next = append(view.Next, nextJSON{i.ID, what})
		}
	}
	view.Cause, view.Sentence = e.why()
	if in.output == outputJSON {
		return in.printJSON(view)
	}
	in.print(view.text(index))
	return exitDone
}

// spansSince are the stretches of the source topic from a time on; the zero time: all of it.
func (d *desk) spansSince(ctx context.Context, since time.Time) (map[int]partlog.Range, error) {
	spans, err := d.spans(ctx, d.cfg.Kafka.Topic)
	if err != nil || since.IsZero() {
		return spans, err
	}
	from, err := partlog.New(d.parts.Kafka, pageBytes, pageWait).Since(ctx, d.cfg.Kafka.Topic, since)
	if err != nil {
		return nil, err
	}
	for p, span := range spans {
		first, ok := from[p]
		if !ok {
			first = span.End
		}
		spans[p] = partlog.Range{First: max(first, span.First), End: span.End}
	}
	return spans, nil
}

// maxExplained bounds the dead letters that are explained: the latest.
const maxExplained = 50

// unread are the ids of the dead letters, if there are any, of records that could not be read: these name no employee.
func (v memberView) unread() (ids []string) {
	for _, e := range v.events {
		if f := e.Result.Fault; f != nil && f.Whole {
			ids = append(ids, dlq.DeadLetter{Source: dlq.Source{Partition: e.Partition, Offset: e.Offset, Timestamp: e.Time}, Whole: true}.ID())
		}
	}
	return ids
}

// lettersOf are the dead letters of an employee, and those of these ids, by time. The index is that
// of the whole topic.
func (in *invocation) lettersOf(ctx context.Context, d *desk, employee string, ids []string) ([]dlq.Item, *dlq.Index, error) {
	letters, index, err := in.lettersBy(ctx, d, dlq.Query{Employee: employee})
	if err != nil || len(ids) == 0 {
		return letters, index, err
	}
	unread, _, err := in.lettersBy(ctx, d, dlq.Query{IDs: ids})
	for _, i := range unread {
		if i.DeadLetter.EmployeeID != employee { // otherwise it is among the others
			letters = append(letters, i)
		}
	}
	slices.SortStableFunc(letters, func(a, b dlq.Item) int { return a.DeadLetter.FailedAt.Compare(b.DeadLetter.FailedAt) })
	return letters, index, err
}

func (in *invocation) lettersBy(ctx context.Context, d *desk, q dlq.Query) ([]dlq.Item, *dlq.Index, error) {
	survey, err := in.survey(ctx, d, q, nil)
	if _, missing := errors.AsType[*dlq.MissingTopicError](err); missing {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	var letters []dlq.Item
	for i, err := range d.reader.Items(ctx, survey, maxExplained, true) {
		if err != nil && i.ID == "" {
			return nil, nil, err
		}
		if err == nil {
			letters = append(letters, i)
		}
	}
	return letters, survey, nil
}

// evidence gathers what the cause is told from.
func (d *desk) evidence(ctx context.Context, employee string, v memberView, letters []dlq.Item) (e evidence, err error) {
	e = evidence{employee: employee, latest: newest(v.events), leased: v.state.Leased, now: time.Now()}
	if e.lost, err = d.stateLost(ctx); err != nil {
		return e, err
	}
	if e.otherKey, err = d.isOtherKey(ctx); err != nil {
		return e, err
	}
	for _, f := range v.state.Fields {
		if f.Pending != "" {
			e.pending = append(e.pending, f.Name)
		}
	}
	if e.paused, err = d.paused(ctx); err != nil || e.latest == nil {
		return e, err
	}
	beats, err := d.heartbeats(ctx)
	if err != nil {
		return e, err
	}
	e.storm = slices.ContainsFunc(beats, func(b dedupe.Heartbeat) bool { return b.Storm })
	e.done = v.done[slices.IndexFunc(v.events, e.latest.isAlso)]
	for _, i := range letters {
		switch {
		case e.latest.isOf(i.DeadLetter):
			e.item = &i
		case i.State == dlq.StateOpen && e.earlier == nil:
			e.earlier = &i
		}
	}
	group, err := d.group(ctx)
	if err != nil {
		return e, err
	}
	e.members = len(group.Members)
	stored, err := d.committed(ctx, d.cfg.Kafka.Topic)
	e.committed = stored[e.latest.Partition]
	e.behind = max(e.latest.Offset-max(e.committed, 0), 0)
	return e, err
}

// text is the table form. The index is nil if there are no dead letters.
func (x whyJSON) text(index *dlq.Index) string {
	var b strings.Builder
	b.WriteString(x.stateJSON.text())
	b.WriteString("\n" + itemTable().heading())
	for _, i := range x.DeadLetters {
		failed := ""
		if i.FailedAt != nil {
			failed = *i.FailedAt
		}
		b.WriteString(itemTable().row(index.ShortID(i.ID), string(i.State), string(i.Reason), i.EmployeeID, i.CRMCode, fmt.Sprint(i.Redrives), failed, i.Error))
	}
	for _, n := range x.Next {
		fmt.Fprintf(&b, "\na redrive of %s: %s\n", index.ShortID(n.ID), printable(n.What))
	}
	fmt.Fprintf(&b, "\nCAUSE  %s\n%s\n", x.Cause, x.Sentence)
	return b.String()
}
