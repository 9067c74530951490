package mapper

import (
	"encoding/json"
	"slices"

	"github.com/itchyny/gojq"

	"membersync/mapper/internal/jq"
	"membersync/mapper/internal/jsontree"
	"membersync/mapper/internal/path"
)

// variables lists what jq programs know besides their input.
func variables() []string {
	return []string{"$event", "$item", "$after", "$before", "$key", "$header"}
}

// A jqRunner runs the jq programs on one record, within one budget.
type jqRunner struct {
	w      *work
	budget *jq.Budget
	ran    map[jqRun]jqResult
	plains map[jsontree.Value]any
}

// A jqRun is a program with what it ran on.
type jqRun struct {
	program *jq.Program
	in      jsontree.Value
	part    *part
}

// A jqResult is the outcome of a run.
type jqResult struct {
	value   jsontree.Value
	problem string
}

// run runs a program on a value, once for each value. A program that reads nothing that is there
// has an absent result, not null.
func (jr *jqRunner) run(m *interpreter, program *jq.Program, in jsontree.Value) (jsontree.Value, string) {
	key := jqRun{program: program, in: in}
	if m != nil {
		key.part = m.part
	}
	result, known := jr.ran[key]
	if !known {
		result.value, result.problem = jr.runNow(m, program, in)
		if jr.ran == nil {
			jr.ran = map[jqRun]jqResult{}
		}
		jr.ran[key] = result
	}
	return result.value, result.problem
}

func (jr *jqRunner) runNow(m *interpreter, program *jq.Program, in jsontree.Value) (v jsontree.Value, problem string) {
	reads := &program.Reads
	if in.Absent() && len(reads.Variables) == 0 {
		return v, ""
	}
	values, problem := jr.variables(m, reads.Variables)
	if problem != "" {
		return v, problem
	}
	result, some, problem := program.Run(jr.spending(), jr.plain(in), values)
	if problem != "" || !some || result == nil && jr.findsNothing(reads, in) {
		return v, problem
	}
	text, err := gojq.Marshal(result)
	if err != nil {
		return v, "gets what is not JSON from its jq program"
	}
	v, err = jr.w.another().ReadInner(text, int(in.Offset()))
	if err != nil {
		return jsontree.Value{}, "gets what is not JSON from its jq program"
	}
	return v, ""
}

// findsNothing reports whether an object has none of the members that a program reads.
func (jr *jqRunner) findsNothing(reads *jq.Reads, in jsontree.Value) bool {
	return in.IsObject() && !reads.Whole && len(reads.Variables) == 0 && len(reads.Tops) > 0 &&
		!slices.ContainsFunc(reads.Tops, func(name string) bool { return !in.Member(name).Absent() })
}

// spending is the budget of the record.
func (jr *jqRunner) spending() *jq.Budget {
	if jr.budget == nil {
		jr.budget = jq.NewBudget()
	}
	return jr.budget
}

// variables are the values of those variables that a program reads; of others, null.
func (jr *jqRunner) variables(m *interpreter, read []string) (values []any, problem string) {
	values = make([]any, len(variables()))
	if m == nil {
		return values, ""
	}
	for i, name := range variables() {
		if !slices.Contains(read, name) {
			continue
		}
		switch name {
		case "$event":
			values[i] = jr.plain(m.part.event)
		case "$item":
			values[i] = jr.plain(m.part.item)
		case "$after":
			values[i] = jr.plain(m.after)
		case "$before":
			values[i] = jr.plain(m.before)
		case "$key":
			v, wrong := jr.w.meta.keyValue()
			if wrong != "" {
				return nil, "reads the key, which " + wrong
			}
			values[i] = jr.plain(v)
		case "$header":
			headers := map[string]any{}
			for _, h := range slices.Backward(jr.w.rec.Headers) { // the first of a name counts
				if v, wrong := jr.w.meta.headerValue(h.Key); wrong == "" {
					headers[h.Key] = jr.plain(v)
				}
			}
			values[i] = headers
		}
	}
	return values, ""
}

// plain returns a value as jq programs know it. They do not change it, so it is made once.
func (jr *jqRunner) plain(v jsontree.Value) any {
	if v.Absent() {
		return nil
	}
	if known, ok := jr.plains[v]; ok {
		return known
	}
	made := plainOf(v)
	if jr.plains == nil {
		jr.plains = map[jsontree.Value]any{}
	}
	jr.plains[v] = made
	return made
}

func plainOf(v jsontree.Value) any {
	switch v.First() {
	case '{':
		object := make(map[string]any, v.Len())
		for name, member := range v.Members() {
			object[name] = plainOf(member)
		}
		return object
	case '[':
		list := make([]any, 0, v.Len())
		for entry := range v.Entries() {
			list = append(list, plainOf(entry))
		}
		return list
	case '"':
		return v.Text()
	case 't', 'f':
		return v.First() == 't'
	case 'n':
		return nil
	}
	return json.Number(v.Raw()) // keeps every digit
}

// holds is a condition: a program gives anything but null and false.
func holds(p *path.Path) condition {
	return func(m *interpreter) bool {
		v := m.at(p)
		return !v.Absent() && !v.IsNull() && string(v.Raw()) != "false"
	}
}
