package mapper

import (
	"bytes"
	"slices"
	"strings"

	"membersync/mapper/internal/jsontree"
	"membersync/mapper/internal/path"
)

// emptyList says what a list of changed fields without entries means.
type emptyList uint8

const (
	emptyUsual emptyList = iota // an empty list of JSON: none; an empty text: invalid_event
	emptyAll                    // every field may have changed
	emptyNone                   // none has
)

// isBitmap reports whether a text stands for several fields at once, such as Salesforce's
// 0x400002 and 4-0x01, or is a number of a column.
func isBitmap(s string) bool {
	if field, bits, ok := strings.Cut(s, "-"); ok && isDigits(field) {
		s = bits
	}
	if hex, ok := strings.CutPrefix(strings.ToLower(s), "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return isDigits(s)
}

// readChanged reads the names of the fields that changed. Without such a list, all that differ
// count. A list that cannot be read as names must not be taken for one of unmapped names.
func (m *interpreter) readChanged() {
	rule := &m.p.states
	list := m.at(rule.changed)
	if list.Absent() || list.IsNull() {
		return
	}
	names, problem := m.changedNames(list)
	switch {
	case problem != "":
		m.fail(InvalidEvent, rule.changed.Place(), list.Offset(), problem)
		return
	case len(names) > 0:
		m.states.named, m.states.changed = true, names
		if m.namesMember() {
			m.states.named = false // another member: all that the event has is new to it
		}
		return
	case rule.emptyList == emptyAll, rule.emptyList == emptyUsual && m.p.kind == debeziumFlat:
		return // ExtractChangedRecordState writes an empty list for inserts and snapshots
	case rule.emptyList == emptyUsual && !list.IsList():
		m.fail(InvalidEvent, rule.changed.Place(), list.Offset(), "is empty; empty_list says what that means")
		return
	}
	m.states.named = true
}

// changedNames reads the names in a list, or in a text.
func (m *interpreter) changedNames(list jsontree.Value) (names []string, problem string) {
	rule := &m.p.states
	if list.IsText() {
		text := strings.TrimSpace(list.Text())
		switch {
		case text == "":
			return nil, ""
		case text[0] == '[' || text[0] == '{':
			inside, err := m.w.another().ReadInner([]byte(text), int(list.Offset()))
			if err != nil || !inside.IsList() {
				return nil, "is a text that holds neither names nor a JSON list of them"
			}
			list = inside
		case rule.changedSplit != "":
			for name := range strings.SplitSeq(text, rule.changedSplit) {
				if name = strings.TrimSpace(name); name != "" {
					names = append(names, name)
				}
			}
			return m.onlyNames(names)
		}
	}
	if !list.IsList() {
		return nil, "is " + jsonType(list) + ", not a list of names"
	}
	for entry := range list.Entries() {
		if rule.changedName != nil {
			entry = m.inside(entry, rule.changedName)
		}
		if !entry.IsText() {
			return nil, "has an entry that is no name"
		}
		names = append(names, strings.TrimSpace(entry.Text()))
	}
	return m.onlyNames(names)
}

// onlyNames refuses what is no name: a bitmap, a number, JSON, and several names that another
// character than that of split parts.
func (m *interpreter) onlyNames(names []string) ([]string, string) {
	for _, name := range names {
		if m.isChangedName(name) {
			continue
		}
		if name == "" || isBitmap(name) || strings.ContainsAny(name, `"[]{}`) {
			return nil, "has an entry that is no name"
		}
		pieces := strings.FieldsFunc(name, func(r rune) bool { return strings.ContainsRune(",;|/ \t\r\n、，；", r) })
		if len(pieces) > 1 && slices.ContainsFunc(pieces, m.isChangedName) {
			return nil, "has an entry of several names"
		}
	}
	return names, ""
}

// isChangedName reports whether a list of changes calls a field so.
func (m *interpreter) isChangedName(name string) bool {
	return slices.ContainsFunc(m.p.fields, func(f fieldRule) bool { return slices.Contains(f.changedAs, name) })
}

// namesMember reports whether the member's id is among the changed fields.
func (m *interpreter) namesMember() bool {
	for i := range m.p.openUser.from {
		p := &m.p.openUser.from[i]
		if steps, ok := m.p.states.within(p); ok && slices.Contains(m.states.changed, steps[0].Name) {
			return true
		}
	}
	return false
}

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

// A member that is now another one has none of the old values: those are another member's.
// anotherMember reports whether before says that the values belonged to another member, or to none.
func (m *interpreter) anotherMember() bool {
	if !m.states.before.IsObject() {
		return false
	}
	for i := range m.p.openUser.from {
		steps, ok := m.p.states.within(&m.p.openUser.from[i])
		if !ok {
			continue
		}
		was, now := m.w.walk(m.states.before, steps, m.part.index), m.w.walk(m.states.after, steps, m.part.index)
		if now.Absent() || now.IsNull() || was.Absent() {
			continue
		}
		return !bytes.Equal(was.Raw(), now.Raw()) && !unavailable(was.Raw()) && !unavailable(now.Raw())
	}
	return false
}

// inventsBefore reports whether Debezium's before may hold nulls and zeros that are no values:
// with a replica identity of an index or the key, what the database does not log is null, or the
// type's zero where the column has no null. Such a before shows no value that says otherwise:
// one beyond the ids, and none that is empty where after is not.
func (m *interpreter) inventsBefore() bool {
	if m.states.invented == unknown {
		m.states.invented = isFalse
		if m.p.kind == debezium && m.states.before.IsObject() && m.looksInvented() {
			m.states.invented = isTrue
		}
	}
	return m.states.invented == isTrue
}

// A truth is a bool that is found out only if it is asked for.
type truth uint8

const (
	unknown truth = iota
	isFalse
	isTrue
)

func (m *interpreter) looksInvented() bool {
	trusted := false
	for was, now := range m.states.before.MembersWith(m.states.after) {
		switch {
		case isZero(was) && !isZero(now):
			return true
		case !isZero(was) && !m.readsAsID(was):
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
func (m *interpreter) readsAsID(v jsontree.Value) bool {
	for _, s := range []*source{&m.p.employeeID, &m.p.openUser} {
		for i := range s.from {
			if steps := s.from[i].Steps; len(steps) > 0 && m.states.before.Member(steps[len(steps)-1].Name) == v {
				return true
			}
		}
	}
	return false
}

// leavesNullsOut reports whether a record of Maxwell was written with output_nulls=false: a row
// has no null, and lacks a column that the mapping reads. What was null is then not among the
// old values.
func (m *interpreter) leavesNullsOut() bool {
	doc, after := m.part.event, m.states.after
	if doc.Member("data") != after || doc.Member("database").Absent() || doc.Member("table").Absent() || m.states.before != doc.Member("old") {
		return false
	}
	for _, v := range after.Members() {
		if v.IsNull() {
			return false
		}
	}
	for i := range m.p.fields {
		for j := range m.p.fields[i].paths {
			if p := &m.p.fields[i].paths[j]; p.JQ == nil && p.Root == path.Here && path.Walk(after, p.Steps, m.part.index).Absent() {
				return true
			}
		}
	}
	return false
}

// isRemoved reports whether the source lists a field of the rule among those that it removed.
func (m *interpreter) isRemoved(rule *fieldRule) bool {
	return slices.ContainsFunc(m.states.removed, func(name string) bool { return slices.Contains(rule.changedAs, name) })
}

// readRemoved reads the list of removed fields.
func (m *interpreter) readRemoved() {
	rule := &m.p.states
	list := m.at(rule.removed)
	if list.Absent() || list.IsNull() {
		return
	}
	if list.IsText() && strings.TrimSpace(list.Text()) != "" {
		inside, err := m.w.another().ReadInner([]byte(list.Text()), int(list.Offset()))
		if err == nil {
			list = inside
		}
	}
	if !list.IsList() {
		m.fail(InvalidEvent, rule.removed.Place(), list.Offset(), "is "+jsonType(list)+", not a list of names")
		return
	}
	for entry := range list.Entries() {
		if !entry.IsText() {
			m.fail(InvalidEvent, rule.removed.Place(), list.Offset(), "has an entry that is no name")
			return
		}
		m.states.removed = append(m.states.removed, entry.Text())
	}
}

// isPartly reports whether the event changes a part of the field alone: an entry of MongoDB's
// list, or the list's length. Its value is not there then.
func (m *interpreter) isPartly(rule *fieldRule) bool {
	if !m.states.partial {
		return false
	}
	named := func(name string) bool { return slices.Contains(rule.changedAs, name) }
	for name := range m.states.after.Members() {
		if at := strings.LastIndexByte(name, '.'); at > 0 && named(name[:at]) && isDigits(name[at+1:]) {
			return true
		}
	}
	for entry := range m.part.event.Member("updateDescription").Member("truncatedArrays").Entries() {
		if field := entry.Member("field"); field.IsText() && named(field.Text()) {
			return true
		}
	}
	return false
}

// carriesNothing reports whether a document has nothing but ids, type, operation and order, and
// what belongs to the protocol: then its values have to be fetched.
func (m *interpreter) carriesNothing() bool {
	after := m.states.after
	if m.p.states.pairs != nil || m.states.named || m.states.before.IsObject() || after.Len() == 0 || len(m.states.removed) > 0 {
		return false
	}
	for i := range m.p.fields {
		rule := &m.p.fields[i]
		if rule.constant != nil {
			return false
		}
		for j := range rule.paths {
			if v, _ := m.value(newSide, &rule.paths[j]); !v.Absent() {
				return false
			}
		}
	}
	count := 0
	for name := range after.Members() {
		if count++; count > maxIDs || !isProtocol(name) && !m.readsName(name) {
			return false
		}
	}
	return true
}

// maxIDs bounds the members of an event that has nothing but ids.
const maxIDs = 64

// readsName reports whether an id, the type, the operation, the order or the list of changes is
// read from a member of after, or from within it.
func (m *interpreter) readsName(name string) bool {
	reads := func(p *path.Path) bool {
		if p == nil {
			return false
		}
		if p.JQ != nil {
			return slices.Contains(p.JQ.Reads.Names, name)
		}
		steps, ok := m.p.states.within(p)
		if !ok && m.p.states.after != nil && (p.Root == path.Item || p.Root == path.Event) && m.part.item == m.states.after {
			steps, ok = p.Steps, len(p.Steps) > 0
		}
		return ok && steps[0].Name == name
	}
	for _, s := range []*source{&m.p.eventID, &m.p.employeeID, &m.p.openUser, {from: m.p.order.from}} {
		for _, paths := range [][]path.Path{s.from, s.concat} {
			if slices.ContainsFunc(paths, func(p path.Path) bool { return reads(&p) }) {
				return true
			}
		}
	}
	return reads(m.p.typ) || reads(m.p.op) || reads(m.p.states.changed) || reads(m.p.list)
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
