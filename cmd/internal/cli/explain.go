package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"membersync/cmd/internal/texts"
	"membersync/mapper"
)

// printExplanations prints how each employee's part of a message was read.
func printExplanations(in *invocation, explanations []mapper.Explanation) int {
	results := make([]mapper.Result, len(explanations))
	for i, e := range explanations {
		results[i] = e.Result
		if err := printExplanation(in, e); err != nil {
			return noStdout(in, err)
		}
	}
	return mapStatus(results)
}

func printExplanation(in *invocation, e mapper.Explanation) error {
	if in.output == outputJSON {
		line, err := explanationJSON(in, e)
		if err != nil {
			return err
		}
		_, err = in.Stdout.Write(append(line, '\n'))
		return err
	}
	if err := printMapped(in, []mapper.Result{e.Result}); err != nil {
		return err
	}
	w := tabwriter.NewWriter(in.Stdout, 0, 0, 2, ' ', 0)
	for _, part := range e.Parts {
		value := part.Value
		if part.Reason != "" {
			value = "none: " + part.Reason
		}
		row(w, part.Name, part.Path, value)
	}
	for _, field := range e.Fields {
		printField(w, field)
	}
	if len(e.Unread) > 0 {
		row(w, "not read", "no path has these", unreadText(e.Unread))
	}
	return w.Flush()
}

// unreadShown is how many names that nothing reads are listed.
const unreadShown = 20

func unreadText(names []string) string {
	if n := len(names) - unreadShown; n > 0 {
		return strings.Join(names[:unreadShown], ", ") + " and " + strconv.Itoa(n) + " more"
	}
	return strings.Join(names, ", ")
}

// printField prints a line for where the value stands, for each step, and for what is sent.
func printField(w io.Writer, field mapper.Explained) {
	row(w, field.Name, field.Path, field.Raw)
	for _, step := range field.Steps {
		row(w, "", step.Name, step.Result)
	}
	switch {
	case field.Value != "":
		row(w, "", "sent", field.Value)
	case field.Reason != "":
		row(w, "", "not sent", field.Reason)
	}
}

func row(w io.Writer, name, place, value string) {
	if name == "" {
		name = " "
	} else {
		name = texts.Quoted(name)
	}
	_, _ = fmt.Fprintf(w, "  %s\t%s\t%s\n", name, texts.Quoted(place), texts.Quoted(value))
}

// The json form of an explanation is that of the result, and explain.
type (
	explainedJSON struct {
		Parts  []partJSON  `json:"parts"`
		Fields []fieldJSON `json:"fields"`
		Unread []string    `json:"unread,omitempty"`
	}
	partJSON struct {
		Name   string `json:"name"`
		Path   string `json:"path"`
		Value  string `json:"value,omitempty"`
		Reason string `json:"reason,omitempty"`
	}
	fieldJSON struct {
		Name   string          `json:"name"`
		Path   string          `json:"path,omitempty"`
		Raw    json.RawMessage `json:"raw,omitempty"`
		Steps  []stepJSON      `json:"steps,omitempty"`
		Value  json.RawMessage `json:"value,omitempty"`
		Reason string          `json:"reason,omitempty"`
	}
	stepJSON struct {
		Step   string `json:"step"`
		Result string `json:"result,omitempty"`
	}
)

func explanationJSON(in *invocation, e mapper.Explanation) ([]byte, error) {
	told := explainedJSON{Parts: []partJSON{}, Fields: []fieldJSON{}, Unread: e.Unread}
	for _, p := range e.Parts {
		told.Parts = append(told.Parts, partJSON{p.Name, p.Path, p.Value, p.Reason})
	}
	for _, f := range e.Fields {
		one := fieldJSON{Name: f.Name, Path: f.Path, Raw: json.RawMessage(f.Raw), Value: json.RawMessage(f.Value), Reason: f.Reason}
		for _, s := range f.Steps {
			one.Steps = append(one.Steps, stepJSON{s.Name, s.Result})
		}
		told.Fields = append(told.Fields, one)
	}
	explained, err := json.Marshal(told)
	if err != nil {
		return nil, err
	}
	line := mappedJSON(in, e.Result)
	line = append(line[:len(line)-1], `,"explain":`...)
	return append(append(line, explained...), '}'), nil
}
