package mapper

import (
	"bytes"
	"slices"

	"membersync/crmapi"
	"membersync/mapper/internal/jsontree"
	"membersync/mapper/internal/path"
)

// A fieldReader finds what the event states of one field.
type fieldReader struct {
	m    *interpreter
	rule *fieldRule
}

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
	as        normalizer
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

func (fr fieldReader) values() valueReader { return valueReader(fr) }

// change finds what the event states of one field, if anything. Fields whose text is
// the same before and after are left out at once: they are not sent, so it does not
// matter whether the CRM would take them. An old value that cannot be read is unknown,
// hence different.
func (fr fieldReader) change() {
	switch {
	case !fr.m.states.considers(fr.rule):
		fr.m.notes.step("not among the changed fields", "")
		return
	case fr.rule.constant != nil:
		fr.m.notes.step("constant", "")
		fr.state(*fr.rule.constant)
		return
	case fr.sameText() && !fr.mayHideClear():
		fr.m.notes.foundSame(fr.rule, &fr.m.states)
		fr.m.notes.step("the same before and after", "")
		return
	}
	now := fr.content(newSide)
	fr.m.notes.end(fr.rule, now)
	if now.finding == isAbsent || now.finding == isUnavailable || now.finding == isLeftOut {
		fr.absent(now)
		return
	}
	if now.finding == isWrong {
		fr.m.fail(now.reason, fr.fieldPlace(now.place), now.offset, now.problem)
		return
	}
	fr.compare(now, fr.content(oldSide))
}

// compare decides whether a value that is there is stated, and as what.
func (fr fieldReader) compare(now, was content) {
	if now.finding != isSet && (was.finding == isNull || was.finding == isEmpty) && !fr.mayHideClear() {
		fr.m.notes.step("empty before and after", "")
		return
	}
	means := fr.rule.null
	switch now.finding {
	case isSet:
		if was.finding == isSet && was.value.Equal(now.value) {
			fr.m.notes.step("means the same as before", "")
			return
		}
		fr.state(now.value)
		return
	case isEmpty:
		means = fr.rule.empty
	case isNull, isAbsent, isUnavailable, isLeftOut, isWrong:
	}
	fr.clear(means, now)
}

// clear does what the policy says of a field that has no value.
func (fr fieldReader) clear(means policy, now content) {
	what := now.finding.why()
	switch {
	case means == ignores:
		fr.m.notes.step(what+": ignored", "")
	case means == rejects:
		fr.m.notes.step(what+": rejected", "")
		fr.m.fail(InvalidField, fr.fieldPlace(now.place), now.offset, what+", which the mapping rejects")
	case !fr.rule.canClear:
		fr.m.notes.step(what+": cannot be cleared", "")
		fr.m.fail(InvalidField, fr.fieldPlace(now.place), now.offset, "cannot be cleared")
	default:
		fr.m.notes.step(what+": cleared", "")
		fr.state(emptyOf(fr.rule.field))
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
func (fr fieldReader) absent(now content) {
	if now.finding != isAbsent {
		return
	}
	if fr.m.states.isPartly(fr.rule) {
		fr.m.notes.step("a part of it changed, and its value is not there", "")
		fr.m.fail(NeedsFetch, fr.fieldPlace(now.place), -1, "changed in part, and its value is not there")
		return
	}
	if means, is := fr.gone(); is {
		fr.clear(means, now)
		return
	}
	if fr.m.states.named {
		fr.m.notes.step("is named as changed without a value", "")
		fr.m.fail(NeedsFetch, fr.fieldPlace(now.place), -1, "is named as changed, and its value is not there")
		return
	}
	if was := fr.content(oldSide); was.finding == isSet {
		fr.clear(fr.rule.missing, now)
	}
}

// gone says what it means that the new state lacks a field which the source removed, or which it
// has set to null where it leaves nulls out.
func (fr fieldReader) gone() (means policy, is bool) {
	switch rules := &fr.m.p.states; {
	case fr.m.states.isRemoved(fr.rule), rules.holdsChanged && fr.content(oldSide).finding == isSet:
		if fr.rule.missing != ignores {
			return fr.rule.missing, true
		}
		return fr.rule.null, true
	case rules.absentClears && fr.rule.canClear && rules.pairs == nil:
		if was := fr.content(oldSide); was.finding == isNull || was.finding == isEmpty {
			return ignores, true
		}
		return clears, true
	}
	return ignores, false
}

// mayHideClear reports whether a value that is empty before and after may have been cleared all the
// same, since the old one may be invented.
func (fr fieldReader) mayHideClear() bool {
	if fr.m.p.kind != debezium || !fr.rule.canClear || fr.rule.null != clears && fr.rule.empty != clears {
		return false
	}
	for i := range fr.rule.paths {
		if v, _ := fr.m.states.value(newSide, &fr.rule.paths[i]); !isZero(v) {
			return false
		}
	}
	return fr.m.states.inventsBefore()
}

// state notes that the event states a value.
func (fr fieldReader) state(v crmapi.Value) {
	fr.m.notes.stated(v)
	fr.m.withUpdate(fr.rule.field, v)
}

// fieldPlace names a path within the new state.
func (fr fieldReader) fieldPlace(p *path.Path) string {
	around := ""
	if fr.m.p.states.pairs != nil {
		around = fr.m.p.states.pairs.from.Place()
	} else if fr.m.p.states.after != nil {
		around = fr.m.p.states.after.Place()
	}
	if p.Root != path.Here || around == "" || around == "$event" || around == "$item" {
		return p.Place()
	}
	return around + "." + p.Text
}

// sameText reports whether all that the field is read from stands in both states alike.
func (fr fieldReader) sameText() bool {
	found := false
	for i := range fr.rule.paths {
		now, problem := fr.m.states.value(newSide, &fr.rule.paths[i])
		was, _ := fr.m.states.value(oldSide, &fr.rule.paths[i])
		if problem != "" || !bytes.Equal(now.Raw(), was.Raw()) {
			return false
		}
		found = found || !now.Absent()
	}
	return found
}

// content reads the field in one state.
func (fr fieldReader) content(s side) content {
	fr.m.notes.quiet = s == oldSide
	defer func() { fr.m.notes.quiet = false }()
	if fr.rule.concat {
		return fr.concatenated(s)
	}
	var v jsontree.Value
	place := &fr.rule.paths[0]
	for i := range fr.rule.paths {
		now, problem := fr.m.states.value(s, &fr.rule.paths[i])
		if problem != "" {
			return content{finding: isWrong, reason: InvalidField, problem: problem, place: &fr.rule.paths[i], offset: -1}
		}
		if v.Absent() || v.IsNull() && !now.Absent() {
			v, place = now, &fr.rule.paths[i]
		}
	}
	if s == newSide {
		fr.m.notes.found(place, v)
	}
	c := fr.values().read(v)
	c.place, c.offset = place, v.Offset()
	return c
}

// concatenated puts the parts of a field together. A part that the new state lacks is
// unchanged, so it is that of the old one, and the other way round where before holds
// only what changed.
func (fr fieldReader) concatenated(s side) content {
	parts, anything := make([]string, 0, len(fr.rule.paths)), false
	if s == newSide {
		fr.m.notes.foundParts(fr.rule)
	}
	for i := range fr.rule.paths {
		p := &fr.rule.paths[i]
		v, problem := fr.m.states.value(s, p)
		anything = anything || !v.Absent()
		if v.Absent() && (s == newSide || fr.m.p.states.holdsChanged) {
			v, _ = fr.m.states.value(newSide+oldSide-s, p)
		}
		l, ok := leafOf(v)
		switch {
		case problem != "":
			return content{finding: isWrong, reason: InvalidField, problem: problem, place: p, offset: -1}
		case v.Absent() && s == newSide && fr.anyPart():
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
		c := fr.rule.text(fr.values().tidy(l))
		if c.finding == isWrong {
			c.place, c.offset = p, v.Offset()
			return c
		}
		parts = append(parts, c.text)
	}
	if !anything {
		return content{place: &fr.rule.paths[0]}
	}
	c := fr.values().joinedParts(slices.DeleteFunc(parts, func(part string) bool { return part == "" }))
	c.place, c.offset = &fr.rule.paths[0], -1
	return c
}

func (fr fieldReader) anyPart() bool {
	return slices.ContainsFunc(fr.rule.paths, func(p path.Path) bool {
		v, _ := fr.m.states.value(newSide, &p)
		return !v.Absent()
	})
}
