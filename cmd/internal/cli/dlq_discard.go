package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"membersync/dlq"
)

// discarding is what dlq discard is asked for.
type discarding struct {
	filter
	order
	all bool
}

// maxIDs bounds the ids of a command line.
const maxIDs = 10_000

// choose completes the filter by ids or --all, and refuses a choice that is none.
func (in *invocation) choose(f *filter, all bool, states ...dlq.State) bool {
	f.query.IDs = in.takeIDs()
	given := 0
	for _, one := range []bool{len(f.query.IDs) > 0, !f.isEmpty(), all} {
		if one {
			given++
		}
	}
	if given != 1 && len(in.faults) == 0 {
		in.fault("", "say which: ids, filters or --all, and only one of them")
	}
	if len(f.query.IDs) == 0 {
		f.query.States = states
	}
	return !in.refuse(nil)
}

func (in *invocation) discard(ctx context.Context, d *desk, o discarding) int {
	if !in.choose(&o.filter, o.all, dlq.StateOpen) {
		return exitUsage
	}
	s, err := in.survey(ctx, d, o.query, groupings()["reason"])
	if err != nil {
		return in.failed(ctx, err)
	}
	total := s.Selected()
	if !o.dryRun {
		in.say("to discard: " + planOf(s, time.Now()))
		if total+len(s.Missing()) == 0 {
			return exitDone
		}
		if !in.goesAhead(o.order, "Discard?") {
			return exitFailed
		}
	}
	r := in.newResults(s)
	r.dryRun = o.dryRun
	for item, err := range d.reader.Items(ctx, s, 0, false) {
		if ctx.Err() != nil || err != nil && item.ID == "" {
			r.end()
			return in.failed(ctx, errors.Join(err, ctx.Err()))
		}
		r.add(item.ID, func() (string, error) { return d.discard(ctx, item, err, in.who(o.order), o) })
	}
	return r.end()
}

// planOf says how many items of each group are concerned.
func planOf(s *dlq.Index, now time.Time) string {
	var b strings.Builder
	b.WriteString(plural(s.Selected(), "dead letter") + "\n")
	for _, g := range s.Groups() {
		fmt.Fprintf(&b, "  %-18s %6d  oldest %s\n", printable(g.Name), g.Count, age(g.Oldest, now))
	}
	return b.String()
}

// discard discards one item and returns what came of it.
func (d *desk) discard(ctx context.Context, i dlq.Item, err error, actor string, o discarding) (string, error) {
	switch {
	case err != nil:
		return "", err
	case i.State == dlq.StateDiscarded:
		return "discarded before", nil
	case i.State != dlq.StateOpen:
		return "", &refusal{"it is " + string(i.State) + ", not open"}
	case o.dryRun:
		return "would discard", nil
	}
	err = d.audit.Write(ctx, dlq.AuditRecord{
		Actor: actor, Action: dlq.ActionDiscard, Subject: i.ID, Note: o.note, Result: dlq.ResultDone,
		Detail: dlq.Detail{Number: i.Number},
	})
	return "discarded", err
}

// A refusal is why nothing was done for an item.
type refusal struct{ why string }

// Error says why.
func (r *refusal) Error() string { return r.why }
