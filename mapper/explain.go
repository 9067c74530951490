package mapper

import (
	"bytes"
	"strings"

	"membersync/crmapi"
	"membersync/mapper/internal/jsontree"
	"membersync/mapper/internal/path"
)

// An Explanation says how one employee's part of a record was read. It holds personal
// data: it is for callers that have the record anyway.
type Explanation struct {
	Result Result
	Parts  []Explained // ids, order and routes
	Fields []Explained // in the order of the API, those that the mapping has
	// Unread are the names with a new value that no path of the mapping has, such as a mistyped one.
	Unread []string
}

// An Explained is one value of an event: where it came from and what was done to it.
type Explained struct {
	Name   string // of the field or the id
	Path   string // where it was looked for, as the mapping file says
	Raw    string // what stood there, as JSON; empty: nothing
	Steps  []Step
	Value  string // what is sent, as JSON, or the id; empty: nothing
	Reason string // why nothing is
}

// A Step is one thing that was done to a value.
type Step struct {
	Name   string
	Result string // empty if the step has none of its own
}

// Explain maps the record and tells for each field where its value came from and what
// each step did to it. Found is as in [Mapping.MapWith]. A record that failed whole has one
// explanation without parts.
func (m *Mapping) Explain(rec Record, found map[Reference]string) []Explanation {
	if fault := m.oversized(rec); fault != nil {
		return []Explanation{{Result: Result{Fault: fault}}}
	}
	w := m.work(rec)
	defer m.done(w)
	w.lookups.resolved, w.notes.on = found, true
	results := w.run()
	if len(w.notes.list) == 0 {
		return []Explanation{{Result: results[0]}}
	}
	return w.notes.list
}

// notes are the explanations of a record's employees, while they are asked for. The zero value
// takes none.
type notes struct {
	on    bool
	quiet bool // steps are left out: they are those of the old value
	list  []Explanation
}

// unread notes the new values that nothing reads. A program that looks at a value as a whole may
// read any.
func (n *notes) unread(m *interpreter) {
	if !n.on || m.p.readsAny || m.states.partial {
		return
	}
	e := n.current()
	note := func(name string) {
		if !m.p.names[name] {
			e.Unread = append(e.Unread, name)
		}
	}
	for name := range m.states.after.Members() {
		note(name)
	}
	for _, p := range m.states.pairs {
		note(p.name)
	}
}

// current is the explanation of the employee at hand; it is asked for only while explaining.
func (n *notes) current() *Explanation { return &n.list[len(n.list)-1] }

// explain notes an id, the order or a route.
func (n *notes) explain(name, place, value, problem string) {
	if n.on {
		e := n.current()
		e.Parts = append(e.Parts, Explained{Name: name, Path: place, Value: value, Reason: problem})
	}
}

// beginField begins the explanation of a field.
func (n *notes) beginField(rule *fieldRule) {
	if n.on {
		e := n.current()
		e.Fields = append(e.Fields, Explained{Name: rule.field.String()})
	}
}

// field is the explanation of the field at hand.
func (n *notes) field() *Explained {
	e := n.current()
	return &e.Fields[len(e.Fields)-1]
}

// step notes what was done to the field at hand.
func (n *notes) step(name, result string) {
	if n.on && !n.quiet {
		f := n.field()
		f.Steps = append(f.Steps, Step{Name: name, Result: result})
	}
}

// found notes where the field's new value stands.
func (n *notes) found(p *path.Path, v jsontree.Value) {
	if n.on {
		f := n.field()
		f.Path, f.Raw = p.Text, string(bytes.Clone(v.Raw()))
	}
}

// foundSame notes where a value stands that is not read further.
func (n *notes) foundSame(rule *fieldRule, st *states) {
	if !n.on {
		return
	}
	for i := range rule.paths {
		if v, _ := st.value(newSide, &rule.paths[i]); !v.Absent() {
			n.found(&rule.paths[i], v)
			return
		}
	}
}

// foundParts notes where the parts of the field's new value stand.
func (n *notes) foundParts(rule *fieldRule) {
	if n.on {
		places := make([]string, len(rule.paths))
		for i := range rule.paths {
			places[i] = rule.paths[i].Text
		}
		n.field().Path = strings.Join(places, " + ")
	}
}

// converted notes what a value became.
func (n *notes) converted(rule *fieldRule, c content) {
	if !n.on {
		return
	}
	result := c.problem
	switch {
	case c.finding == isSet:
		result = string(c.value.AppendJSON(nil))
	case result == "":
		result = "nothing"
	}
	n.step("read as "+normalizers()[rule.as], result)
}

// end notes why a field has no new value.
func (n *notes) end(rule *fieldRule, c content) {
	if !n.on {
		return
	}
	switch c.finding {
	case isAbsent:
		n.field().Reason = "absent, so unchanged"
		if len(rule.paths) > 1 {
			var places []string
			for i := range rule.paths {
				places = append(places, rule.paths[i].Text)
			}
			n.field().Reason += ": nothing at " + strings.Join(places, ", ")
		}
	case isUnavailable:
		n.field().Reason = "unchanged, says the source"
	case isLeftOut:
		n.field().Reason = "left out by the mapping"
	case isWrong:
		n.field().Reason = c.problem
	case isSet, isNull, isEmpty:
	}
}

// stated notes the value that is sent.
func (n *notes) stated(v crmapi.Value) {
	if n.on {
		n.field().Value = string(v.AppendJSON(nil))
	}
}
