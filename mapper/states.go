package mapper

import (
	"bytes"

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

// A stateReader finds the old and the new values of one employee.
type stateReader struct{ m *interpreter }

// locate finds the objects with the old and the new values.
func (sr stateReader) locate() {
	rule := &sr.m.p.states
	sr.m.before, sr.m.after = sr.m.at(rule.before), sr.m.at(rule.after)
	if rule.text {
		sr.m.before, sr.m.after = sr.unwrapped(sr.m.before, rule.before), sr.unwrapped(sr.m.after, rule.after)
	}
}

// unwrapped reads the JSON that a state holds as text.
func (sr stateReader) unwrapped(v jsontree.Value, p *path.Path) jsontree.Value {
	if !v.IsText() {
		return v
	}
	inside, fault := unwrapper{sr.m.w}.within(v, false)
	if fault != nil {
		sr.m.fail(InvalidEvent, p.Place(), fault.Offset, fault.Text)
		return jsontree.Value{}
	}
	return inside
}

// readStates judges them as a whole. A null after with a before is a deletion.
func (sr stateReader) readStates() {
	rule := &sr.m.p.states
	if rule.pairs != nil {
		pairReader(sr).readPairs(rule.pairs)
		return
	}
	after, before := sr.m.after, sr.m.before
	switch {
	case !before.Absent() && !before.IsNull() && !before.IsObject():
		sr.m.fail(InvalidEvent, rule.before.Place(), before.Offset(), "is "+jsonType(before)+", not an object")
	case after.Absent():
		sr.m.fail(rule.noValues, rule.after.Place(), -1, sr.m.missing(rule.after))
	case after.IsNull() && before.IsObject():
		sr.m.event.Ignored = "deletion"
	case after.IsNull():
		sr.m.fail(rule.noValues, rule.after.Place(), after.Offset(), "is null, and there is no before")
	case !after.IsObject():
		sr.m.fail(InvalidEvent, rule.after.Place(), after.Offset(), "is "+jsonType(after)+", not an object")
	default:
		sr.m.states.after, sr.m.states.before = after, before
		changeReader(sr).readChanged()
		changeReader(sr).readRemoved()
		if sr.anotherMember() {
			sr.m.states.before = jsontree.Value{}
		}
		sr.m.states.noNulls = sr.m.p.states.holdsChanged && sr.leavesNullsOut()
		sr.m.states.partial = sr.m.p.kind == debezium && !sr.m.part.event.Member("updateDescription").Absent()
	}
}

// A member that is now another one has none of the old values: those are another member's.
// anotherMember reports whether before says that the values belonged to another member, or to none.
func (sr stateReader) anotherMember() bool {
	if !sr.m.states.before.IsObject() {
		return false
	}
	for i := range sr.m.p.openUser.from {
		steps, ok := sr.m.p.states.within(&sr.m.p.openUser.from[i])
		if !ok {
			continue
		}
		was, now := sr.m.p.walk(sr.m.states.before, steps, sr.m.part.index), sr.m.p.walk(sr.m.states.after, steps, sr.m.part.index)
		if now.Absent() || now.IsNull() || was.Absent() {
			continue
		}
		return !bytes.Equal(was.Raw(), now.Raw()) && !unavailable(was.Raw()) && !unavailable(now.Raw())
	}
	return false
}

// leavesNullsOut reports whether a record of Maxwell was written with output_nulls=false: a row
// has no null, and lacks a column that the mapping reads. What was null is then not among the
// old values.
func (sr stateReader) leavesNullsOut() bool {
	doc, after := sr.m.part.event, sr.m.states.after
	if doc.Member("data") != after || doc.Member("database").Absent() || doc.Member("table").Absent() || sr.m.states.before != doc.Member("old") {
		return false
	}
	for _, v := range after.Members() {
		if v.IsNull() {
			return false
		}
	}
	for i := range sr.m.p.fields {
		for j := range sr.m.p.fields[i].paths {
			if p := &sr.m.p.fields[i].paths[j]; p.JQ == nil && p.Root == path.Here && path.Walk(after, p.Steps, sr.m.part.index).Absent() {
				return true
			}
		}
	}
	return false
}
