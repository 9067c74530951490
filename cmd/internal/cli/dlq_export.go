package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"strconv"

	"membersync/dlq"
)

func (in *invocation) export(ctx context.Context, d *desk, f filter, o showing) int {
	if f.query.IDs = in.takeIDs(); len(f.query.IDs) > 0 {
		if !f.isEmpty() || f.stateGiven {
			in.fault("", "say which: ids or filters, and only one of them")
		}
		f.query.States = nil
	}
	if in.refuse(nil) {
		return exitUsage
	}
	s, err := in.survey(ctx, d, f.query, nil)
	if err != nil {
		return in.failed(ctx, err)
	}
	if in.output == outputTable {
		in.print(exportTable().heading())
	}
	actor := in.who(o.order)
	status, done := exitDone, 0
	for item, err := range d.reader.Items(ctx, s, 0, true) {
		if err == nil && o.reveal {
			err = recordReveal(ctx, d.audit, item.ID, actor, o.note)
		}
		switch {
		case err != nil && item.ID != "" && ctx.Err() == nil:
			in.complain(item.ID + ": " + err.Error())
			status = exitFailed
		case err != nil:
			return in.failed(ctx, err)
		default:
			if in.printExported(s, d.itemView(ctx, item, o.reveal)) != exitDone {
				return exitFailed
			}
			done++
		}
	}
	if missing := len(s.Missing()); missing > 0 {
		in.complain(plural(missing, "id") + " without a dead letter")
		status = exitFailed
	}
	if status != exitDone && done > 0 {
		status = exitPart
	}
	return status
}

func exportTable() table {
	return table{{"ID", 14}, {"STATE", 10}, {"REASON", 17}, {"EMPLOYEE", 10}, {"EVENT", 24}, {"PAYLOAD", 0}}
}

func (in *invocation) printExported(s *dlq.Index, v viewJSON) int {
	if in.output == outputJSON {
		return in.printJSON(v)
	}
	in.print(exportTable().row(s.ShortID(v.ID), string(v.State), string(v.Reason), v.EmployeeID, v.EventID, v.payloadLine()))
	return exitDone
}

// payloadLine is the payload in one line; nothing where it is no JSON and not revealed.
func (v viewJSON) payloadLine() string {
	var line bytes.Buffer
	switch {
	case v.Payload != nil && json.Compact(&line, v.Payload) == nil:
		return line.String()
	case v.Value != nil:
		return strconv.Quote(string(v.Value))
	}
	return ""
}
