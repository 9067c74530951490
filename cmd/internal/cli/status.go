package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"membersync/cmd/internal/flags"
	"membersync/cmd/internal/ops"
	"membersync/cmd/internal/texts"
	"membersync/dlq"
)

// watchEvery is how often status --watch looks again.
const watchEvery = 2 * time.Second

func statusCommand() command {
	watch := false
	return onCallCommand(command{
		name: "status", short: "is the service working, and if not, why and what to do",
		long: `Is the service working, and if not, why and what to do? One sentence and one line of advice, then
instances, causes, lag, limit, open dead letters by cause, redrives and replays in progress, and the
last actions of operators. Exit status: 1 if it needs attention.`,
		example: `  membersync status

  # until Ctrl-C, every 2 s
  membersync status --watch`,
		define: func(in *invocation, set *flags.Set) {
			set.Bool(&watch, "watch", "repeat every 2 s until Ctrl-C")
			outputFlag(in, set)
		},
	}, func(ctx context.Context, in *invocation, d *ops.Session) int { return showStatus(ctx, in, d, watch) })
}

func showStatus(ctx context.Context, in *invocation, d *ops.Session, watch bool) int {
	if in.refuse(nil) {
		return exitUsage
	}
	for {
		st := d.Status(ctx)
		st.Sentence, st.Advice = texts.Status(st)
		printed := exitDone
		switch {
		case in.output == outputJSON:
			printed = in.printJSON(st)
		case watch && in.Terminal:
			_, _ = io.WriteString(in.plain, "\x1b[H\x1b[2J") // clears the screen
			fallthrough
		default:
			in.print(statusText(st, d.Target()))
		}
		switch {
		case printed != exitDone:
			return printed
		case !watch && st.Attention:
			return exitFailed
		case !watch || !waitFor(ctx, watchEvery):
			return exitDone
		}
	}
}

// waitFor waits, and returns false if the context ended first.
func waitFor(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func statusText(st ops.Status, target ops.Target) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nadvice: %s\n\n", st.Sentence, st.Advice)
	fact := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-13s %s\n", name, fmt.Sprintf(format, args...))
	}
	fact("TARGET", "%s", target)
	for _, c := range st.Causes {
		if c.Cause != st.Cause {
			fact("ALSO", "%s%s", c.Cause, sinceText(c.Since))
		}
	}
	if st.Lag == nil {
		fact("LAG", "unknown")
	} else {
		fact("LAG", "%s, %s", texts.Plural(int(st.Lag.Records), "record"), texts.Duration(time.Duration(st.Lag.Seconds)*time.Second))
	}
	if st.RateUsed != nil {
		fact("LIMIT USED", "%.0f %%", *st.RateUsed*100)
	}
	fact("HELD", "%s", texts.Count(st.Held, "event"))
	fact("REDRIVING", "%s", texts.Count(st.Redriving, "dead letter"))
	for _, r := range st.Replays {
		fact("REPLAY", "%s: %d of %d, by %s", r.ID, r.Done, r.Records, texts.Quoted(r.Actor))
	}
	for _, unknown := range st.Unknown {
		fact("UNKNOWN", "%s", texts.Quoted(unknown))
	}
	instancesText(&b, st)
	openText(&b, st)
	actionsText(&b, st.Actions)
	return b.String()
}

func sinceText(since ops.Time) string {
	if since.IsZero() {
		return ""
	}
	return " since " + texts.Moment(since.Time)
}

func instancesText(b *strings.Builder, st ops.Status) {
	t := table{{"INSTANCE", 20}, {"VERSION", 12}, {"SINCE", 20}, {"PARTITIONS", 10}, {"EVENTS/S", 8}, {"CALLS/S", 8}, {"IN FLIGHT", 9}, {"CAUSES", 0}}
	b.WriteString("\n" + t.heading())
	for _, i := range st.Instances {
		b.WriteString(t.row(i.Host, i.Version, texts.Moment(i.Since.Time), fmt.Sprint(i.Partitions), fmt.Sprintf("%.1f", i.EventsRate),
			fmt.Sprintf("%.1f", i.CallsRate), fmt.Sprint(i.InFlight), strings.Join(i.Causes, ", ")))
	}
}

func openText(b *strings.Builder, st ops.Status) {
	t := table{{"OPEN", 7}, {"EMPLOYEES", 9}, {"OLDEST", 8}, {"CAUSE", 0}}
	b.WriteString("\n" + t.heading())
	for _, g := range st.DeadLetters {
		b.WriteString(t.row(fmt.Sprint(g.Count), fmt.Sprint(g.Employees), texts.Duration(time.Duration(g.OldestSeconds)*time.Second), g.Group))
	}
}

func actionsText(b *strings.Builder, actions []dlq.AuditRecord) {
	t := table{{"LAST ACTIONS", 24}, {"ACTOR", 20}, {"ACTION", 14}, {"NOTE", 0}}
	b.WriteString("\n" + t.heading())
	for _, a := range actions {
		b.WriteString(t.row(ops.Time{Time: a.At}.String(), a.Actor, string(a.Action), a.Note))
	}
}
