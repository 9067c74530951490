package mapper

import (
	"slices"

	"membersync/mapper/internal/jsontree"
	"membersync/mapper/internal/path"
)

// A stateRule says where old and new values stand.
type stateRule struct {
	after, before *path.Path
	text          bool // they are JSON texts that hold JSON
	holdsChanged  bool // before holds only what changed
	noValues      Reason
	changed       *path.Path
	changedSplit  string
	changedName   *path.Path
	emptyList     emptyList
	absentClears  bool       // after is the whole record: what it lacks is cleared
	removed       *path.Path // a list of the names of removed fields
	pairs         *pairRule
}

// A pairRule says where old and new values stand side by side.
type pairRule struct {
	from          path.Path
	name, old, op *path.Path
	new           path.Path
	remove        []string
	objects       bool // a list of objects whose members are the fields
	bare          bool // an entry of another form is the new value
}

// states are the old and new values of one employee.
type states struct {
	after, before jsontree.Value
	pairs         []pair
	named         bool // changed lists the names of all fields that changed
	changed       []string
	removed       []string
	noNulls       bool  // the source leaves nulls out, so before does not name what was null
	partial       bool  // MongoDB's update: after may name what lies deeper by its path
	invented      truth // an empty old value is not known to be one
}

// A pair is what happened to one field.
type pair struct {
	name     string
	old, new jsontree.Value
}

// locate finds the objects with the old and the new values.
func (m *interpreter) locate() {
	rule := &m.p.states
	m.before, m.after = m.at(rule.before), m.at(rule.after)
	if rule.text {
		m.before, m.after = m.unwrapped(m.before, rule.before), m.unwrapped(m.after, rule.after)
	}
}

// unwrapped reads the JSON that a state holds as text.
func (m *interpreter) unwrapped(v jsontree.Value, p *path.Path) jsontree.Value {
	if !v.IsText() {
		return v
	}
	inside, fault := m.w.within(v, false)
	if fault != nil {
		m.fail(InvalidEvent, p.Place(), fault.Offset, fault.Text)
		return jsontree.Value{}
	}
	return inside
}

// readStates judges them as a whole. A null after with a before is a deletion.
func (m *interpreter) readStates() {
	rule := &m.p.states
	if rule.pairs != nil {
		m.readPairs(rule.pairs)
		return
	}
	after, before := m.after, m.before
	switch {
	case !before.Absent() && !before.IsNull() && !before.IsObject():
		m.fail(InvalidEvent, rule.before.Place(), before.Offset(), "is "+jsonType(before)+", not an object")
	case after.Absent():
		m.fail(rule.noValues, rule.after.Place(), -1, m.missing(rule.after))
	case after.IsNull() && before.IsObject():
		m.event.Ignored = "deletion"
	case after.IsNull():
		m.fail(rule.noValues, rule.after.Place(), after.Offset(), "is null, and there is no before")
	case !after.IsObject():
		m.fail(InvalidEvent, rule.after.Place(), after.Offset(), "is "+jsonType(after)+", not an object")
	default:
		m.states.after, m.states.before = after, before
		m.readChanged()
		m.readRemoved()
		if m.anotherMember() {
			m.states.before = jsontree.Value{}
		}
		m.states.noNulls = m.p.states.holdsChanged && m.leavesNullsOut()
		m.states.partial = m.p.kind == debezium && !m.part.event.Member("updateDescription").Absent()
	}
}

// readPairs reads old and new values that stand side by side.
func (m *interpreter) readPairs(rule *pairRule) {
	v := m.at(&rule.from)
	switch {
	case v.IsList() && rule.name != nil:
		for entry := range v.Entries() {
			name := m.inside(entry, rule.name)
			if !name.IsText() {
				m.fail(InvalidEvent, rule.from.Place(), entry.Offset(), "has an entry without a name")
				return
			}
			m.addPair(rule, name.Text(), entry)
		}
	case v.IsList() && rule.objects:
		m.readObjects(rule, v)
	case v.IsObject() && rule.name == nil && !rule.objects:
		for name, entry := range v.Members() {
			m.addPair(rule, name, entry)
		}
	case v.Absent() || v.IsNull():
		m.fail(m.p.states.noValues, rule.from.Place(), v.Offset(), "is missing")
	default:
		m.fail(InvalidEvent, rule.from.Place(), v.Offset(), "is "+jsonType(v)+", and the mapping says otherwise")
	}
}

// readObjects reads the pairs of each object in a list.
func (m *interpreter) readObjects(rule *pairRule, list jsontree.Value) {
	for object := range list.Entries() {
		if !object.IsObject() {
			m.fail(InvalidEvent, rule.from.Place(), object.Offset(), "has an entry that is "+jsonType(object)+", not an object")
			return
		}
		for name, entry := range object.Members() {
			m.addPair(rule, name, entry)
		}
	}
}

// addPair notes what happened to a field that the mapping reads.
func (m *interpreter) addPair(rule *pairRule, name string, entry jsontree.Value) {
	if !m.p.names[name] && !m.p.readsAny {
		return
	}
	for _, p := range m.states.pairs {
		if p.name == name {
			m.fail(InvalidEvent, rule.from.Place(), entry.Offset(), "names a field twice")
			return
		}
	}
	if !rule.fits(entry) {
		m.addBare(rule, name, entry)
		return
	}
	p := pair{name: name, new: m.inside(entry, &rule.new)}
	if rule.old != nil {
		p.old = m.inside(entry, rule.old)
	}
	if rule.op != nil && m.removes(rule, entry) {
		p.new = jsontree.Null(int(entry.Offset()))
	}
	p.old, p.new = m.fromPair(p.old), m.fromPair(p.new)
	m.states.pairs = append(m.states.pairs, p)
}

// fits reports whether an entry has the form in which a new value can stand.
func (r *pairRule) fits(entry jsontree.Value) bool {
	if r.new.JQ != nil {
		return true
	}
	switch r.new.Steps[0].Kind {
	case path.Entry, path.Current:
		return entry.IsList()
	case path.Member:
		return entry.IsObject()
	case path.Where:
	}
	return entry.IsObject() || entry.IsList()
}

// addBare notes a value that stands where a pair is expected. A null says nothing unless the
// mapping takes it for the value.
func (m *interpreter) addBare(rule *pairRule, name string, v jsontree.Value) {
	switch {
	case rule.bare:
		m.states.pairs = append(m.states.pairs, pair{name: name, new: v})
	case !v.IsNull():
		m.fail(InvalidEvent, rule.from.Place(), v.Offset(), "has an entry that is "+jsonType(v)+", not an old and a new value")
	}
}

func (m *interpreter) removes(rule *pairRule, entry jsontree.Value) bool {
	op := m.inside(entry, rule.op)
	return op.IsText() && slices.Contains(rule.remove, op.Text())
}

// A side is one of the two states.
type side uint8

const (
	newSide side = iota
	oldSide
)

// value returns what a path means in a state. Problem is what kept it from being read.
func (m *interpreter) value(s side, p *path.Path) (v jsontree.Value, problem string) {
	switch {
	case p.JQ != nil && m.p.states.pairs != nil:
		return m.w.runJQ(m, p.JQ, m.asObject(s))
	case p.JQ != nil && s == oldSide:
		return m.w.runJQ(m, p.JQ, m.states.before)
	case p.JQ != nil:
		return m.w.runJQ(m, p.JQ, m.states.after)
	case p.Root != path.Here && s == oldSide:
		return v, "" // such a value has no old one
	case p.Root != path.Here:
		return m.find(p)
	case m.p.states.pairs != nil:
		return m.paired(s, p), ""
	case s == oldSide:
		return m.w.walk(m.states.before, p.Steps, m.part.index), ""
	}
	v = m.w.walk(m.states.after, p.Steps, m.part.index)
	if v.Absent() && m.states.partial && len(p.Steps) > 1 {
		v = m.states.after.Member(unescaped(*p)) // MongoDB's updatedFields name what lies deeper so
	}
	return v, ""
}

func (m *interpreter) paired(s side, p *path.Path) jsontree.Value {
	if p.Steps[0].Kind != path.Member {
		return jsontree.Value{}
	}
	for i := range m.states.pairs {
		if found := &m.states.pairs[i]; found.name == p.Steps[0].Name {
			v := found.new
			if s == oldSide {
				v = found.old
			}
			if v.IsNull() {
				return v
			}
			return path.Walk(v, p.Steps[1:], m.part.index)
		}
	}
	return jsontree.Value{}
}

// considers reports whether a field may have changed by what the event itself says.
func (m *interpreter) considers(rule *fieldRule) bool {
	if m.states.named {
		return m.isNamed(rule)
	}
	if m.isRemoved(rule) {
		return true
	}
	if !m.p.states.holdsChanged || m.states.before.Len() == 0 || m.states.noNulls {
		return true // an empty old state says nothing either
	}
	for i := range rule.paths {
		if v, _ := m.value(oldSide, &rule.paths[i]); !v.Absent() || rule.paths[i].Root != path.Here {
			return true
		}
	}
	return rule.constant != nil
}

// isNamed reports whether the list of changes names the field.
func (m *interpreter) isNamed(rule *fieldRule) bool {
	return rule.constant != nil || rule.changesAny || slices.ContainsFunc(m.states.changed, func(name string) bool {
		return slices.Contains(rule.changedAs, name)
	})
}
