package cli

import (
	"context"
	"time"

	"membersync/cmd/internal/ops"
)

// showing is what dlq show and dlq export are asked for.
type showing struct {
	order
	reveal bool
}

func showDeadLetter(ctx context.Context, in *invocation, d *ops.Session, o showing) int {
	ids := takeIDs(in)
	if len(ids) == 0 && len(in.faults) == 0 {
		in.fault("", "give the id of a dead letter, such as 3:1042:0 or 3:1042:0@1795334400123")
	}
	if in.refuse(nil) {
		return exitUsage
	}
	shown, err := d.Show(ctx, ids[0], o.reveal, in.who(o.order))
	if err != nil {
		return in.failed(ctx, err)
	}
	in.warnOf(shown.Loss)
	if shown.PreviewErr != nil {
		in.complain("warning: it is unknown which values are newer: " + shown.PreviewErr.Error())
	}
	if in.output == outputJSON {
		return in.printJSON(shown.DeadLetterView)
	}
	in.print(deadLetterText(shown.DeadLetterView, time.Now()))
	return exitDone
}
