package mapper

import (
	"slices"
	"strconv"

	"membersync/crmapi"
	"membersync/mapper/internal/jsontree"
	"membersync/mapper/internal/path"
)

// An interpreter reads one employee's part of a record. Its fault is the first that was
// met; it goes on behind it, so that a dead letter is identified as well as can be.
type interpreter struct {
	w             *work
	p             *program
	part          *part
	before, after jsontree.Value
	states        states
	event         Event
	fault         *Fault
	broken        bool // a jq program failed where its value is part of a decision
	notes         *notes
}

// interpret decides what becomes of the event, and finds what it changes.
func (m *interpreter) interpret() {
	switch {
	case router{m}.routed():
		return
	case m.part.fault != nil:
		m.fault = m.part.fault
		return
	}
	stateReader{m}.readStates()
	switch {
	case m.fault != nil || m.event.Ignored != "":
	case m.states.carriesNothing(): // before changes, since absent: clear would clear all
		m.fail(NeedsFetch, "", -1, "carries ids and no values")
	default:
		m.changes()
	}
}

// changes finds the fields that the event states.
func (m *interpreter) changes() {
	m.event.Update.OpenUserID = m.event.OpenUserID
	for i := range m.p.fields {
		rule := &m.p.fields[i]
		m.notes.beginField(rule)
		fieldReader{m, rule}.change()
		if m.fault != nil {
			m.event.Update = crmapi.Update{}
			return
		}
	}
}

// finds reports whether there is anything at the paths. A program that fails finds something:
// its fault.
func (m *interpreter) finds(paths []path.Path) bool {
	if len(paths) == 0 {
		return false
	}
	v, _, problem := m.first(paths)
	return problem != "" || !v.Absent() && !v.IsNull()
}

func (m *interpreter) fail(reason Reason, place string, offset int64, text string) {
	if m.fault == nil {
		m.fault = &Fault{Reason: reason, Path: place, Text: text, Offset: offset}
	}
}

// at returns the value at a path; a nil path and a value that cannot be read give an absent one.
func (m *interpreter) at(p *path.Path) jsontree.Value {
	if p == nil {
		return jsontree.Value{}
	}
	v, problem := m.find(p)
	if problem != "" && p.JQ != nil { // a program that fails must not look like an absent value
		m.fail(InvalidEvent, p.Place(), -1, problem)
		m.broken = true
	}
	return v
}

// find returns the value at a path that begins at the event or at a root of its own.
func (m *interpreter) find(p *path.Path) (v jsontree.Value, problem string) {
	if p.JQ != nil {
		return m.w.jq.run(m, p.JQ, m.part.item)
	}
	switch p.Root {
	case path.Here, path.Item:
		v = m.part.item
	case path.Event:
		if len(m.w.parts) > fewParts {
			return m.w.once(p, m.part), ""
		}
		v = m.part.event
	case path.After:
		v = m.after
	case path.Before:
		v = m.before
	case path.Key:
		v, problem = m.w.meta.keyValue()
	case path.Header:
		return m.w.meta.headerValue(p.Steps[0].Name)
	case path.Attribute:
		return m.w.meta.attribute(m.part, p.Steps[0].Name)
	}
	return m.p.walk(v, p.Steps, m.part.index), problem
}

// first returns the first value that is there and is not null, else a null, else an absent one.
func (m *interpreter) first(paths []path.Path) (v jsontree.Value, found *path.Path, problem string) {
	found = &paths[0]
	for i := range paths {
		now, wrong := m.find(&paths[i])
		switch {
		case wrong != "":
			return now, &paths[i], wrong
		case now.Absent():
		case !now.IsNull():
			return now, &paths[i], ""
		case v.Absent():
			v, found = now, &paths[i]
		}
	}
	return v, found, ""
}

// missing words that a value is absent. Where the object has a name that differs only in
// case or separators, or if the path lacks the $ of a root, the text says so.
func (m *interpreter) missing(p *path.Path) string {
	if m.fault != nil || len(p.Steps) == 0 || len(m.w.parts) > fewParts || p.Root == path.Header || p.Root == path.Attribute {
		return "is missing"
	}
	last := p.Steps[len(p.Steps)-1]
	around := *p
	around.Steps = p.Steps[:len(p.Steps)-1]
	if object := m.at(&around); object.IsObject() && last.Kind == path.Member {
		if variant := nearVariant(object.Raw(), last.Name); variant != "" {
			return "is missing; " + strconv.QuoteToASCII(variant) + " is another name, upper and lower case count"
		}
	}
	if first := p.Steps[0].Name; p.Root == path.Here && slices.Contains(path.Roots()[1:], "$"+first) && m.part.item.Member(first).Absent() {
		return "is missing; is $" + p.Text + " meant?"
	}
	return "is missing"
}

// withUpdate sets what the event states.
func (m *interpreter) withUpdate(f crmapi.Field, v crmapi.Value) {
	m.event.Update = m.event.Update.With(f, v)
}

// inside is follow for what lies in an entry of a list or a pair. A program that fails is a fault.
func (m *interpreter) inside(v jsontree.Value, p *path.Path) jsontree.Value {
	to, problem := m.w.follow(m, v, p, m.part.index)
	if problem != "" {
		m.fail(InvalidEvent, p.Place(), v.Offset(), problem)
	}
	return to
}

// operand reads the value that a condition looks at.
func (m *interpreter) operand(p *path.Path) (l leaf, ok bool) { return leafOf(m.at(p)) }
