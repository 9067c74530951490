package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"membersync/cmd/internal/ops"
	"membersync/mapper"
)

// mappingPages are those of mappings that are tried.
type mappingPages struct{ *Server }

const (
	// recordsShown is how many records of the topic can be chosen.
	recordsShown = 20
	// recordsTimeout bounds how long the page waits for them.
	recordsTimeout = 5 * time.Second
)

var errRecordsTimeout = errors.New("not read within 5s")

type mappingData struct {
	File, Key, Value string
	NoValue          bool
	Place            string // of the record that is tried; empty: it was typed
	Note             string
	Tried            bool
	Masked           bool // the values of what was tried are not shown
	Explanations     []explained
	Example          string
	Problem          string
	Lines            []numberedLine // of a file with faults
	Other            []string       // faults that are of no line
	Lookups          []string
	Records          []recordRow
	RecordsProblem   string
}

// A recordRow is a record that can be chosen.
type recordRow struct {
	Place  string
	At     time.Time
	Bytes  int
	Masked string
}

// A numberedLine is a line of a mapping file with what is wrong with it.
type numberedLine struct {
	Number int
	Text   string
	Faults []string
}

type explained struct {
	Outcome, Detail, Employee, Event string
	User                             string
	Parts, Fields                    []mapper.Explained
}

func (s mappingPages) mapping(ctx context.Context, _ *visit) (reply, error) {
	return s.showMapping(ctx, mappingData{})
}

// showMapping adds to what was tried what can be tried.
func (s mappingPages) showMapping(ctx context.Context, data mappingData) (reply, error) {
	a := reply{page: "mapping", title: text("mapping.title")}
	if data.Problem != "" || len(data.Lines) > 0 {
		a.status = http.StatusUnprocessableEntity
	}
	data.Lookups = s.live.Lookups()
	ctx, cancel := context.WithTimeoutCause(ctx, recordsTimeout, errRecordsTimeout)
	defer cancel()
	records, err := s.live.LatestRecords(ctx, recordsShown)
	if err != nil {
		data.RecordsProblem = text("mapping.records.problem", err)
	}
	for _, r := range records {
		row := recordRow{Place: placeText(r.Place), At: r.At.Time, Bytes: r.Bytes, Masked: indented(r.Masked)}
		data.Records = append(data.Records, row)
	}
	a.data = data
	return a, nil
}

func placeText(p ops.Place) string { return fmt.Sprintf("%d:%d", p.Partition, p.Offset) }

// tryMapping shows what an event would do: one that was typed, or one of the topic. Nothing is read
// but that and the lookups of the running mapping. The values of a record of the topic are masked,
// unless the audit topic has who looks at them and why.
func (s mappingPages) tryMapping(ctx context.Context, v *visit) (reply, error) {
	data := mappingData{
		File: unix(v.r.FormValue("file")), Key: v.form("key"), Value: unix(v.r.FormValue("value")), NoValue: v.form("novalue") == "yes",
		Place: v.form("place"), Note: v.form("note"), Tried: true,
	}
	rec := mapper.Record{Time: v.now, Value: []byte(data.Value)}
	if data.NoValue {
		rec.Value = nil
	}
	if data.Key != "" {
		rec.Key = []byte(data.Key)
	}
	if data.Place != "" {
		var err error
		if rec, err = s.chosen(ctx, v, &data); err != nil {
			data.Problem, data.Tried = err.Error(), false
			return s.showMapping(ctx, data)
		}
	}
	trial, err := s.live.TryMapping(ctx, data.File, rec)
	if err != nil {
		data.addFaults(err)
		return s.showMapping(ctx, data)
	}
	all := trial.Explanations
	if data.Masked {
		all = trial.Masked()
	} else if data.Example, err = trial.Example(rec); err != nil {
		data.Problem = err.Error()
	}
	for _, e := range all {
		data.Explanations = append(data.Explanations, newExplained(e, data.Masked))
	}
	return s.showMapping(ctx, data)
}

// chosen returns the record of the topic that was chosen. With reveal, its value is in the form
// then.
func (s mappingPages) chosen(ctx context.Context, v *visit, data *mappingData) (mapper.Record, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, recordsTimeout, errRecordsTimeout)
	defer cancel()
	reveal := v.form("reveal") == "yes"
	if reveal && data.Note == "" {
		return mapper.Record{}, &inputError{text("reveal.note")}
	}
	found, err := s.live.SourceRecord(ctx, data.Place)
	if err != nil {
		return mapper.Record{}, err
	}
	rec := found.Record()
	if data.Masked = !reveal; reveal {
		if err := s.live.RevealRecord(ctx, found, v.who()); err != nil {
			return mapper.Record{}, err
		}
		data.Value, data.Key, data.NoValue = string(rec.Value), string(rec.Key), rec.Value == nil
	}
	return rec, nil
}

// unix returns a text of a form with line ends as files have them.
func unix(text string) string { return strings.ReplaceAll(text, "\r\n", "\n") }

// addFaults adds what is wrong: by line, if it is of the mapping file.
func (d *mappingData) addFaults(err error) {
	faults, ok := errors.AsType[mapper.ParseError](err)
	if !ok {
		d.Problem = err.Error()
		return
	}
	for i, line := range strings.Split(strings.TrimSuffix(d.File, "\n"), "\n") {
		d.Lines = append(d.Lines, numberedLine{Number: i + 1, Text: line})
	}
	for _, f := range faults {
		message := text("mapping.fault", f.Column, f.Text)
		if f.Line < 1 || f.Line > len(d.Lines) {
			d.Other = append(d.Other, f.Text)
			continue
		}
		d.Lines[f.Line-1].Faults = append(d.Lines[f.Line-1].Faults, message)
	}
}

func newExplained(e mapper.Explanation, masked bool) explained {
	one := explained{Employee: e.Result.Event.EmployeeID, Event: e.Result.Event.ID, Parts: e.Parts, Fields: e.Fields}
	switch r := e.Result; {
	case r.Fault != nil:
		one.Outcome, one.Detail = "rejected", string(r.Fault.Reason)+": "+r.Fault.Error()
	case r.Event.Ignored != "":
		one.Outcome, one.Detail = "ignored", r.Event.Ignored
	case r.Event.Update.Len() == 0:
		one.Outcome = "unchanged"
	case masked:
		one.Outcome = "update"
	default:
		one.Outcome, one.User = "update", indented(r.Event.Update.AppendJSON(nil))
	}
	return one
}
