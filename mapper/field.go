package mapper

import (
	"bytes"
	"slices"

	"membersync/crmapi"
	"membersync/mapper/internal/jsontree"
	"membersync/mapper/internal/path"
)

// A policy says what null, empty or missing means.
type policy uint8

const (
	rejects policy = iota
	ignores
	clears
)

// A fieldRule says how one member field is read.
type fieldRule struct {
	field     crmapi.Field
	paths     []path.Path // of from or concat
	concat    bool
	separator string
	constant  *crmapi.Value
	as        normaliser
	split     string
	program   *path.Path // a jq program over the value
	each      *path.Path
	lookup    string
	missIgnored,
	trim, numbers, refuseMasked bool
	form                 unicodeForm
	country              string
	male, female         []string
	unknownIgnored       bool
	dates                dateRule
	noEnd                bool
	alsoEmpty            []scalar
	null, empty, missing policy
	canClear             bool
	changedAs            []string
	changesAny           bool // its jq program may read any member
}

// A state of a field says what was found of it.
type finding uint8

const (
	isAbsent finding = iota
	isSet
	isNull
	isEmpty
	isUnavailable // the source says that it does not know the value, since it did not change
	isLeftOut     // a rule says that this value is left out
	isWrong
)

// A content is what a field holds in one of the two states.
type content struct {
	finding finding
	value   crmapi.Value
	text    string // of a text
	reason  Reason // of what is wrong
	problem string
	place   *path.Path
	offset  int64
}

// changes finds the fields that the event states.
func (m *interpreter) changes() {
	m.event.Update.OpenUserID = m.event.OpenUserID
	for i := range m.p.fields {
		rule := &m.p.fields[i]
		m.beginField(rule)
		m.change(rule)
		if m.fault != nil {
			m.event.Update = crmapi.Update{}
			return
		}
	}
}

// change finds what the event states of one field, if anything. Fields whose text is
// the same before and after are left out at once: they are not sent, so it does not
// matter whether the CRM would take them. An old value that cannot be read is unknown,
// hence different.
func (m *interpreter) change(rule *fieldRule) {
	switch {
	case !m.considers(rule):
		m.step("not among the changed fields", "")
		return
	case rule.constant != nil:
		m.step("constant", "")
		m.state(rule, *rule.constant)
		return
	case m.sameText(rule) && !m.mayHideClear(rule):
		m.foundSame(rule)
		m.step("the same before and after", "")
		return
	}
	now := m.content(newSide, rule)
	m.end(rule, now)
	if now.finding == isAbsent || now.finding == isUnavailable || now.finding == isLeftOut {
		m.absent(rule, now)
		return
	}
	if now.finding == isWrong {
		m.fail(now.reason, m.fieldPlace(now.place), now.offset, now.problem)
		return
	}
	m.compare(rule, now, m.content(oldSide, rule))
}

// compare decides whether a value that is there is stated, and as what.
func (m *interpreter) compare(rule *fieldRule, now, was content) {
	if now.finding != isSet && (was.finding == isNull || was.finding == isEmpty) && !m.mayHideClear(rule) {
		m.step("empty before and after", "")
		return
	}
	means := rule.null
	switch now.finding {
	case isSet:
		if was.finding == isSet && was.value.Equal(now.value) {
			m.step("means the same as before", "")
			return
		}
		m.state(rule, now.value)
		return
	case isEmpty:
		means = rule.empty
	case isNull, isAbsent, isUnavailable, isLeftOut, isWrong:
	}
	m.clear(rule, means, now)
}

// clear does what the policy says of a field that has no value.
func (m *interpreter) clear(rule *fieldRule, means policy, now content) {
	what := now.finding.why()
	switch {
	case means == ignores:
		m.step(what+": ignored", "")
	case means == rejects:
		m.step(what+": rejected", "")
		m.fail(InvalidField, m.fieldPlace(now.place), now.offset, what+", which the mapping rejects")
	case !rule.canClear:
		m.step(what+": cannot be cleared", "")
		m.fail(InvalidField, m.fieldPlace(now.place), now.offset, "cannot be cleared")
	default:
		m.step(what+": cleared", "")
		m.state(rule, emptyOf(rule.field))
	}
}

// why words what a field without a value is.
func (f finding) why() string {
	switch f {
	case isNull:
		return "is null"
	case isEmpty:
		return "is empty"
	case isAbsent, isSet, isUnavailable, isLeftOut, isWrong:
	}
	return "is missing while before has a value"
}

func emptyOf(f crmapi.Field) crmapi.Value {
	if f.Kind() == crmapi.KindInts {
		return crmapi.Ints(nil)
	}
	return crmapi.Text("")
}

// absent judges a field that is not in the new state. Absent means unchanged, unless the
// event itself or the mapping says otherwise.
func (m *interpreter) absent(rule *fieldRule, now content) {
	if now.finding != isAbsent {
		return
	}
	if m.isPartly(rule) {
		m.step("a part of it changed, and its value is not there", "")
		m.fail(NeedsFetch, m.fieldPlace(now.place), -1, "changed in part, and its value is not there")
		return
	}
	if means, is := m.gone(rule); is {
		m.clear(rule, means, now)
		return
	}
	if m.states.named {
		m.step("is named as changed without a value", "")
		m.fail(NeedsFetch, m.fieldPlace(now.place), -1, "is named as changed, and its value is not there")
		return
	}
	if was := m.content(oldSide, rule); was.finding == isSet {
		m.clear(rule, rule.missing, now)
	}
}

// gone says what it means that the new state lacks a field which the source removed, or which it
// has set to null where it leaves nulls out.
func (m *interpreter) gone(rule *fieldRule) (means policy, is bool) {
	switch rules := &m.p.states; {
	case m.isRemoved(rule), rules.holdsChanged && m.content(oldSide, rule).finding == isSet:
		if rule.missing != ignores {
			return rule.missing, true
		}
		return rule.null, true
	case rules.absentClears && rule.canClear && rules.pairs == nil:
		if was := m.content(oldSide, rule); was.finding == isNull || was.finding == isEmpty {
			return ignores, true
		}
		return clears, true
	}
	return ignores, false
}

// mayHideClear reports whether a value that is empty before and after may have been cleared all the
// same, since the old one may be invented.
func (m *interpreter) mayHideClear(rule *fieldRule) bool {
	if m.p.kind != debezium || !rule.canClear || rule.null != clears && rule.empty != clears {
		return false
	}
	for i := range rule.paths {
		if v, _ := m.value(newSide, &rule.paths[i]); !isZero(v) {
			return false
		}
	}
	return m.inventsBefore()
}

// state notes that the event states a value.
func (m *interpreter) state(rule *fieldRule, v crmapi.Value) {
	m.stated(v)
	m.withUpdate(rule.field, v)
}

// fieldPlace names a path within the new state.
func (m *interpreter) fieldPlace(p *path.Path) string {
	around := ""
	if m.p.states.pairs != nil {
		around = m.p.states.pairs.from.Place()
	} else if m.p.states.after != nil {
		around = m.p.states.after.Place()
	}
	if p.Root != path.Here || around == "" || around == "$event" || around == "$item" {
		return p.Place()
	}
	return around + "." + p.Text
}

// sameText reports whether all that the field is read from stands in both states alike.
func (m *interpreter) sameText(rule *fieldRule) bool {
	found := false
	for i := range rule.paths {
		now, problem := m.value(newSide, &rule.paths[i])
		was, _ := m.value(oldSide, &rule.paths[i])
		if problem != "" || !bytes.Equal(now.Raw(), was.Raw()) {
			return false
		}
		found = found || !now.Absent()
	}
	return found
}

// content reads the field in one state.
func (m *interpreter) content(s side, rule *fieldRule) content {
	m.quiet = s == oldSide
	defer func() { m.quiet = false }()
	if rule.concat {
		return m.concatenated(s, rule)
	}
	var v jsontree.Value
	place := &rule.paths[0]
	for i := range rule.paths {
		now, problem := m.value(s, &rule.paths[i])
		if problem != "" {
			return content{finding: isWrong, reason: InvalidField, problem: problem, place: &rule.paths[i], offset: -1}
		}
		if v.Absent() || v.IsNull() && !now.Absent() {
			v, place = now, &rule.paths[i]
		}
	}
	if s == newSide {
		m.found(place, v)
	}
	c := m.read(rule, v)
	c.place, c.offset = place, v.Offset()
	return c
}

// concatenated puts the parts of a field together. A part that the new state lacks is
// unchanged, so it is that of the old one, and the other way round where before holds
// only what changed.
func (m *interpreter) concatenated(s side, rule *fieldRule) content {
	parts, anything := make([]string, 0, len(rule.paths)), false
	if s == newSide {
		m.foundParts(rule)
	}
	for i := range rule.paths {
		p := &rule.paths[i]
		v, problem := m.value(s, p)
		anything = anything || !v.Absent()
		if v.Absent() && (s == newSide || m.p.states.holdsChanged) {
			v, _ = m.value(newSide+oldSide-s, p)
		}
		l, ok := leafOf(v)
		switch {
		case problem != "":
			return content{finding: isWrong, reason: InvalidField, problem: problem, place: p, offset: -1}
		case v.Absent() && s == newSide && m.anyPart(rule):
			return content{finding: isWrong, reason: NeedsFetch, problem: "is missing, and other parts of the field are there", place: p, offset: -1}
		case v.Absent():
			return content{place: p}
		case unavailable(v.Raw()):
			return content{finding: isUnavailable, place: p}
		case !ok:
			return content{finding: isWrong, reason: InvalidField, problem: "is " + l.what() + ", not a text", place: p, offset: v.Offset()}
		case v.IsNull():
			continue
		}
		c := rule.text(m.tidy(rule, l))
		if c.finding == isWrong {
			c.place, c.offset = p, v.Offset()
			return c
		}
		parts = append(parts, c.text)
	}
	if !anything {
		return content{place: &rule.paths[0]}
	}
	c := m.joinedParts(rule, slices.DeleteFunc(parts, func(part string) bool { return part == "" }))
	c.place, c.offset = &rule.paths[0], -1
	return c
}

func (m *interpreter) anyPart(rule *fieldRule) bool {
	return slices.ContainsFunc(rule.paths, func(p path.Path) bool {
		v, _ := m.value(newSide, &p)
		return !v.Absent()
	})
}
