package mapper

import (
	"slices"
	"strings"

	"membersync/mapper/internal/jsontree"
	"membersync/mapper/internal/path"
)

// states are the old and new values of one employee.
type states struct {
	m             *interpreter
	after, before jsontree.Value
	pairs         []pair
	named         bool // changed lists the names of all fields that changed
	changed       []string
	removed       []string
	noNulls       bool              // the source leaves nulls out, so before does not name what was null
	partial       bool              // MongoDB's update: after may name what lies deeper by its path
	invented      truth             // an empty old value is not known to be one
	objects       [2]jsontree.Value // the sides of the pairs, for jq programs
}

// A side is one of the two states.
type side uint8

const (
	newSide side = iota
	oldSide
)

// within returns the steps of a path behind those of after, if it lies there.
func (r *stateRule) within(p *path.Path) (steps []path.Step, ok bool) {
	switch {
	case r.after == nil || r.after.JQ != nil || p.JQ != nil:
		return nil, false
	case p.Root == path.After:
		steps = p.Steps
	case p.Root == r.after.Root && len(p.Steps) > len(r.after.Steps) && slices.EqualFunc(r.after.Steps, p.Steps[:len(r.after.Steps)], sameStep):
		steps = p.Steps[len(r.after.Steps):]
	}
	return steps, len(steps) > 0 && steps[0].Kind == path.Member
}

func sameStep(a, b path.Step) bool {
	return a.Kind == b.Kind && a.Name == b.Name && a.Index == b.Index && a.Value == b.Value
}

// inventsBefore reports whether Debezium's before may hold nulls and zeros that are no values:
// with a replica identity of an index or the key, what the database does not log is null, or the
// type's zero where the column has no null. Such a before shows no value that says otherwise:
// one beyond the ids, and none that is empty where after is not.
func (st *states) inventsBefore() bool {
	if st.invented == unknown {
		st.invented = isFalse
		if st.m.p.kind == debezium && st.before.IsObject() && st.looksInvented() {
			st.invented = isTrue
		}
	}
	return st.invented == isTrue
}

// A truth is a bool that is found out only if it is asked for.
type truth uint8

const (
	unknown truth = iota
	isFalse
	isTrue
)

func (st *states) looksInvented() bool {
	trusted := false
	for was, now := range st.before.MembersWith(st.after) {
		switch {
		case isZero(was) && !isZero(now):
			return true
		case !isZero(was) && !st.readsAsID(was):
			trusted = true
		}
	}
	return !trusted
}

// isZero reports whether a value is null, or what Debezium writes for a column that has no null.
func isZero(v jsontree.Value) bool {
	switch raw := string(v.Raw()); raw {
	case "", "null", `""`, "0", "0.0", "false", "[]", `"0"`, `"1970-01-01T00:00:00Z"`, `"1970-01-01T00:00:00.000000Z"`, `"1970-01-01Z"`:
		return true
	}
	return false
}

// readsAsID reports whether an id is read from a member of before, or from that of after.
func (st *states) readsAsID(v jsontree.Value) bool {
	for _, s := range []*source{&st.m.p.employeeID, &st.m.p.openUser} {
		for i := range s.from {
			if steps := s.from[i].Steps; len(steps) > 0 && st.before.Member(steps[len(steps)-1].Name) == v {
				return true
			}
		}
	}
	return false
}

// isRemoved reports whether the source lists a field of the rule among those that it removed.
func (st *states) isRemoved(rule *fieldRule) bool {
	return slices.ContainsFunc(st.removed, func(name string) bool { return slices.Contains(rule.changedAs, name) })
}

// isPartly reports whether the event changes a part of the field alone: an entry of MongoDB's
// list, or the list's length. Its value is not there then.
func (st *states) isPartly(rule *fieldRule) bool {
	if !st.partial {
		return false
	}
	named := func(name string) bool { return slices.Contains(rule.changedAs, name) }
	for name := range st.after.Members() {
		if at := strings.LastIndexByte(name, '.'); at > 0 && named(name[:at]) && isDigits(name[at+1:]) {
			return true
		}
	}
	for entry := range st.m.part.event.Member("updateDescription").Member("truncatedArrays").Entries() {
		if field := entry.Member("field"); field.IsText() && named(field.Text()) {
			return true
		}
	}
	return false
}

// carriesNothing reports whether a document has nothing but ids, type, operation and order, and
// what belongs to the protocol: then its values have to be fetched.
func (st *states) carriesNothing() bool {
	after := st.after
	if st.m.p.states.pairs != nil || st.named || st.before.IsObject() || after.Len() == 0 || len(st.removed) > 0 {
		return false
	}
	for i := range st.m.p.fields {
		rule := &st.m.p.fields[i]
		if rule.constant != nil {
			return false
		}
		for j := range rule.paths {
			if v, _ := st.value(newSide, &rule.paths[j]); !v.Absent() {
				return false
			}
		}
	}
	count := 0
	for name := range after.Members() {
		if count++; count > maxIDs || !isProtocol(name) && !st.readsName(name) {
			return false
		}
	}
	return true
}

// maxIDs bounds the members of an event that has nothing but ids.
const maxIDs = 64

// readsName reports whether an id, the type, the operation, the order or the list of changes is
// read from a member of after, or from within it.
func (st *states) readsName(name string) bool {
	reads := func(p *path.Path) bool {
		if p == nil {
			return false
		}
		if p.JQ != nil {
			return slices.Contains(p.JQ.Reads.Names, name)
		}
		steps, ok := st.m.p.states.within(p)
		if !ok && st.m.p.states.after != nil && (p.Root == path.Item || p.Root == path.Event) && st.m.part.item == st.after {
			steps, ok = p.Steps, len(p.Steps) > 0
		}
		return ok && steps[0].Name == name
	}
	for _, s := range []*source{&st.m.p.eventID, &st.m.p.employeeID, &st.m.p.openUser, {from: st.m.p.order.from}} {
		for _, paths := range [][]path.Path{s.from, s.concat} {
			if slices.ContainsFunc(paths, func(p path.Path) bool { return reads(&p) }) {
				return true
			}
		}
	}
	return reads(st.m.p.typ) || reads(st.m.p.op) || reads(st.m.p.states.changed) || reads(st.m.p.list)
}

// isProtocol reports whether a member belongs to how a source wraps its notices, not to the person:
// WeCom's, DingTalk's, Microsoft Graph's and flattened Debezium's.
func isProtocol(name string) bool {
	switch strings.ToLower(name) {
	case "tousername", "fromusername", "msgtype", "event", "agentid", "suiteid", "authcorpid", "infotype", "timestamp", "createtime", "changetype",
		"corpid", "eventtype", "event_type", "eventid", "event_id", "type", "id", "_id", "uuid", "version", "schema", "time", "ts", "token", "tenantid", "subscriptionid", "subscriptionexpirationdatetime", "clientstate", "resource":
		return true
	}
	return strings.HasPrefix(name, "@odata.") || strings.HasPrefix(name, "__")
}

// asObject is one side of the pairs as an object, for programs that look at all of it.
func (st *states) asObject(s side) jsontree.Value {
	if st.objects[s].Absent() {
		text := []byte{'{'}
		for i := range st.pairs {
			p := &st.pairs[i]
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
		st.objects[s], _ = st.m.w.another().ReadInner(append(text, '}'), -1) // its parts are valid and its names differ
	}
	return st.objects[s]
}

// value returns what a path means in a state. Problem is what kept it from being read.
func (st *states) value(s side, p *path.Path) (v jsontree.Value, problem string) {
	switch {
	case p.JQ != nil && st.m.p.states.pairs != nil:
		return st.m.w.jq.run(st.m, p.JQ, st.asObject(s))
	case p.JQ != nil && s == oldSide:
		return st.m.w.jq.run(st.m, p.JQ, st.before)
	case p.JQ != nil:
		return st.m.w.jq.run(st.m, p.JQ, st.after)
	case p.Root != path.Here && s == oldSide:
		return v, "" // such a value has no old one
	case p.Root != path.Here:
		return st.m.find(p)
	case st.m.p.states.pairs != nil:
		return st.paired(s, p), ""
	case s == oldSide:
		return st.m.p.walk(st.before, p.Steps, st.m.part.index), ""
	}
	v = st.m.p.walk(st.after, p.Steps, st.m.part.index)
	if v.Absent() && st.partial && len(p.Steps) > 1 {
		v = st.after.Member(unescaped(*p)) // MongoDB's updatedFields name what lies deeper so
	}
	return v, ""
}

func (st *states) paired(s side, p *path.Path) jsontree.Value {
	if p.Steps[0].Kind != path.Member {
		return jsontree.Value{}
	}
	for i := range st.pairs {
		if found := &st.pairs[i]; found.name == p.Steps[0].Name {
			v := found.new
			if s == oldSide {
				v = found.old
			}
			if v.IsNull() {
				return v
			}
			return path.Walk(v, p.Steps[1:], st.m.part.index)
		}
	}
	return jsontree.Value{}
}

// considers reports whether a field may have changed by what the event itself says.
func (st *states) considers(rule *fieldRule) bool {
	if st.named {
		return st.isNamed(rule)
	}
	if st.isRemoved(rule) {
		return true
	}
	if !st.m.p.states.holdsChanged || st.before.Len() == 0 || st.noNulls {
		return true // an empty old state says nothing either
	}
	for i := range rule.paths {
		if v, _ := st.value(oldSide, &rule.paths[i]); !v.Absent() || rule.paths[i].Root != path.Here {
			return true
		}
	}
	return rule.constant != nil
}

// isNamed reports whether the list of changes names the field.
func (st *states) isNamed(rule *fieldRule) bool {
	return rule.constant != nil || rule.changesAny || slices.ContainsFunc(st.changed, func(name string) bool {
		return slices.Contains(rule.changedAs, name)
	})
}
