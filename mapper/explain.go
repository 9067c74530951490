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
	w.resolved, w.explains = found, true
	results := w.run()
	if len(w.explained) == 0 {
		return []Explanation{{Result: results[0]}}
	}
	return w.explained
}

// current is the explanation of the employee at hand; it is asked for only while explaining.
func (m *interpreter) current() *Explanation { return &m.w.explained[len(m.w.explained)-1] }

// explain notes an id, the order or a route.
func (m *interpreter) explain(name, place, value, problem string) {
	if m.w.explains {
		e := m.current()
		e.Parts = append(e.Parts, Explained{Name: name, Path: place, Value: value, Reason: problem})
	}
}

// beginField begins the explanation of a field.
func (m *interpreter) beginField(rule *fieldRule) {
	if m.w.explains {
		e := m.current()
		e.Fields = append(e.Fields, Explained{Name: rule.field.String()})
	}
}

// field is the explanation of the field at hand.
func (m *interpreter) field() *Explained {
	e := m.current()
	return &e.Fields[len(e.Fields)-1]
}

// step notes what was done to the field at hand.
func (m *interpreter) step(name, result string) {
	if m.w.explains && !m.quiet {
		f := m.field()
		f.Steps = append(f.Steps, Step{Name: name, Result: result})
	}
}

// found notes where the field's new value stands.
func (m *interpreter) found(p *path.Path, v jsontree.Value) {
	if m.w.explains {
		f := m.field()
		f.Path, f.Raw = p.Text, string(bytes.Clone(v.Raw()))
	}
}

// foundSame notes where a value stands that is not read further.
func (m *interpreter) foundSame(rule *fieldRule) {
	if !m.w.explains {
		return
	}
	for i := range rule.paths {
		if v, _ := m.value(newSide, &rule.paths[i]); !v.Absent() {
			m.found(&rule.paths[i], v)
			return
		}
	}
}

// foundParts notes where the parts of the field's new value stand.
func (m *interpreter) foundParts(rule *fieldRule) {
	if m.w.explains {
		places := make([]string, len(rule.paths))
		for i := range rule.paths {
			places[i] = rule.paths[i].Text
		}
		m.field().Path = strings.Join(places, " + ")
	}
}

// converted notes what a value became.
func (m *interpreter) converted(rule *fieldRule, c content) {
	if !m.w.explains {
		return
	}
	result := c.problem
	switch {
	case c.finding == isSet:
		result = string(c.value.AppendJSON(nil))
	case result == "":
		result = "nothing"
	}
	m.step("read as "+normalisers()[rule.as], result)
}

// end notes why a field has no new value.
func (m *interpreter) end(rule *fieldRule, c content) {
	if !m.w.explains {
		return
	}
	switch c.finding {
	case isAbsent:
		m.field().Reason = "absent, so unchanged"
		if len(rule.paths) > 1 {
			var places []string
			for i := range rule.paths {
				places = append(places, rule.paths[i].Text)
			}
			m.field().Reason += ": nothing at " + strings.Join(places, ", ")
		}
	case isUnavailable:
		m.field().Reason = "unchanged, says the source"
	case isLeftOut:
		m.field().Reason = "left out by the mapping"
	case isWrong:
		m.field().Reason = c.problem
	case isSet, isNull, isEmpty:
	}
}

// stated notes the value that is sent.
func (m *interpreter) stated(v crmapi.Value) {
	if m.w.explains {
		m.field().Value = string(v.AppendJSON(nil))
	}
}
