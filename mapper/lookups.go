package mapper

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A Table translates ids of the HR system into those of the CRM. It must not block.
type Table interface {
	Lookup(key string) (value string, found bool)
}

// A Lookup is what a mapping file says of one of its lookups that are not in the file itself.
type Lookup struct {
	Name       string
	File       string // the CSV file that it comes from, or
	Key, Value string // its columns; empty: the first and the second
	Redis      string // the hash in Redis

	Line, Column int // where the mapping file defines it, from 1
}

// A Reference is a key that a record wants looked up.
type Reference struct {
	Lookup string // the name in the mapping file
	Key    string // personal data, possibly
}

// Lookups lists the lookups that the caller has to supply: files by [Mapping.WithTables],
// those of Redis by [Mapping.References] and [Mapping.MapWith].
func (m *Mapping) Lookups() []Lookup {
	return slices.Clone(m.program.lookups)
}

// WithTables returns a mapping that looks in these tables, by the names of their lookups,
// in addition to those of m. The error names the lookups that the mapping does not have.
func (m *Mapping) WithTables(tables map[string]Table) (*Mapping, error) {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(tables)) {
		if !slices.ContainsFunc(m.Lookups(), func(l Lookup) bool { return l.Name == name }) {
			errs = append(errs, fmt.Errorf("the mapping has no lookup %q that could be given a table", name))
		}
	}
	with := *m
	with.tables = maps.Clone(m.tables)
	if with.tables == nil {
		with.tables = map[string]Table{}
	}
	maps.Copy(with.tables, tables)
	for _, l := range m.Lookups() {
		if table, is := with.tables[l.Name].(*CSVTable); is && m.program.folded[l.Name] {
			folded, twice := foldedTable(table.entries)
			if twice != "" {
				errs = append(errs, fmt.Errorf("lookup %q has two values for a key where case does not count", l.Name))
			}
			with.tables[l.Name] = &CSVTable{entries: folded}
		}
	}
	return &with, errors.Join(errs...)
}

// References lists the keys that the record wants looked up outside of tables, each once.
// The caller finds them in whatever way takes its time, and calls [Mapping.MapWith].
func (m *Mapping) References(rec Record) []Reference {
	if !m.asks() || m.oversized(rec) != nil {
		return nil
	}
	w := m.work(rec)
	defer m.done(w)
	w.lookups.collects = true
	w.run()
	return slices.Clone(w.lookups.needs)
}

// asks reports whether a lookup is left to the caller.
func (m *Mapping) asks() bool {
	return slices.ContainsFunc(m.program.lookups, func(l Lookup) bool { return m.program.external[l.Name] && m.tables[l.Name] == nil })
}

// MapWith is Map with what the caller found for the record's references. A reference
// that is not among them was not found.
func (m *Mapping) MapWith(rec Record, found map[Reference]string) []Result {
	if fault := m.oversized(rec); fault != nil {
		return []Result{{Fault: fault}}
	}
	w := m.work(rec)
	defer m.done(w)
	w.lookups.resolved = found
	return w.run()
}

// A resolver translates keys by the lookups of the mapping.
type resolver struct {
	w        *work
	resolved map[Reference]string // what the caller found for lookups that are not tables
	collects bool                 // needs are gathered, and nothing else matters
	needs    []Reference
}

// translate looks a key up. The problem names the lookup, never the key. A value that JSON cannot
// carry does not count.
func (rs *resolver) translate(name, key string) (value, problem string) {
	if value, problem = rs.look(name, key); !utf8.ValidString(value) {
		return "", "is in lookup " + name + " with a value that is not valid UTF-8"
	}
	return value, problem
}

func (rs *resolver) look(name, key string) (value, problem string) {
	if rs.w.p.folded[name] {
		key = strings.ToLower(key)
	}
	table := rs.w.p.inline[name]
	if table == nil {
		table = rs.w.m.tables[name]
	}
	if table != nil {
		if value, ok := table.Lookup(key); ok {
			return value, ""
		}
		return "", "is not in lookup " + name
	}
	if !rs.w.p.external[name] {
		return "", "needs lookup " + name + ", which is not loaded"
	}
	ref := Reference{Lookup: name, Key: key}
	if rs.collects {
		if !slices.Contains(rs.needs, ref) {
			rs.needs = append(rs.needs, ref)
		}
		return "0", "" // anything that reads on: nothing of it is kept
	}
	if value, ok := rs.resolved[ref]; ok {
		return value, ""
	}
	return "", "is not in lookup " + name
}

// inlineTable is a table that stands in the mapping file.
type inlineTable map[string]string

// Lookup implements Table.
func (t inlineTable) Lookup(key string) (value string, found bool) {
	value, found = t[key]
	return value, found
}

// foldedTable returns a table with its keys in lower case, and a key that has two values then.
func foldedTable(entries map[string]string) (folded map[string]string, twice string) {
	folded = make(map[string]string, len(entries))
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		lower := strings.ToLower(key)
		if old, is := folded[lower]; is && old != entries[key] {
			twice = lower
		}
		folded[lower] = entries[key]
	}
	return folded, twice
}

// A CSVTable is a table read from a CSV file.
type CSVTable struct{ entries map[string]string }

// Lookup implements [Table].
func (t *CSVTable) Lookup(key string) (value string, found bool) {
	value, found = t.entries[key]
	return value, found
}

// Len counts the entries.
func (t *CSVTable) Len() int { return len(t.entries) }

// A TableError says what is wrong with a CSV file. It holds no value.
type TableError struct {
	Line int // from 1
	Text string
}

// Error implements error.
func (e *TableError) Error() string { return "line " + strconv.Itoa(e.Line) + " " + e.Text }

// ParseCSV reads a table: UTF-8, a header line, then a line for each entry. Key and value
// name the columns; empty, they are the first and the second. A key that occurs twice
// with two values, an empty key or value, and a line of another length are errors.
func ParseCSV(text []byte, key, value string) (*CSVTable, error) {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")) // spreadsheets write it
	if !utf8.Valid(text) {
		return nil, &TableError{Line: 1 + bytes.Count(text[:invalidAt(text)], []byte("\n")), Text: "is not valid UTF-8"}
	}
	r := csv.NewReader(bytes.NewReader(text))
	header, err := r.Read()
	if err != nil {
		return nil, tableError(err, "lacks the header")
	}
	keyAt, valueAt, err := columns(header, key, value)
	if err != nil {
		return nil, err
	}
	t := &CSVTable{entries: map[string]string{}}
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return t, nil
		}
		if err != nil {
			return nil, tableError(err, "")
		}
		line, _ := r.FieldPos(0)
		if text := t.add(strings.TrimSpace(row[keyAt]), strings.TrimSpace(row[valueAt])); text != "" {
			return nil, &TableError{Line: line, Text: text}
		}
	}
}

func (t *CSVTable) add(key, value string) string {
	old, twice := t.entries[key]
	switch {
	case key == "":
		return "has an empty key"
	case value == "":
		return "has an empty value"
	case twice && old != value:
		return "gives a key a second value"
	}
	t.entries[key] = value
	return ""
}

func columns(header []string, key, value string) (keyAt, valueAt int, err error) {
	for i, name := range header {
		header[i] = strings.TrimSpace(name)
	}
	keyAt, valueAt = 0, 1
	if key != "" {
		keyAt = slices.Index(header, key)
	}
	if value != "" {
		valueAt = slices.Index(header, value)
	}
	switch {
	case keyAt < 0:
		return 0, 0, &TableError{Line: 1, Text: "has no column " + strconv.Quote(key)}
	case valueAt < 0:
		return 0, 0, &TableError{Line: 1, Text: "has no column " + strconv.Quote(value)}
	case valueAt >= len(header):
		return 0, 0, &TableError{Line: 1, Text: "has one column only"}
	}
	return keyAt, valueAt, nil
}

// tableError words an error of the CSV reader, which does not quote the text.
func tableError(err error, otherwise string) error {
	wrong, ok := errors.AsType[*csv.ParseError](err)
	switch {
	case !ok:
		return &TableError{Line: 1, Text: otherwise}
	case errors.Is(err, csv.ErrFieldCount):
		return &TableError{Line: wrong.Line, Text: "has another number of columns than the header"}
	}
	return &TableError{Line: wrong.Line, Text: "has a quotation mark in the wrong place"}
}

func invalidAt(text []byte) int {
	at := 0
	for at < len(text) {
		r, n := utf8.DecodeRune(text[at:])
		if r == utf8.RuneError && n == 1 {
			break
		}
		at += n
	}
	return at
}
