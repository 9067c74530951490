package cli

import (
	"context"

	"membersync/cmd/internal/ops"
	"membersync/cmd/internal/texts"
	"membersync/dlq"
)

func exportDeadLetters(ctx context.Context, in *invocation, d *ops.Session, f filter, o showing) int {
	if f.query.IDs = takeIDs(in); len(f.query.IDs) > 0 {
		if !f.isEmpty() || f.stateGiven {
			in.fault("", "say which: ids or filters, and only one of them")
		}
		f.query.States = nil
	}
	if in.refuse(nil) {
		return exitUsage
	}
	x, err := readIndex(ctx, in, d, f.query, nil)
	if err != nil {
		return in.failed(ctx, err)
	}
	if in.output == outputTable {
		in.print(exportTable().heading())
	}
	status, done := exitDone, 0
	for view, err := range d.Export(ctx, x, o.reveal, in.who(o.order)) {
		switch {
		case err != nil && view.ID != "" && ctx.Err() == nil:
			in.complain(view.ID + ": " + err.Error())
			status = exitFailed
		case err != nil:
			return in.failed(ctx, err)
		default:
			if printExported(in, x, view) != exitDone {
				return exitFailed
			}
			done++
		}
	}
	if missing := len(x.Missing()); missing > 0 {
		in.complain(texts.Plural(missing, "id") + " without a dead letter")
		status = exitFailed
	}
	if status != exitDone && done > 0 {
		status = exitPart
	}
	return status
}

func exportTable() table {
	return table{{"ID", 14}, {"STATE", 10}, {"REASON", 20}, {"EMPLOYEE", 10}, {"EVENT", 24}, {"PAYLOAD", 0}}
}

func printExported(in *invocation, x *dlq.Index, v ops.DeadLetterView) int {
	if in.output == outputJSON {
		return in.printJSON(v)
	}
	in.print(exportTable().row(x.ShortID(v.ID), string(v.State), string(v.Reason), v.EmployeeID, v.EventID, v.PayloadLine()))
	return exitDone
}
