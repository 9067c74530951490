package cli

import (
	"context"
	"fmt"

	"membersync/cmd/internal/config"
	"membersync/cmd/internal/flags"
	"membersync/cmd/internal/interrupt"
)

func runCommand() command {
	return command{
		name: "run", short: "run the service until SIGTERM",
		long: `Run the service until SIGTERM.

Until it has reached Kafka and Redis and has joined its group, it is alive and not ready. What is
away later pauses the calls: it stays ready, and /readyz names the cause. A missing source topic,
and credentials that Kafka or Redis refuse, end it with status 2. On SIGTERM or Ctrl-C it drains; a
second signal ends it at once.

With --dry-run nothing is written to the CRM, Redis or a topic, except the record of --show-values;
Redis is asked only for lookups. Each call and dead letter that there would be is printed, and at
the end a summary. Events are read in a consumer group of its own, from where a new group begins
(--kafka-auto-offset-reset); redrives are left to the service. Every call counts as answered at
once: under the limit, more events would wait and fold into one call. In memory are kept the version
of each field of each member, some 150 bytes for each, and the ids of the latest 450,000 to 900,000
events, at most 40 MiB: an event that comes again later than that counts as superseded, or as
applied once more.`,
		example: `  membersync run --config membersync.yaml

  # what would it do? Writes nothing
  membersync run --dry-run`,
		settings: config.Define,
		define: func(in *invocation, set *flags.Set) {
			set.Bool(&in.dryRun.on, "dry-run", "print what there would be to do, and do nothing")
			set.Bool(&in.dryRun.values, "show-values", "with --dry-run: show the values of member fields, once the audit topic has "+
				"acknowledged the record of who looks at what")
			defineWho(&in.dryRun.order, set, "with --show-values: ")
			outputFlag(in, set)
		},
		run: func(ctx context.Context, in *invocation) int {
			ctx, stop := interrupt.Context(ctx, in.Notify, in.Exit)
			defer stop()
			return runService(ctx, in)
		},
	}
}

func checkCommand() command {
	return command{
		name: "check", states: true, short: "validate configuration and mapping, and reach Kafka, Redis and the CRM",
		long: "Validate configuration and mapping, run the examples of the mapping, and reach Kafka, Redis and the\n" +
			"CRM. Nothing is modified.",
		example: `  membersync check

  # while a mapping is written: no server is reached
  membersync check --mapping-only --mapping hr.yaml --sample events.ndjson`,
		settings: config.Define,
		define: func(in *invocation, set *flags.Set) {
			set.Bool(&in.mappingOnly, "mapping-only", "validate the mapping and run its examples only; the settings of the service are not needed")
			set.Text(&in.sample, "sample", flags.Path, "map the records in a file, one value per line (- for stdin), and list why records are rejected, "+
				"and the paths of the mapping at which no record has anything; no values are shown")
			outputFlag(in, set)
		},
		run: func(ctx context.Context, in *invocation) int {
			ctx, stop := interrupt.Context(ctx, in.Notify, in.Exit)
			defer stop()
			return runChecks(ctx, in)
		},
	}
}

func mapCommand() command {
	return command{
		name: "map", args: "[FILE|-]", maxArgs: 1, files: true,
		short: "print what a message would do, without doing it",
		long: `Print what a message would do, without doing it.

The message is the value of a record, from a file or from stdin. Values are shown. Nothing is read
but the message, the mapping file and the tables that it names. Exit status: 1 when every employee
in the message is rejected, 3 when some are.`,
		example: `  membersync map event.json

  # where did each value come from?
  membersync map --mapping hr.yaml --explain event.json`,
		settings: config.DefineMapping,
		define: func(in *invocation, set *flags.Set) {
			defineMessage(&in.message, set)
			outputFlag(in, set)
		},
		run: func(ctx context.Context, in *invocation) int { return mapMessage(ctx, in) },
	}
}

func versionCommand() command {
	return command{
		name: "version", short: "print version, revision and Go version", long: "Print version, revision and Go version.",
		example: "  membersync version -o json",
		define:  outputFlag,
		run: func(_ context.Context, in *invocation) int {
			if in.refuse(nil) {
				return exitUsage
			}
			b := buildOf(in.Env)
			if in.output == outputJSON {
				return in.printJSON(b)
			}
			in.print(fmt.Sprintln(b))
			return exitDone
		},
	}
}
