package cli

import (
	"context"
	"strings"

	"membersync/cmd/internal/flags"
	"membersync/cmd/internal/ops"
	"membersync/dlq"
)

func dlqListCommand() command {
	var l listing
	return onCallCommand(command{
		name: "dlq list", states: true, pages: func() bool { return !l.follow },
		short: "list dead letters, the latest failure last",
		long: "List dead letters, the latest failure last.\n\n" +
			"A dead letter is listed once, however often it failed. Its redrives are those that were sent; the\n" +
			"last one may be under way.",
		example: `  # how many there are, and how old the oldest is
  membersync dlq list --group-by reason

  # those of the last two hours, and those to come
  membersync dlq list --reason crm_not_found --since 2h --follow`,
		define: func(in *invocation, set *flags.Set) {
			defineFilter(&l.filter, set)
			defineState(&l.filter, set, dlq.StateOpen)
			defineGroupBy(&l, set)
			set.Count(&l.limit, "limit", "list the latest so many; 0: all")
			set.Bool(&l.follow, "follow", "continue with those to come, until Ctrl-C")
			outputFlag(in, set)
		},
		check: func(in *invocation) {
			const why = "is for a list, not for --group-by"
			if l.groupBy != "" && l.limit > 0 {
				in.fault("--limit", why)
			}
			if l.groupBy != "" && l.follow {
				in.fault("--follow", why)
			}
		},
	}, func(ctx context.Context, in *invocation, d *ops.Session) int { return listDeadLetters(ctx, in, d, l) })
}

func dlqShowCommand() command {
	var o showing
	return onCallCommand(command{
		name: "dlq show", states: true, args: "ID", maxArgs: 1,
		short: "show one dead letter: facts, history, payload, and what it would do now",
		long: `Show one dead letter: facts, history, payload, and what it would do now.

Personal data is masked. "Fields with newer values" says for how many fields newer events have
applied a value since: all, some or none. A redrive sends only the others.`,
		example: `  membersync dlq show 3:1042:0

  # with personal data; the audit topic records it
  membersync dlq show 3:1042:0 --reveal --note "ticket 4711"`,
		define: func(in *invocation, set *flags.Set) {
			defineShowing(&o, set)
			outputFlag(in, set)
		},
		check: func(in *invocation) { checkShowing(in, &o) },
	}, func(ctx context.Context, in *invocation, d *ops.Session) int { return showDeadLetter(ctx, in, d, o) })
}

func dlqExportCommand() command {
	var (
		f filter
		o showing
	)
	return onCallCommand(command{
		name: "dlq export", states: true, args: "[ID...|filters]", maxArgs: maxIDs,
		short: "print dead letters with their payloads, one JSON object per line",
		long: `Print dead letters with their payloads, one JSON object per line.

Personal data is masked. The names are those of dlq show -o json, without history and now. With
--reveal, a payload that is not JSON is printed as base64 in value.`,
		example: "  membersync dlq export --state all > dead-letters.ndjson",
		define: func(in *invocation, set *flags.Set) {
			in.output = outputJSON
			defineFilter(&f, set)
			defineState(&f, set, dlq.StateOpen)
			defineShowing(&o, set)
			outputFlag(in, set)
		},
		check: func(in *invocation) { checkShowing(in, &o) },
	}, func(ctx context.Context, in *invocation, d *ops.Session) int {
		return exportDeadLetters(ctx, in, d, f, o)
	})
}

func dlqRedriveCommand() command {
	var o redriving
	return onCallCommand(command{
		name: "dlq redrive", states: true, args: "ID...|filters|--all", maxArgs: maxIDs,
		short: "process dead letters again, and report the result of each",
		long: `Process dead letters again, and report the result of each.

They go to the redrive topic, never to the source topic, and keep their versions: what newer events
have applied stays. Filters and --all choose among the open ones, and those that an earlier run
recorded but did not send. The command may be stopped at any time: run it again to resume; it sends
nothing twice. Exit status: 3 when some failed again, 1 when all did.`,
		example: `  # what each would do, and how long it takes
  membersync dlq redrive --reason crm_not_found --rate 5 --dry-run

  membersync dlq redrive --reason crm_not_found --rate 5 --note "department created"

  # the first 5 alone; the rest only if none of them fails again
  membersync dlq redrive --reason crm_not_found --canary 5

  # a scheduled job
  membersync dlq redrive --all --older-than 1h --max-redrives 3 --yes

  # with an edited value
  membersync dlq redrive 3:1042:0 --value-file fixed.json`,
		define: func(in *invocation, set *flags.Set) {
			defineFilter(&o.filter, set)
			set.Bool(&o.all, "all", "every open dead letter")
			set.Count(&o.rate, "rate", "so many per second; 0: as fast as possible")
			set.Count(&o.canary, "canary", "redrive the first so many alone, and the rest only if none of them fails again; 0: all at once")
			set.Duration(&o.olderThan, "older-than", 0, "only those whose latest failure is so long ago (1h, 3d4h)")
			set.Count(&o.most, "max-redrives", "leave out those that were redriven so often already; 0: none")
			set.Text(&o.valueFile, "value-file", flags.Path, "for one id: process the value in this file instead; if that fails, the next dead letter has it")
			set.Duration(&o.wait, "wait", 0, "wait so long for results at most (10m); 0: until all have arrived")
			defineOrder(&o.order, set)
			outputFlag(in, set)
		},
		check: func(in *invocation) {
			if o.olderThan > 0 && !o.query.Until.IsZero() {
				in.fault("--older-than", "and --until exclude each other")
			}
		},
	}, func(ctx context.Context, in *invocation, d *ops.Session) int {
		return redriveDeadLetters(ctx, in, d, o)
	})
}

func dlqDiscardCommand() command {
	var o discarding
	return onCallCommand(command{
		name: "dlq discard", states: true, args: "ID...|filters|--all", maxArgs: maxIDs,
		short: "close dead letters without sending them",
		long: `Close dead letters without sending them.

Their state becomes discarded; they stay in the topic. Filters and --all choose among the open ones.
A redrive opens a discarded one again. --note is required, except in a dry run.`,
		example: `  membersync dlq discard 3:1042:0 --note "left the company"`,
		define: func(in *invocation, set *flags.Set) {
			defineFilter(&o.filter, set)
			set.Bool(&o.all, "all", "every open dead letter")
			defineOrder(&o.order, set)
			outputFlag(in, set)
		},
		check: func(in *invocation) {
			if strings.TrimSpace(o.note) == "" && !o.dryRun {
				in.fault("", "required flag: "+wantNote)
			}
		},
	}, func(ctx context.Context, in *invocation, d *ops.Session) int {
		return discardDeadLetters(ctx, in, d, o)
	})
}
