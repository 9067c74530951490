package mapper

import (
	"encoding/json"
	"slices"
	"strconv"

	"github.com/itchyny/gojq"

	"membersync/mapper/internal/jq"
	"membersync/mapper/internal/jsontree"
	"membersync/mapper/internal/path"
	"membersync/mapper/internal/spec"
)

// variables lists what jq programs know besides their input.
func variables() []string {
	return []string{"$event", "$item", "$after", "$before", "$key", "$header"}
}

// program compiles a jq program, as a path whose value is its result.
func (c *compiler) program(text *spec.Program) (p path.Path, ok bool) {
	p.Text = "jq at line " + strconv.Itoa(text.Line)
	program, err := jq.Compile(text.Value, variables())
	if err != nil {
		at, problem := text.Pos, "is no jq program"
		if fault, is := err.(*jq.SyntaxError); is { //nolint:errorlint // Compile returns nothing else
			at, problem = text.At(fault.Offset), fault.Text
		}
		c.log.Add(at, "jq: "+problem)
		return p, false
	}
	p.JQ = program
	for _, name := range program.Reads.Names {
		c.p.names[name] = true
	}
	c.p.readsAny = c.p.readsAny || program.Reads.Whole
	return p, true
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
func (w *work) runJQ(m *interpreter, program *jq.Program, in jsontree.Value) (jsontree.Value, string) {
	key := jqRun{program: program, in: in}
	if m != nil {
		key.part = m.part
	}
	result, known := w.ran[key]
	if !known {
		result.value, result.problem = w.runNow(m, program, in)
		if w.ran == nil {
			w.ran = map[jqRun]jqResult{}
		}
		w.ran[key] = result
	}
	return result.value, result.problem
}

func (w *work) runNow(m *interpreter, program *jq.Program, in jsontree.Value) (v jsontree.Value, problem string) {
	reads := &program.Reads
	if in.Absent() && len(reads.Variables) == 0 {
		return v, ""
	}
	values, problem := w.variables(m, reads.Variables)
	if problem != "" {
		return v, problem
	}
	result, some, problem := program.Run(w.spending(), w.plain(in), values)
	if problem != "" || !some || result == nil && w.findsNothing(reads, in) {
		return v, problem
	}
	text, err := gojq.Marshal(result)
	if err != nil {
		return v, "gets what is not JSON from its jq program"
	}
	v, err = w.another().ReadInner(text, int(in.Offset()))
	if err != nil {
		return jsontree.Value{}, "gets what is not JSON from its jq program"
	}
	return v, ""
}

// findsNothing reports whether an object has none of the members that a program reads.
func (w *work) findsNothing(reads *jq.Reads, in jsontree.Value) bool {
	return in.IsObject() && !reads.Whole && len(reads.Variables) == 0 && len(reads.Tops) > 0 &&
		!slices.ContainsFunc(reads.Tops, func(name string) bool { return !in.Member(name).Absent() })
}

// spending is the budget of the record.
func (w *work) spending() *jq.Budget {
	if w.budget == nil {
		w.budget = jq.NewBudget()
	}
	return w.budget
}

// variables are the values of those variables that a program reads; of others, null.
func (w *work) variables(m *interpreter, read []string) (values []any, problem string) {
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
			values[i] = w.plain(m.part.event)
		case "$item":
			values[i] = w.plain(m.part.item)
		case "$after":
			values[i] = w.plain(m.after)
		case "$before":
			values[i] = w.plain(m.before)
		case "$key":
			v, wrong := w.keyValue()
			if wrong != "" {
				return nil, "reads the key, which " + wrong
			}
			values[i] = w.plain(v)
		case "$header":
			headers := map[string]any{}
			for _, h := range slices.Backward(w.rec.Headers) { // the first of a name counts
				if v, wrong := w.headerValue(h.Key); wrong == "" {
					headers[h.Key] = w.plain(v)
				}
			}
			values[i] = headers
		}
	}
	return values, ""
}

// plain returns a value as jq programs know it. They do not change it, so it is made once.
func (w *work) plain(v jsontree.Value) any {
	if v.Absent() {
		return nil
	}
	if known, ok := w.plains[v]; ok {
		return known
	}
	made := plainOf(v)
	if w.plains == nil {
		w.plains = map[jsontree.Value]any{}
	}
	w.plains[v] = made
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

// follow returns what a path means in a value, which it begins in.
func (w *work) follow(m *interpreter, v jsontree.Value, p *path.Path, index int) (jsontree.Value, string) {
	if p.JQ != nil {
		return w.runJQ(m, p.JQ, v)
	}
	return w.walk(v, p.Steps, index), ""
}

// within is follow for what lies in an entry of a list or a pair. A program that fails is a fault.
func (m *interpreter) inside(v jsontree.Value, p *path.Path) jsontree.Value {
	to, problem := m.w.follow(m, v, p, m.part.index)
	if problem != "" {
		m.fail(InvalidEvent, p.Place(), v.Offset(), problem)
	}
	return to
}

// holds is a condition: a program gives anything but null and false.
func holds(p *path.Path) condition {
	return func(m *interpreter) bool {
		v := m.at(p)
		return !v.Absent() && !v.IsNull() && string(v.Raw()) != "false"
	}
}

// step runs the program of a field over its value.
func (m *interpreter) program(rule *fieldRule, v jsontree.Value) (to jsontree.Value, c content) {
	if rule.program == nil || v.IsNull() {
		return v, content{finding: isSet}
	}
	to, problem := m.w.runJQ(m, rule.program.JQ, v)
	switch {
	case problem != "":
		return to, wrong(problem)
	case to.Absent():
		m.step("jq", "nothing")
		return to, content{finding: isLeftOut}
	}
	m.step("jq", string(to.Raw()))
	return to, content{finding: isSet}
}

// asObject is one side of the pairs as an object, for programs that look at all of it.
func (m *interpreter) asObject(s side) jsontree.Value {
	if m.objects[s].Absent() {
		text := []byte{'{'}
		for i := range m.states.pairs {
			p := &m.states.pairs[i]
			v := p.new
			if s == oldSide {
				v = p.old
			}
			if v.Absent() {
				continue
			}
			if len(text) > 1 {
				text = append(text, ',')
			}
			text = append(append(text, jsontree.OfText(p.name, -1).Raw()...), ':')
			text = append(text, v.Raw()...)
		}
		m.objects[s], _ = m.w.another().ReadInner(append(text, '}'), -1) // its parts are valid and its names differ
	}
	return m.objects[s]
}

// marked notes the values in the record that a program reads its result from, or reports that its
// text does not tell.
func (m *interpreter) marked(in map[jsontree.Value]bool, p *path.Path) bool {
	from := m.part.item
	values, problem := m.w.variables(m, p.JQ.Reads.Variables)
	if problem != "" {
		return false
	}
	places, ok := p.JQ.Paths(m.w.spending(), m.w.plain(from), values)
	for _, place := range places {
		v := from
		for _, step := range place {
			switch step := step.(type) {
			case string:
				v = v.Member(step)
			case int:
				v = v.Entry(step)
			default:
				v = jsontree.Value{}
			}
		}
		if v.Absent() {
			continue
		}
		in[v] = true
	}
	return ok
}
