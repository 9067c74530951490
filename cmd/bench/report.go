package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
)

// A report holds what a command measured.
type report struct {
	about   []string // how it was measured, in lines
	tables  []table
	targets []target
	cases   []string // of what must not happen; they come last, where a log that is cut off still has them
}

// A table has a column for each name. Cells are strings, ints and floats.
type table struct {
	name    string
	columns []string // as in JSON: lower case, with the unit at the end
	rows    [][]any
}

func (t *table) add(cells ...any) { t.rows = append(t.rows, cells) }

// A target is a limit for a figure: at least or at most.
type target struct {
	name       string
	got, limit float64
	atLeast    bool // otherwise at most
}

func (t target) met() bool {
	if t.atLeast {
		return t.got >= t.limit
	}
	return t.got <= t.limit
}

func (t target) words() (status, relation string) {
	status, relation = "MISSED", "at most"
	if t.met() {
		status = "met"
	}
	if t.atLeast {
		relation = "at least"
	}
	return status, relation
}

func (r *report) atLeast(name string, got, limit float64) {
	r.targets = append(r.targets, target{name, got, limit, true})
}

func (r *report) atMost(name string, got, limit float64) {
	r.targets = append(r.targets, target{name, got, limit, false})
}

// met reports whether all targets are met.
func (r *report) met() bool {
	for _, t := range r.targets {
		if !t.met() {
			return false
		}
	}
	return true
}

func (r *report) print(w io.Writer, output string) error {
	if output == "json" {
		return r.printJSON(w)
	}
	return r.printTables(w)
}

func (r *report) printTables(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, line := range r.about {
		_, _ = fmt.Fprintln(t, line)
	}
	for _, table := range r.tables {
		_, _ = fmt.Fprintf(t, "\n%s\n", table.name)
		for _, c := range table.columns {
			_, _ = fmt.Fprintf(t, "%s\t", c)
		}
		_, _ = fmt.Fprintln(t)
		for _, row := range table.rows {
			for _, c := range row {
				_, _ = fmt.Fprintf(t, "%s\t", cell(c))
			}
			_, _ = fmt.Fprintln(t)
		}
	}
	_, _ = fmt.Fprintln(t)
	for _, g := range r.targets {
		status, relation := g.words()
		_, _ = fmt.Fprintf(t, "%s: %s is %s, wanted %s %s\n", status, g.name, number(g.got), relation, number(g.limit))
	}
	for _, text := range r.cases {
		_, _ = fmt.Fprintln(t, text)
	}
	return t.Flush()
}

// printJSON prints an object for each row and each target.
func (r *report) printJSON(w io.Writer) error {
	lines := json.NewEncoder(w)
	for _, t := range r.tables {
		for _, row := range t.rows {
			object := map[string]any{"table": t.name}
			for i, c := range row {
				object[t.columns[i]] = c
			}
			if err := lines.Encode(object); err != nil {
				return err
			}
		}
	}
	for _, t := range r.targets {
		_, relation := t.words()
		object := map[string]any{"target": t.name, "got": t.got, "wanted": relation, "limit": t.limit, "met": t.met()}
		if err := lines.Encode(object); err != nil {
			return err
		}
	}
	for _, text := range r.cases {
		if err := lines.Encode(map[string]any{"case": text}); err != nil {
			return err
		}
	}
	return nil
}

func cell(c any) string {
	if f, ok := c.(float64); ok {
		return number(f)
	}
	return fmt.Sprint(c)
}

// number formats a number with about four significant digits.
func number(f float64) string {
	decimals := 3
	switch {
	case f >= 1000 || f <= -1000:
		decimals = 0
	case f >= 100 || f <= -100:
		decimals = 1
	case f >= 10 || f <= -10:
		decimals = 2
	}
	return strconv.FormatFloat(f, 'f', decimals, 64)
}
