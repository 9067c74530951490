package cli

import (
	"context"
	"fmt"

	"membersync/cmd/internal/flags"
	"membersync/cmd/internal/ops"
	"membersync/cmd/internal/texts"
	"membersync/dlq"
)

// defaultAudits is how many audit records are printed unless a limit is given.
const defaultAudits = 1000

func auditCommand() command {
	q := ops.AuditQuery{Limit: defaultAudits}
	return onCallCommand(command{
		name: "audit", pages: func() bool { return true }, short: "show who did what",
		long: `Show who did what: redrives and their results, discards, reveals, pauses, replays, and changes of
offsets and state, by time. Actors are recorded as given, unverified. No values of member fields are
recorded.`,
		example: `  # what happened last night
  membersync audit --since 12h

  membersync audit --action pause,resume --actor sample@host`,
		define: func(in *invocation, set *flags.Set) {
			set.Time(&q.Since, "since", "from this time on: RFC 3339, or how long ago (2h, 3d4h); all that the topic holds if not given")
			set.Text(&q.Actor, "actor", "string", "only what this one did")
			actions := wordsOf(dlq.Actions())
			set.List("action", "", "only these: "+flags.Alternatives(actions), actions, func(word string) {
				q.Actions = append(q.Actions, dlq.Action(word))
			})
			set.Text(&q.Subject, "subject", "string", "only about this: the id of a dead letter (full or short), a group, an employee")
			set.Count(&q.Limit, "limit", "print the latest so many; 0: all")
			outputFlag(in, set)
		},
	}, func(ctx context.Context, in *invocation, d *ops.Session) int { return showAudit(ctx, in, d, q) })
}

func showAudit(ctx context.Context, in *invocation, d *ops.Session, q ops.AuditQuery) int {
	records, more, err := d.Audit(ctx, q)
	if err != nil {
		return in.failed(ctx, err)
	}
	t := table{{"AT", 24}, {"ACTOR", 20}, {"ACTION", 14}, {"RESULT", 13}, {"SUBJECT", 24}, {"NOTE", 0}}
	if in.output == outputTable {
		in.print(t.heading())
	}
	for _, a := range records {
		if in.output == outputTable {
			in.print(t.row(ops.Time{Time: a.At}.String(), a.Actor, string(a.Action), a.Result, a.Subject, a.Note))
			continue
		}
		if status := in.printJSON(a); status != exitDone {
			return status
		}
	}
	if more > 0 {
		in.complain(fmt.Sprintf("%s left out; --limit 0 prints all", texts.Plural(more, "older record")))
	}
	return exitDone
}
