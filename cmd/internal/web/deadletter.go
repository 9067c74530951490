package web

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"

	"membersync/cmd/internal/ops"
	"membersync/dlq"
)

// A fieldRow is what a redrive would do with one field.
type fieldRow struct {
	Name, Value string
	Newer       bool // a newer value is known
	Sent        bool
}

type deadLetterData struct {
	ops.Shown
	Sentence  string
	Runbook   string
	Fields    []fieldRow
	Rejected  []string // why the mapping rejects it now
	Body      string
	Revealed  bool
	Preview   string // why it is not known which values are newer
	CanEdit   bool
	Whole     bool
	Reason    string
	NotToSend string // why it is not redriven
}

func (s *Server) deadLetter(ctx context.Context, v *visit) (reply, error) {
	return s.showOne(ctx, v, false)
}

// reveal shows one dead letter with its values, once that is recorded.
func (s *Server) reveal(ctx context.Context, v *visit) (reply, error) {
	if v.form("note") == "" {
		return reply{}, &inputError{text("reveal.note")}
	}
	return s.showOne(ctx, v, true)
}

func (s *Server) showOne(ctx context.Context, v *visit, reveal bool) (reply, error) {
	shown, err := s.live.Show(ctx, v.r.PathValue("id"), reveal, v.who())
	if err != nil {
		return reply{}, err
	}
	data := deadLetterData{
		Shown: shown, Sentence: sentence(shown.DeadLetter), Runbook: dlq.Runbook(string(shown.Reason)), Revealed: reveal,
		Body: body(shown), Whole: shown.DeadLetterView.Index == nil, Reason: string(shown.Reason), CanEdit: shown.State == dlq.StateOpen,
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

func fieldRows(p ops.Preview) (rows []fieldRow) {
	for name, value := range p.User {
		if name == "openUserId" {
			continue
		}
		newer := slices.Contains(p.NewerFields, name)
		rows = append(rows, fieldRow{name, string(value), newer, !newer && p.Newer != ops.NewerUnknown})
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
	var b bytes.Buffer
	if shown.Payload != nil && json.Indent(&b, shown.Payload, "", "  ") == nil {
		return b.String()
	}
	return string(shown.Value)
}

type editData struct{ ID, Body, Note string }

// edit shows the value of one dead letter to be edited, once it is recorded that it is revealed.
func (s *Server) edit(ctx context.Context, v *visit) (reply, error) {
	if v.form("note") == "" {
		return reply{}, &inputError{text("reveal.note")}
	}
	shown, err := s.live.Show(ctx, v.r.PathValue("id"), true, v.who())
	if err != nil {
		return reply{}, err
	}
	return reply{page: "edit", title: text("edit.title", shortID(shown.ID)), data: editData{shown.ID, body(shown), v.form("note")}}, nil
}

// edited checks an edited value, and shows the plan of its redrive.
func (s *Server) edited(ctx context.Context, v *visit) (reply, error) {
	value := v.r.FormValue("value")
	if !json.Valid([]byte(value)) {
		return reply{}, &inputError{text("edit.json")}
	}
	p := planData{
		selection: selection{IDs: []string{v.r.PathValue("id")}}, Kind: kindRedrive, Edited: true, Value: value,
	}
	return s.showPlan(ctx, v, p, s.live.Catalog().FindIDs(dlq.Query{IDs: p.IDs}))
}
