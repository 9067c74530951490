package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"membersync/dlq"
)

// masked stands for a value that holds personal data.
const masked = "***"

// showing is what dlq show and dlq export are asked for.
type showing struct {
	order
	reveal bool
}

func (in *invocation) show(ctx context.Context, d *desk, o showing) int {
	ids := in.takeIDs()
	if len(ids) == 0 && len(in.faults) == 0 {
		in.fault("", "give the id of a dead letter, such as 3:1042:0 or 3:1042:0@1795334400123")
	}
	if in.refuse(nil) {
		return exitUsage
	}
	h, err := d.reader.History(ctx, ids[0])
	if err != nil {
		return in.failed(ctx, fmt.Errorf("%s: %w", ids[0], err))
	}
	in.warnOf(h.Loss)
	if o.reveal {
		if err := recordReveal(ctx, d.audit, h.Item.ID, in.who(o.order), o.note); err != nil {
			return in.failed(ctx, err)
		}
	}
	now, err := d.standings(ctx, h.Item.DeadLetter)
	if err != nil {
		in.complain("warning: what newer events have overtaken is not known: " + err.Error())
	}
	view := d.view(ctx, h, now, o.reveal)
	if in.output == outputJSON {
		return in.printJSON(view)
	}
	in.print(view.text(time.Now()))
	return exitDone
}

// recordReveal says who looks at what. Nothing is shown before the audit topic has acknowledged it.
func recordReveal(ctx context.Context, auditor *dlq.Auditor, subject, actor, note string) error {
	err := auditor.Write(ctx, dlq.AuditRecord{
		Actor: actor, Action: dlq.ActionReveal, Subject: subject, Note: note, Result: dlq.ResultDone,
	})
	if err != nil {
		return fmt.Errorf("nothing is revealed, since the record of it is not acknowledged: %w", err)
	}
	return nil
}

// The json form of dlq show, and of a line of dlq export. Its names are part of the contract.
type viewJSON struct {
	itemJSON
	DLQ          placeJSON       `json:"dlq"`
	Group        string          `json:"group"`
	Version      string          `json:"membersync_version"`
	CRMTraceID   string          `json:"crm_trace_id"`
	ThirdTraceID string          `json:"third_trace_id"`
	Index        *int            `json:"event_index"` // null: the record failed whole
	Count        *int            `json:"event_count"`
	Letters      int             `json:"letters"`
	Key          *string         `json:"key"`
	Headers      []headerJSON    `json:"headers"`
	PayloadBytes int             `json:"payload_bytes"`
	Payload      json.RawMessage `json:"payload"` // masked unless revealed; null: it cannot be read as JSON
	Value        []byte          `json:"value,omitempty"`
	History      []momentJSON    `json:"history,omitempty"`
	Now          []nowJSON       `json:"now,omitempty"`
}

type placeJSON struct {
	Partition int   `json:"partition"`
	Offset    int64 `json:"offset"`
}

type headerJSON struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

type momentJSON struct {
	At     *string `json:"at"`
	What   string  `json:"what"` // died, or the action of the audit record
	Number int     `json:"number"`
	Actor  string  `json:"actor"`
	Result string  `json:"result"` // of a death: its reason
	Note   string  `json:"note"`   // of a death: its error
}

type nowJSON struct {
	Outcome    string                     `json:"outcome"`
	Reason     string                     `json:"reason"`
	Index      int                        `json:"index"`
	EmployeeID string                     `json:"employee_id"`
	EventID    string                     `json:"event_id"`
	Version    string                     `json:"version"`
	User       map[string]json.RawMessage `json:"user"`
	Overtaken  string                     `json:"overtaken"`
	Fields     []string                   `json:"overtaken_fields"`
}

func (d *desk) view(ctx context.Context, h dlq.History, now []standing, reveal bool) viewJSON {
	v := d.itemView(ctx, h.Item, reveal)
	v.Letters = len(h.Occurrences)
	v.History = moments(h)
	for _, s := range now {
		v.Now = append(v.Now, nowOf(s, reveal))
	}
	return v
}

// itemView is a dead letter with its payload.
func (d *desk) itemView(ctx context.Context, i dlq.Item, reveal bool) viewJSON {
	l := i.DeadLetter
	v := viewJSON{
		itemJSON: itemOf(i), DLQ: placeJSON{i.Place.Partition, i.Place.Offset}, Group: l.Group, Version: l.Version,
		CRMTraceID: l.CRMTraceID, ThirdTraceID: l.ThirdTraceID, Letters: i.Occurrences, PayloadBytes: len(l.Value), Headers: []headerJSON{},
	}
	if !l.Whole {
		v.Index, v.Count = &l.Index, &l.Count
	}
	if l.Key != nil {
		key := text(l.Key, reveal || string(l.Key) == l.EmployeeID)
		v.Key = &key
	}
	for _, h := range l.Headers {
		v.Headers = append(v.Headers, headerJSON{h.Key, text(h.Value, reveal)})
	}
	switch {
	case !reveal:
		rec := recordOf(l)
		_ = d.guard().Do(ctx, rec, func() { v.Payload = d.parts.Mapping.Now().Mask(rec) }) // nothing is shown then
	case json.Valid(l.Value):
		v.Payload = l.Value
	default:
		v.Value = l.Value
	}
	return v
}

// text shows bytes, or that there are some.
func text(b []byte, reveal bool) string {
	switch {
	case len(b) == 0:
		return ""
	case !reveal:
		return masked
	default:
		return strings.ToValidUTF8(string(b), string(utf8.RuneError))
	}
}

// moments are deaths, redrives, results and all else in the order of time.
func moments(h dlq.History) []momentJSON {
	var all []momentJSON
	audit := h.Audit
	number := -1
	for _, death := range h.Occurrences {
		l := death.DeadLetter
		if l.Redrives == number { // a copy
			continue
		}
		number = l.Redrives
		for len(audit) > 0 && audit[0].At.Before(l.FailedAt) {
			all = append(all, momentOf(audit[0]))
			audit = audit[1:]
		}
		all = append(all, momentJSON{At: jsonTime(l.FailedAt), What: "died", Number: l.Redrives, Result: string(l.Reason), Note: l.Error})
	}
	for _, a := range audit {
		all = append(all, momentOf(a))
	}
	return all
}

func momentOf(a dlq.AuditRecord) momentJSON {
	return momentJSON{jsonTime(a.At), string(a.Action), a.Detail.Number, a.Actor, a.Result, a.Note}
}

func nowOf(s standing, reveal bool) nowJSON {
	outcome, reason := s.outcome()
	ev := s.result.Event
	n := nowJSON{
		Outcome: outcome, Reason: reason, Index: ev.Index, EmployeeID: ev.EmployeeID, EventID: ev.ID,
		Version: string(ev.Version), Overtaken: s.overtaken, Fields: []string{},
	}
	if outcome != "update" {
		return n
	}
	openUserID, _ := json.Marshal(ev.OpenUserID) //nolint:errchkjson // a text
	n.User = map[string]json.RawMessage{"openUserId": openUserID}
	for _, f := range s.fields {
		n.User[f.name] = json.RawMessage(`"` + masked + `"`)
		if reveal {
			n.User[f.name] = f.value
		}
		if f.overtaken {
			n.Fields = append(n.Fields, f.name)
		}
	}
	return n
}
