package cli

import (
	"context"
	"time"

	"membersync/cmd/internal/flags"
	"membersync/cmd/internal/ops"
)

func pauseCommand() command {
	var (
		o      order
		length time.Duration
	)
	return onCallCommand(command{
		name: "pause", short: "stop calling the CRM, on all instances",
		long: "Stop calling the CRM, on all instances.\n\n" +
			"They stop within 2 s, keep their partitions, and continue at resume or when the time is over.",
		example: `  membersync pause --for 2h --note "maintenance of the CRM"`,
		define: func(in *invocation, set *flags.Set) {
			set.Duration(&length, "for", time.Second, "how long (2h); until resume if not given")
			defineOrder(&o, set)
			outputFlag(in, set)
		},
	}, func(ctx context.Context, in *invocation, d *ops.Session) int {
		return pauseCalls(ctx, in, d, o, length)
	})
}

func resumeCommand() command {
	var (
		o       order
		release bool
	)
	return onCallCommand(command{
		name: "resume", short: "continue calling the CRM after a pause",
		long: "Continue calling the CRM after a pause.\n\n" +
			"With --dead-letter-held it also sends the events that the storm guard holds at that moment to the\n" +
			"dead-letter topic, where they can be inspected and redriven. Without it they stay held.",
		example: "  membersync resume",
		define: func(in *invocation, set *flags.Set) {
			set.Bool(&release, "dead-letter-held", "dead-letter what the storm guard holds")
			defineOrder(&o, set)
			outputFlag(in, set)
		},
	}, func(ctx context.Context, in *invocation, d *ops.Session) int {
		return resumeCalls(ctx, in, d, o, release)
	})
}

func stateShowCommand() command {
	var s subject
	return onCallCommand(command{
		name: "state show", args: "EMPLOYEE", maxArgs: 1, short: "show what Redis holds of one employee",
		long: `Show what Redis holds of one employee: the lease, the versions of the fields, and the outcome of
each event that the source topic still holds. Redis holds no values.`,
		example: "  membersync state show E1001",
		define: func(in *invocation, set *flags.Set) {
			defineSubject(&s, set)
			outputFlag(in, set)
		},
	}, func(ctx context.Context, in *invocation, d *ops.Session) int { return showState(ctx, in, d, s) })
}

func stateForgetCommand() command {
	var o forgetting
	return onCallCommand(command{
		name: "state forget", args: "EMPLOYEE...|--file FILE", maxArgs: maxIDs, short: "remove what Redis holds of employees",
		long: `Remove what Redis holds of employees: versions, digests, and the done marks of the events that
the source topic still holds. Whatever event comes next then counts as the newest, however old it
is. A lease stays.`,
		example: "  membersync state forget E1001 --dry-run\n\n" +
			"  # those who asked to be erased, one id of the HR system per line\n" +
			"  membersync state forget --file employees.txt",
		define: func(in *invocation, set *flags.Set) {
			defineSubject(&o.subject, set)
			set.Text(&o.file, "file", flags.Path, "employees, one id of the HR system per line")
			defineOrder(&o.order, set)
			outputFlag(in, set)
		},
	}, func(ctx context.Context, in *invocation, d *ops.Session) int { return forgetState(ctx, in, d, o) })
}

func stateRebuildCommand() command {
	var o order
	return onCallCommand(command{
		name: "state rebuild", short: "restore the state in Redis from the topics, without a call",
		long: `Restore the state in Redis from the topics, without a call.

It reads what the source and redrive topics still hold below the group's offsets, restores the
versions of the fields, and marks the events done: dead letters as dead-lettered, all others as
applied. It may run alongside the service, and again; what is known since then is kept. Under
another MEMBERSYNC_STATE_KEY than before, it runs only while no instance does. What is older than
the topics' retention stays forgotten.`,
		example: "  membersync state rebuild",
		define: func(in *invocation, set *flags.Set) {
			defineOrder(&o, set)
			outputFlag(in, set)
		},
	}, func(ctx context.Context, in *invocation, d *ops.Session) int { return rebuildState(ctx, in, d, o) })
}

func offsetsShowCommand() command {
	return onCallCommand(command{
		name: "offsets show", short: "show the group's offsets, its lag and its members",
		long: `Show the group's offsets in the source and redrive topics, its lag in records and time, its members,
and which partitions each of them has.

In JSON the first line is the group with its members, then a line for each partition.`,
		example: "  membersync offsets show",
		define:  outputFlag,
	}, func(ctx context.Context, in *invocation, d *ops.Session) int { return showOffsets(ctx, in, d) })
}

func offsetsResetCommand() command {
	var (
		o  order
		to ops.Position
	)
	return onCallCommand(command{
		name: "offsets reset", short: "set the group's offsets in the source topic, while no instance runs",
		long: `Set the group's offsets in the source topic, while no instance runs.

Records that come again do no harm: what is done is a duplicate, and the versions keep older values
back. Records that are skipped are not processed at all. The old offsets go to the audit topic
before, and the command that undoes it is printed.`,
		example: `  membersync offsets reset --to 2026-11-22T08:00:00Z --dry-run

  # one partition only
  membersync offsets reset --to 3:1042`,
		define: func(in *invocation, set *flags.Set) {
			defineTarget(&to, set, "to", "earliest, latest, a time (RFC 3339, or how long ago: 2h, 3d4h), or partition:offset. A time is that "+
				"of the first record to read, in all partitions; partition:offset is for that one only, and may be repeated (required)")
			defineOrder(&o, set)
			outputFlag(in, set)
		},
	}, func(ctx context.Context, in *invocation, d *ops.Session) int { return resetOffsets(ctx, in, d, o, to) })
}

func replayCommand() command {
	var o replaying
	return onCallCommand(command{
		name: "replay", short: "process a range of the source topic again, alongside the service",
		long: `Process a range of the source topic again, alongside the service.

Events that are done are skipped; the rest is processed as by the service, after its calls and under
the same limit. The end is fixed at the start. The command may be stopped: --resume continues where
it was. Any range covers the redrives of its events. Events whose dead letter is open or discarded
are skipped: use dlq redrive for those.

The plan (--dry-run) and the result count events. An event of send ends as applied (or superseded or
unchanged, if another event came first), one of done as duplicate, one of poison as dead_lettered.
An event whose dead letter is open counts as done. Offsets count records: one may hold several
events, or none.

With --reapply, for a CRM that was restored from a backup, done marks do not count, nor what the CRM
is known to hold; versions still keep older values back. The service sends again what it would leave
out as unchanged. The replay begins, and has its end, 5 s later.`,
		example: `  # what is done already, how many calls, how long?
  membersync replay --from 2026-11-22T08:00:00Z --dry-run

  # the CRM was restored from a backup
  membersync replay --from 2d --reapply --rate 50`,
		define: func(in *invocation, set *flags.Set) {
			defineTarget(&o.from, set, "from", "first record: a time (RFC 3339, or how long ago: 2h, 3d4h) for all partitions, partition:offset "+
				"for that one only (may be repeated), earliest or latest (required)")
			defineTarget(&o.to, set, "to", "the end, which is not processed: as --from; what the topic holds at the start if not given")
			set.Text(&o.employee, "employee", "string", "only the events of this id of the HR system")
			set.Bool(&o.reapply, "reapply", "process done events again: the CRM was restored from a backup")
			set.Count(&o.rate, "rate", "records per second; 0: as fast as possible")
			set.Count(&o.diffs, "diff", "with --dry-run: what would be sent for the first so many members, masked")
			set.Text(&o.resume, "resume", "string", "continue the replay with this id, which an earlier run printed")
			defineOrder(&o.order, set)
			outputFlag(in, set)
		},
	}, func(ctx context.Context, in *invocation, d *ops.Session) int { return startReplay(ctx, in, d, o) })
}

func explainCommand() command {
	var (
		s     subject
		since time.Time
	)
	return onCallCommand(command{
		name: "explain", args: "EMPLOYEE", maxArgs: 1, pages: func() bool { return true },
		short: "explain what the CRM shows for an employee",
		long: `Explain what the CRM shows for an employee: events in the source topic in the order of time with the
outcome of each, dead letters, versions, lease, what the next replay (also with --reapply) and
redrive would do, and at the end one sentence with the cause. No values are shown.

VERSION names the event that set a field, in 64 digits: epoch (6), order value (19), record time in
ms (13), partition (5), offset (14), index (3), and the redrive that edited its value (4). REDRIVE
is the number of the redrive with this OUTCOME; 0: the first delivery. A duplicate repeats an
earlier event. REPLAY and REAPPLY are what membersync replay, without and with --reapply, would do
with the event, in the words of its plan.`,
		example: "  membersync explain E1001 --since 3d",
		define: func(in *invocation, set *flags.Set) {
			set.Time(&since, "since", "read records from this time on: RFC 3339, or how long ago (2h, 3d4h); all that the topic holds if not given")
			defineSubject(&s, set)
			outputFlag(in, set)
		},
	}, func(ctx context.Context, in *invocation, d *ops.Session) int {
		return explainEmployee(ctx, in, d, s, since)
	})
}
