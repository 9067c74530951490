package cli

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"time"

	"membersync/cmd/internal/ops"
)

func explainCommand() command {
	var (
		s     subject
		since time.Time
	)
	return onCallCommand(command{
		name: "explain", args: "EMPLOYEE", maxArgs: 1, summary: "say why the CRM shows of an employee what it shows",
		details: "Events in the source topic in the order of time and what became of each, dead letters, versions, lease, what the next replay\n" +
			"(with --reapply, too) and redrive would do; and at the end one sentence with the cause. No values are shown.\n\n" + outputHelp +
			"  --since  a time in RFC 3339, or how long ago, such as 2h\n        of the records that are read (default all that the topic holds)\n" + subjectHelp,
		flags: func(in *invocation, flags *flag.FlagSet) {
			outputFlag(in, flags)
			in.timeFlag(flags, "since", &since)
			s.define(flags)
		},
	}, func(ctx context.Context, in *invocation, d *desk) int { return in.explainEmployee(ctx, d, s, since) })
}

func (in *invocation) explainEmployee(ctx context.Context, d *desk, s subject, since time.Time) int {
	if !s.take(in) {
		return exitUsage
	}
	x, err := d.Explain(ctx, s.forOps(), since)
	if err != nil {
		return in.failed(ctx, err)
	}
	if x.Index != nil {
		in.warnOf(x.Index.Loss)
	}
	x.Sentence = sentence(x.Cause, x.Evidence)
	if in.output == outputJSON {
		return in.printJSON(x)
	}
	in.print(explanationText(x))
	return exitDone
}

// explanationText is the table form.
func explanationText(x ops.Explanation) string {
	var b strings.Builder
	b.WriteString(memberText(x.Member))
	b.WriteString("\n" + itemTable().heading())
	for _, i := range x.DeadLetters {
		b.WriteString(itemTable().row(x.Index.ShortID(i.ID), string(i.State), string(i.Reason), i.EmployeeID, i.CRMCode, fmt.Sprint(i.Redrives),
			i.FailedAt.String(), i.Error))
	}
	for _, n := range x.Next {
		fmt.Fprintf(&b, "\na redrive of %s: %s\n", x.Index.ShortID(n.ID), printable(n.What))
	}
	fmt.Fprintf(&b, "\nCAUSE  %s\n%s\n", x.Cause, x.Sentence)
	return b.String()
}
