package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"membersync/cmd/internal/ops"
	"membersync/cmd/internal/texts"
)

func explainEmployee(ctx context.Context, in *invocation, d *ops.Session, s subject, since time.Time) int {
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
	if in.output == outputJSON {
		x.Sentence = texts.Explain(x.Cause, x.Evidence)
		return in.printJSON(x)
	}
	x.Sentence = texts.Explain(x.Cause, x.ShortEvidence())
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
		fmt.Fprintf(&b, "\na redrive of %s: %s\n", x.Index.ShortID(n.ID), texts.Quoted(n.What))
	}
	fmt.Fprintf(&b, "\nCAUSE  %s\n%s\n", x.Cause, x.Sentence)
	return b.String()
}
