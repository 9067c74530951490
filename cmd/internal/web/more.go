package web

import (
	"cmp"
	"context"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"membersync/cmd/internal/ops"
	"membersync/cmd/internal/texts"
	"membersync/cmd/internal/times"
)

// employeePages are those of employees.
type employeePages struct{ *Server }

type employeeData struct {
	ops.Explanation
	ID, Since string
	Ranges    []string
	Command   string
	FieldRows []memberField
}

// A memberField is a field of a member and what has set it.
type memberField struct {
	Name, Event string
	Outcome     string // of the event, or of its redrive; empty: unknown
	At          time.Time
	Digest      bool
}

// employees goes to the page of the employee that is looked for.
func (s employeePages) employees(_ context.Context, v *visit) (reply, error) {
	if id := v.form("id"); id != "" {
		return reply{to: "/employees/" + url.PathEscape(id)}, nil
	}
	return reply{page: "employee", title: text("employee.title"), data: employeeData{}}, nil
}

const employeeSince = "7d"

func (s employeePages) employee(ctx context.Context, v *visit) (reply, error) {
	data := employeeData{ID: v.r.PathValue("id"), Since: v.form("since"), Ranges: []string{"1d", "7d", "30d", "all"}}
	if data.Since == "" {
		data.Since = employeeSince
	}
	since, ok := times.Parse(data.Since, v.now)
	if !ok && data.Since != "all" {
		return reply{}, &inputError{text("input.time")}
	}
	var err error
	if data.Explanation, err = s.live.Explain(ctx, ops.Subject{Employee: data.ID}, since); err != nil {
		return reply{}, err
	}
	data.Sentence = texts.Explain(data.Cause, data.ShortEvidence())
	slices.Reverse(data.Events)
	data.FieldRows = memberFields(data.Explanation)
	from := data.Since
	if from == "all" {
		from = "earliest"
	}
	data.Command = command("replay", "--from", from, "--employee", data.ID)
	return reply{page: "employee", title: text("employee.of", data.ID), data: data}, nil
}

// memberFields names for each field the event that has set it, and its outcome.
func memberFields(m ops.Explanation) (rows []memberField) {
	for _, f := range m.Fields {
		row := memberField{Name: f.Name, Event: f.Version, Digest: f.Digest}
		if partition, offset, index, at, ok := f.Source(); ok {
			row.Event, row.At = strconv.Itoa(partition)+":"+strconv.FormatInt(offset, 10), at
			for _, e := range m.Events {
				if e.Partition != partition || e.Offset != offset || e.Index != index {
					continue
				}
				row.Event, row.Outcome = cmp.Or(e.EventID, row.Event), e.Outcome
				for _, d := range m.DeadLetters {
					if d.EventID != "" && d.EventID == e.EventID { // a redrive has set the field
						row.Outcome = string(d.State)
					}
				}
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// command is a command line of membersync, for a POSIX shell.
func command(words ...string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/@+"
	line := []string{"membersync"}
	for _, w := range words {
		if w == "" || strings.Trim(w, plain) != "" {
			w = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		line = append(line, w)
	}
	return strings.Join(line, " ")
}
