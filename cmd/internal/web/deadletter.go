package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"

	"membersync/cmd/internal/ops"
	"membersync/dlq"
)

// A fieldRow is what a redrive would do with one field.
type fieldRow struct {
	Name, Value string
	Newest      string // the place of the event with the newest known version; empty: none is known
	NewestAt    time.Time
	Newer       bool // that is newer than this event
	Sent        bool
}

type deadLetterData struct {
	ops.Shown
	Sentence  string
	Runbook   template.HTML
	Fields    []fieldRow
	Rejected  []string // why the mapping rejects it now
	Body      string
	Revealed  bool
	Preview   string // why it is not known which values are newer
	CanEdit   bool
	Whole     bool
	Reason    string
	Unread    string // why only the facts are shown
	NotToSend string // why it is not redriven
}

func (s deadLetterPages) deadLetter(ctx context.Context, v *visit) (reply, error) {
	return s.showOne(ctx, v, false)
}

// reveal shows one dead letter with its values, once that is recorded.
func (s deadLetterPages) reveal(ctx context.Context, v *visit) (reply, error) {
	if v.form("note") == "" {
		return reply{}, &inputError{text("reveal.note")}
	}
	return s.showOne(ctx, v, true)
}

func (s deadLetterPages) showOne(ctx context.Context, v *visit, reveal bool) (reply, error) {
	shown, err := s.show(ctx, v, reveal)
	unread := ""
	if (dlq.IsUnavailable(err) || errors.Is(err, errRecordsTimeout)) && !reveal {
		unread = text("deadletter.unread", err)
		shown, err = s.live.Known(v.r.PathValue("id"))
	}
	if err != nil {
		return reply{}, err
	}
	data := deadLetterData{
		Unread: unread,
		Shown:  shown, Sentence: sentence(shown.DeadLetter), Runbook: markdown(dlq.Runbook(string(shown.Reason))), Revealed: reveal,
		Body: body(shown), Whole: shown.Index == nil, Reason: string(shown.Reason), CanEdit: shown.State == dlq.StateOpen,
	}
	if shown.PreviewErr != nil {
		data.Preview = shown.PreviewErr.Error()
	}
	if shown.Reason == dlq.ReasonInvalidRedrive {
		data.NotToSend, data.CanEdit = ops.NeverRedriven, false
	}
	for _, p := range shown.Now {
		if p.Outcome != "update" {
			data.Rejected = append(data.Rejected, strings.TrimSuffix(p.Outcome+": "+p.Reason, ": "))
		}
		data.Fields = append(data.Fields, fieldRows(p)...)
	}
	return reply{page: "dead-letter", title: text("deadletter.title", shortID(shown.ID)), data: data}, nil
}

// show reads a dead letter for as long as a visitor waits.
func (s deadLetterPages) show(ctx context.Context, v *visit, reveal bool) (ops.Shown, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, recordsTimeout, errRecordsTimeout)
	defer cancel()
	return s.live.Show(ctx, v.r.PathValue("id"), reveal, v.who())
}

func fieldRows(p ops.Preview) (rows []fieldRow) {
	for name, value := range p.User {
		if name == "openUserId" {
			continue
		}
		newer := slices.Contains(p.NewerFields, name)
		row := fieldRow{Name: name, Value: strings.Trim(string(value), `"`), Newer: newer, Sent: !newer && p.Newer != ops.NewerUnknown}
		if newest, known := p.Newest[name]; known {
			row.Newest = newest.Version
			if partition, offset, _, at, ok := newest.Source(); ok {
				row.Newest, row.NewestAt = placeText(ops.Place{Partition: partition, Offset: offset}), at
			}
		}
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b fieldRow) int { return strings.Compare(a.Name, b.Name) })
	return rows
}

// sentence says what happened.
func sentence(d ops.DeadLetter) string {
	what := text("reason." + string(d.Reason))
	if d.Error != "" {
		what += ": " + d.Error
	}
	if d.CRMCode != "" && !strings.Contains(d.Error, d.CRMCode) {
		what += " (" + d.CRMCode + ")"
	}
	return what
}

// body is the payload with indents, if it is JSON.
func body(shown ops.Shown) string {
	if shown.Payload != nil {
		return indented(shown.Payload)
	}
	return string(shown.Value)
}

// indented is JSON with indents; anything else stays as it is.
func indented(text []byte) string {
	var b bytes.Buffer
	if json.Indent(&b, text, "", "  ") == nil {
		return b.String()
	}
	return string(text)
}

type editData struct {
	ID, Body, Note string
	Problem        string           // why the value cannot be redriven
	Results        []ops.ItemResult // what the mapping says of it
}

// editPage is the form, with what was typed so far.
func editPage(d editData) reply {
	r := reply{page: "edit", title: text("edit.title", shortID(d.ID)), data: d}
	if d.Problem != "" {
		r.status = http.StatusUnprocessableEntity
	}
	return r
}

// edit shows the value of one dead letter to be edited, once it is recorded that it is revealed.
func (s deadLetterPages) edit(ctx context.Context, v *visit) (reply, error) {
	if v.form("note") == "" {
		return reply{}, &inputError{text("reveal.note")}
	}
	shown, err := s.live.Show(ctx, v.r.PathValue("id"), true, v.who())
	if err != nil {
		return reply{}, err
	}
	return editPage(editData{ID: shown.ID, Body: body(shown), Note: v.form("note")}), nil
}

// edited checks an edited value, and shows the plan of its redrive. One that the mapping rejects
// comes back in the form.
func (s deadLetterPages) edited(ctx context.Context, v *visit) (reply, error) {
	value := unix(v.r.FormValue("value"))
	again := editData{ID: v.r.PathValue("id"), Body: value, Note: v.form("note")}
	if !json.Valid([]byte(value)) {
		again.Problem = text("edit.json")
		return editPage(again), nil
	}
	p := planData{
		selection: selection{IDs: []string{v.r.PathValue("id")}}, Kind: kindRedrive, Edited: true, Value: value,
	}
	err := s.complete(ctx, v, &p, s.live.Catalog().FindIDs(dlq.Query{IDs: p.IDs}))
	var refused *ops.RefusedError
	switch {
	case errors.As(err, &refused): // it names another employee, for example
		again.Problem = refused.Error()
		return editPage(again), nil
	case err != nil:
		return reply{}, err
	case p.Rejected:
		again.Problem, again.Results = text("edit.rejected"), p.Results
		return editPage(again), nil
	}
	return planPage(p), nil
}
