package mapper

import (
	"slices"
	"strings"

	"membersync/mapper/internal/jsontree"
	"membersync/mapper/internal/path"
)

// A pairRule says where old and new values stand side by side.
type pairRule struct {
	from          path.Path
	name, old, op *path.Path
	new           path.Path
	remove        []string
	objects       bool // a list of objects whose members are the fields
	bare          bool // an entry of another form is the new value
}

// A pair is what happened to one field.
type pair struct {
	name     string
	old, new jsontree.Value
}

// A pairReader reads old and new values that stand side by side.
type pairReader struct{ m *interpreter }

// readPairs reads old and new values that stand side by side.
func (pr pairReader) readPairs(rule *pairRule) {
	v := pr.m.at(&rule.from)
	switch {
	case v.IsList() && rule.name != nil:
		for entry := range v.Entries() {
			name := pr.m.inside(entry, rule.name)
			if !name.IsText() {
				pr.m.fail(InvalidEvent, rule.from.Place(), entry.Offset(), "has an entry without a name")
				return
			}
			pr.addPair(rule, name.Text(), entry)
		}
	case v.IsList() && rule.objects:
		pr.readObjects(rule, v)
	case v.IsObject() && rule.name == nil && !rule.objects:
		for name, entry := range v.Members() {
			pr.addPair(rule, name, entry)
		}
	case v.Absent() || v.IsNull():
		pr.m.fail(pr.m.p.states.noValues, rule.from.Place(), v.Offset(), "is missing")
	default:
		pr.m.fail(InvalidEvent, rule.from.Place(), v.Offset(), "is "+jsonType(v)+", and the mapping says otherwise")
	}
}

// readObjects reads the pairs of each object in a list.
func (pr pairReader) readObjects(rule *pairRule, list jsontree.Value) {
	for object := range list.Entries() {
		if !object.IsObject() {
			pr.m.fail(InvalidEvent, rule.from.Place(), object.Offset(), "has an entry that is "+jsonType(object)+", not an object")
			return
		}
		for name, entry := range object.Members() {
			pr.addPair(rule, name, entry)
		}
	}
}

// addPair notes what happened to a field that the mapping reads.
func (pr pairReader) addPair(rule *pairRule, name string, entry jsontree.Value) {
	if !pr.m.p.names[name] && !pr.m.p.readsAny {
		return
	}
	for _, p := range pr.m.states.pairs {
		if p.name == name {
			pr.m.fail(InvalidEvent, rule.from.Place(), entry.Offset(), "names a field twice")
			return
		}
	}
	if !rule.fits(entry) {
		pr.addBare(rule, name, entry)
		return
	}
	p := pair{name: name, new: pr.m.inside(entry, &rule.new)}
	if rule.old != nil {
		p.old = pr.m.inside(entry, rule.old)
	}
	if rule.op != nil && pr.removes(rule, entry) {
		p.new = jsontree.Null(int(entry.Offset()))
	}
	p.old, p.new = pr.fromPair(p.old), pr.fromPair(p.new)
	pr.m.states.pairs = append(pr.m.states.pairs, p)
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
func (pr pairReader) addBare(rule *pairRule, name string, v jsontree.Value) {
	switch {
	case rule.bare:
		pr.m.states.pairs = append(pr.m.states.pairs, pair{name: name, new: v})
	case !v.IsNull():
		pr.m.fail(InvalidEvent, rule.from.Place(), v.Offset(), "has an entry that is "+jsonType(v)+", not an old and a new value")
	}
}

func (pr pairReader) removes(rule *pairRule, entry jsontree.Value) bool {
	op := pr.m.inside(entry, rule.op)
	return op.IsText() && slices.Contains(rule.remove, op.Text())
}

// fromPair reads the JSON that a text of a pair holds: a text in quotes, or a list of which one
// entry is the value and none is an empty one (Entra's audit log). Other texts are as they are.
func (pr pairReader) fromPair(v jsontree.Value) jsontree.Value {
	if !v.IsText() {
		return v
	}
	text := strings.TrimSpace(v.Text())
	if n := len(text); n < 2 || (text[0] != '[' || text[n-1] != ']') && (text[0] != '"' || text[n-1] != '"') {
		return v
	}
	inside, err := pr.m.w.another().ReadInner([]byte(text), int(v.Offset()))
	switch {
	case err != nil:
		return v
	case inside.IsList() && inside.Len() == 0:
		return jsontree.OfText("", int(v.Offset()))
	case inside.IsList() && inside.Len() == 1:
		return inside.Entry(0)
	}
	return inside
}
