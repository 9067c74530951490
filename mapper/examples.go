package mapper

import (
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"membersync/crmapi"
	"membersync/mapper/internal/spec"
)

// An example is a message of a mapping file and what must come of it.
type example struct {
	name    string
	line    int
	record  Record
	timed   bool // its record has a timestamp of its own
	lookups map[string]Table
	found   map[Reference]string
	out     []expected
}

type expected struct {
	spec *spec.Expected
	user crmapi.Update
}

// An ExampleResult is how one example of a mapping file went.
type ExampleResult struct {
	Name  string
	Line  int          // in the mapping file
	Diffs []Difference // none: it went as it should
}

// A Difference is one difference between what an example wants and what came.
type Difference struct {
	Index     int    // the employee's place in the record
	What      string // outcome, reason, user.mobile and so on
	Want, Got string // of a field: JSON, empty if it is not sent
}

// RunExamples runs the examples of the mapping file.
func (m *Mapping) RunExamples() []ExampleResult {
	results := make([]ExampleResult, len(m.program.examples))
	for i := range m.program.examples {
		e := &m.program.examples[i]
		results[i] = ExampleResult{Name: e.name, Line: e.line, Diffs: m.try(e)}
	}
	return results
}

// try runs one example.
func (m *Mapping) try(e *example) (diffs []Difference) {
	with := *m
	with.tables = e.lookups
	if !e.timed { // how far ahead an event may lie is no question of the mapping
		with.options.MaxAhead = 0
	}
	results := with.MapWith(e.record, e.found)
	if len(results) != len(e.out) {
		return []Difference{{What: "number of results", Want: strconv.Itoa(len(e.out)), Got: strconv.Itoa(len(results))}}
	}
	for i, r := range results {
		diffs = append(diffs, compareResult(i, e.out[i], r)...)
	}
	return diffs
}

// compareResult compares what the example names, and the user object whole.
func compareResult(i int, want expected, got Result) (diffs []Difference) {
	outcome, reason := got.outcome()
	place, text := "", ""
	if got.Fault != nil {
		place, text = got.Fault.Path, got.Fault.Error()
	}
	s := want.spec
	if s.Outcome.Value != outcome {
		return []Difference{{i, "outcome", s.Outcome.Value, why(outcome, reason, text)}}
	}
	for _, c := range []struct {
		what string
		want spec.Text
		got  string
	}{
		{"reason", s.Reason, reason},
		{"path", s.Path, place},
		{"event_id", s.EventID, got.Event.ID},
		{"employee_id", s.EmployeeID, got.Event.EmployeeID},
		{"order", s.Order, got.Event.Order},
	} {
		if c.want.Given() && c.want.Value != c.got {
			diffs = append(diffs, Difference{i, c.what, c.want.Value, c.got})
		}
	}
	if s.Error.Given() && !strings.Contains(text, s.Error.Value) {
		diffs = append(diffs, Difference{i, "error", s.Error.Value, text})
	}
	return append(diffs, compareUser(i, want.user, got)...)
}

// why says what came instead, and the reason.
func why(outcome, reason, text string) string {
	switch {
	case text != "":
		return outcome + ": " + text
	case reason != "":
		return outcome + ": " + reason
	}
	return outcome
}

func compareUser(i int, want crmapi.Update, got Result) (diffs []Difference) {
	is := got.Event.Update
	if got.Fault != nil || got.Event.Ignored != "" || is.Len() == 0 {
		is = crmapi.Update{}
	}
	if is.OpenUserID != want.OpenUserID {
		diffs = append(diffs, Difference{i, "user.openUserId", want.OpenUserID, is.OpenUserID})
	}
	for f := range crmapi.Field(crmapi.NumFields) {
		if w, g := fieldJSON(want, f), fieldJSON(is, f); w != g {
			diffs = append(diffs, Difference{i, "user." + f.String(), w, g})
		}
	}
	return diffs
}

// fieldJSON is the JSON of a field, empty if it is not set.
func fieldJSON(u crmapi.Update, f crmapi.Field) string {
	if v, ok := u.Get(f); ok {
		return string(v.AppendJSON(nil))
	}
	return ""
}

// An exampleCompiler compiles the examples.
type exampleCompiler struct{ c *compiler }

// example compiles an example.
func (xc exampleCompiler) example(e *spec.Example) {
	to := example{name: e.Name.Value, line: e.At.Line, timed: e.Timestamp.Given(), lookups: map[string]Table{}, found: map[Reference]string{}}
	to.record = xc.exampleRecord(e)
	for _, l := range e.Lookups {
		xc.exampleLookup(&l, &to)
	}
	for i := range e.Out {
		to.out = append(to.out, expected{spec: &e.Out[i], user: xc.user(&e.Out[i])})
	}
	xc.c.p.examples = append(xc.c.p.examples, to)
}

// exampleTime is the timestamp of an example's record that has none.
const exampleTime = "2026-01-01T00:00:00Z"

func (xc exampleCompiler) exampleRecord(e *spec.Example) Record {
	rec := Record{Topic: "example", Value: []byte(e.Value.Value)}
	stamp := exampleTime
	if e.Timestamp.Given() {
		stamp = e.Timestamp.Value
	}
	var ok bool
	if rec.Time, ok = parseRFC3339(stamp); !ok {
		xc.c.log.Add(e.Timestamp.Pos, "should be a time such as "+exampleTime)
		rec.Time = time.Time{}
	}
	if e.Key.Given() {
		rec.Key = []byte(e.Key.Value)
	}
	for _, h := range e.Headers {
		rec.Headers = append(rec.Headers, Header{Key: h.Name.Value, Value: []byte(h.Value.Value)})
	}
	switch {
	case e.NoValue.Value && !e.Value.Given() && !e.Base64.Given():
		rec.Value = nil
	case e.NoValue.Value:
		xc.c.log.Add(e.At, "an example with no_value has neither value nor base64")
	case e.Value.Given() == e.Base64.Given():
		xc.c.log.Add(e.At, "an example has either value or base64")
	case e.Base64.Given():
		var err error
		if rec.Value, err = base64.StdEncoding.DecodeString(e.Base64.Value); err != nil {
			xc.c.log.Add(e.Base64.Pos, "is not base64")
		}
	}
	return rec
}

func (xc exampleCompiler) exampleLookup(l *spec.Entry[spec.Map[spec.Text]], to *example) {
	at := -1
	for i, known := range xc.c.p.lookups {
		if known.Name == l.Name.Value {
			at = i
		}
	}
	if at < 0 {
		xc.c.log.Add(l.Name.Pos, strconv.Quote(l.Name.Value)+" is no lookup that an example can fill"+spec.Hint(l.Name.Value, xc.c.lookups.names))
		return
	}
	table := inlineTable{}
	for _, entry := range l.Value {
		key := entry.Name.Value
		if xc.c.p.folded[l.Name.Value] {
			key = strings.ToLower(key)
		}
		table[key] = entry.Value.Value
		to.found[Reference{Lookup: l.Name.Value, Key: key}] = entry.Value.Value
	}
	if xc.c.p.lookups[at].Redis == "" {
		to.lookups[l.Name.Value] = table
	}
}

// user reads the wanted user object.
func (xc exampleCompiler) user(e *spec.Expected) (none crmapi.Update) {
	wanted := e.User.Given()
	if wanted != (e.Outcome.Value == outcomeUpdate) {
		xc.c.log.Add(e.At, "user belongs to the outcome update, and to it alone")
		return none
	}
	if !wanted {
		return none
	}
	if e.User.Node.Kind != yaml.MappingNode {
		xc.c.log.Add(e.User.Pos, "should be a map")
		return none
	}
	return xc.userUpdate(e.User.Node)
}
