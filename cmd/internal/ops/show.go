package ops

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"unicode/utf8"

	"membersync/dlq"
)

// A DeadLetterView is a dead letter with its payload, as JSON shows it.
type DeadLetterView struct {
	DeadLetter
	DLQ          Place           `json:"dlq"`
	Group        string          `json:"group"`
	Version      string          `json:"membersync_version"`
	CRMTraceID   string          `json:"crm_trace_id"`
	ThirdTraceID string          `json:"third_trace_id"`
	TraceID      string          `json:"trace_id"`    // of OpenTelemetry; empty: it was not traced
	Index        *int            `json:"event_index"` // null: the record failed whole
	Count        *int            `json:"event_count"`
	Occurrences  int             `json:"occurrences"` // records of it in the dead-letter topic
	Key          *string         `json:"key"`
	Headers      []Header        `json:"headers"`
	PayloadBytes int             `json:"payload_bytes"`
	Payload      json.RawMessage `json:"payload"` // masked unless revealed; null: it cannot be read as JSON
	Value        []byte          `json:"value,omitempty"`
	History      []Moment        `json:"history,omitempty"`
	Now          []Preview       `json:"now,omitempty"`
}

// A Place is a record of a topic.
type Place struct {
	Partition int   `json:"partition"`
	Offset    int64 `json:"offset"`
}

// A Header is a header of the source record.
type Header struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// MomentFailed is what a [Moment] is of that is not an action.
const MomentFailed = "failed"

// A Moment is one step of a dead letter's history: a failure, or an audit record.
type Moment struct {
	At     Time   `json:"at"`
	What   string `json:"what"`   // failed, or the action of the audit record
	Number int    `json:"number"` // of the redrive that it belongs to; 0: none
	Actor  string `json:"actor"`
	Result string `json:"result"` // of a failure: its reason
	Note   string `json:"note"`   // of a failure: its error
}

// A Shown is what Show found.
type Shown struct {
	DeadLetterView
	Loss       dlq.Loss // what could not be read
	PreviewErr error    // why it is not known which values are newer; nil: it is known
}

// An UnknownError is returned for an id without a dead letter. It is [dlq.ErrNoItem].
type UnknownError struct{ ID string }

// Error names the id.
func (e *UnknownError) Error() string { return "unknown dead letter " + e.ID }

// Unwrap returns [dlq.ErrNoItem].
func (e *UnknownError) Unwrap() error { return dlq.ErrNoItem }

// Show returns one dead letter, by its full or short id, with its history and what it would do now.
// With reveal, personal data is shown, once the audit topic has acknowledged who looks at it.
func (s *DeadLetters) Show(ctx context.Context, id string, reveal bool, who Who) (Shown, error) {
	h, err := s.reader.History(ctx, id)
	switch {
	case errors.Is(err, dlq.ErrNoItem):
		return Shown{}, &UnknownError{id}
	case err != nil:
		return Shown{}, fmt.Errorf("%s: %w", id, err)
	}
	return s.showHistory(ctx, h, reveal, who)
}

func (s *DeadLetters) showHistory(ctx context.Context, h dlq.History, reveal bool, who Who) (Shown, error) {
	if reveal {
		if err := RecordReveal(ctx, s.audit, h.Item.ID, who); err != nil {
			return Shown{}, err
		}
	}
	shown := Shown{DeadLetterView: s.view(ctx, h.Item, reveal), Loss: h.Loss}
	shown.Occurrences = len(h.Occurrences)
	shown.History = moments(h)
	now, err := s.preview(ctx, h.Item.DeadLetter)
	shown.PreviewErr = err
	for _, p := range now {
		shown.Now = append(shown.Now, p.shown(reveal))
	}
	return shown, nil
}

// Export returns the selected dead letters with their payloads, without history and preview. With
// reveal, each is shown once the audit topic has acknowledged who looks at it. An error with an id
// is about that dead letter alone.
func (s *DeadLetters) Export(ctx context.Context, x *dlq.Index, reveal bool, who Who) iter.Seq2[DeadLetterView, error] {
	return func(yield func(DeadLetterView, error) bool) {
		for item, err := range s.reader.Items(ctx, x, 0, true) {
			if err == nil && reveal {
				err = RecordReveal(ctx, s.audit, item.ID, who)
			}
			view := DeadLetterView{DeadLetter: DeadLetter{ID: item.ID}}
			if err == nil {
				view = s.view(ctx, item, reveal)
			}
			if !yield(view, err) {
				return
			}
		}
	}
}

func (s *DeadLetters) view(ctx context.Context, i dlq.Item, reveal bool) DeadLetterView {
	l := i.DeadLetter
	v := DeadLetterView{
		DeadLetter: NewDeadLetter(i), DLQ: Place{i.Place.Partition, i.Place.Offset}, Group: l.Group, Version: l.Version,
		CRMTraceID: l.CRMTraceID, ThirdTraceID: l.ThirdTraceID, TraceID: l.TraceID(), Occurrences: i.Occurrences,
		PayloadBytes: len(l.Value), Headers: []Header{},
	}
	if !l.Whole {
		v.Index, v.Count = &l.Index, &l.Count
	}
	if l.Key != nil {
		key := text(l.Key, reveal || string(l.Key) == l.EmployeeID)
		v.Key = &key
	}
	for _, h := range l.Headers {
		v.Headers = append(v.Headers, Header{h.Key, text(h.Value, reveal)})
	}
	switch {
	case !reveal:
		rec := recordOf(l)
		_ = s.guard().Do(ctx, rec, func() { v.Payload = s.parts.Mapping.Now().Mask(rec) }) // nothing is shown then
	case json.Valid(l.Value):
		v.Payload = l.Value
	default:
		v.Value = l.Value
	}
	return v
}

// PayloadLine returns the payload in one line; empty if it is not JSON and not revealed.
func (v DeadLetterView) PayloadLine() string {
	var line bytes.Buffer
	switch {
	case v.Payload != nil && json.Compact(&line, v.Payload) == nil:
		return line.String()
	case v.Value != nil:
		return strconv.Quote(string(v.Value))
	}
	return ""
}

// text returns bytes as text, or that there are some.
func text(b []byte, reveal bool) string {
	switch {
	case len(b) == 0:
		return ""
	case !reveal:
		return Masked
	default:
		return strings.ToValidUTF8(string(b), string(utf8.RuneError))
	}
}

// moments returns failures and audit records in the order of time. A copy of a dead letter is not a
// failure of its own.
func moments(h dlq.History) []Moment {
	var all []Moment
	audit := h.Audit
	number := -1
	for _, failure := range h.Occurrences {
		l := failure.DeadLetter
		if l.Redrives == number { // a copy
			continue
		}
		number = l.Redrives
		for len(audit) > 0 && audit[0].At.Before(l.FailedAt) {
			all = append(all, momentOf(audit[0]))
			audit = audit[1:]
		}
		all = append(all, Moment{At: Time{l.FailedAt}, What: MomentFailed, Number: l.Redrives, Result: string(l.Reason), Note: l.Error})
	}
	for _, a := range audit {
		all = append(all, momentOf(a))
	}
	return all
}

func momentOf(a dlq.AuditRecord) Moment {
	return Moment{Time{a.At}, string(a.Action), a.Detail.Number, a.Actor, a.Result, a.Note}
}
