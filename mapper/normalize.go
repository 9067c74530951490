package mapper

import (
	"slices"
	"strconv"
	"strings"

	"golang.org/x/text/unicode/norm"

	"membersync/crmapi"
	"membersync/mapper/internal/jsontree"
)

// A valueReader turns a JSON value into what it means for a field.
type valueReader struct {
	m    *interpreter
	rule *fieldRule
}

type normalizer uint8

const (
	asText normalizer = iota
	asPhone
	asGender
	asDate
	asInt
	asInts
)

// normalizers lists the names of the normalizers, each at its number.
func normalizers() []string { return []string{"text", "phone", "gender", "date", "int", "ints"} }

// wants names what a normalizer reads, for the texts of faults.
func (n normalizer) wants() string {
	switch n {
	case asDate:
		return "a time"
	case asInt:
		return "an integer"
	case asInts:
		return "a list"
	case asText, asPhone, asGender:
	}
	return "a text"
}

type unicodeForm uint8

const (
	formNone unicodeForm = iota
	formNFC
	formNFKC
)

func wrong(problem string) content {
	return content{finding: isWrong, reason: InvalidField, problem: problem}
}

func setText(s string) content { return content{finding: isSet, value: crmapi.Text(s), text: s} }

func set(v crmapi.Value) content { return content{finding: isSet, value: v} }

// read turns a JSON value into what it means for the field.
func (vr valueReader) read(v jsontree.Value) content {
	switch {
	case v.Absent():
		return content{}
	case unavailable(v.Raw()):
		vr.m.notes.step("placeholder of an unchanged value", "")
		return content{finding: isUnavailable}
	}
	v, c := vr.program(v)
	if c.finding != isSet {
		return c
	}
	if vr.rule.as == asInts {
		return vr.readList(v)
	}
	l, ok := leafOf(v)
	if !ok {
		return wrong("is " + l.what() + ", not " + vr.rule.as.wants())
	}
	return vr.readLeaf(vr.tidy(l))
}

// readLeaf goes on from a plain value.
func (vr valueReader) readLeaf(l leaf) content {
	switch {
	case l.kind == 'n' && !slices.ContainsFunc(vr.rule.alsoEmpty, l.equals):
		return content{finding: isNull}
	case l.isText() && l.s == "", slices.ContainsFunc(vr.rule.alsoEmpty, l.equals):
		return content{finding: isEmpty}
	}
	if vr.rule.lookup != "" {
		to, c := vr.lookUp(l)
		if c.finding != isSet {
			return c
		}
		l = to
	}
	if vr.rule.as == asText && (vr.rule.numbers || vr.rule.field == crmapi.EmployeeNumber || vr.rule.field == crmapi.LeaderID) && l.isText() && vr.m.p.looksLikeBytes(l.s) {
		return wrong(bytesProblem)
	}
	c := vr.rule.convert(l)
	if c.finding == isWrong && vr.rule.lookup != "" {
		c.problem = "is translated by lookup " + vr.rule.lookup + " to what " + c.problem
	}
	vr.m.notes.converted(vr.rule, c)
	return c
}

func (vr valueReader) joinedParts(parts []string) content {
	text := strings.Join(parts, vr.rule.separator)
	vr.m.notes.step("concat", text)
	return vr.readLeaf(leaf{'"', text})
}

// lookUp translates a value. The content is set if that went well.
func (vr valueReader) lookUp(l leaf) (leaf, content) {
	key, problem := l.id()
	if problem != "" {
		return l, wrong(problem)
	}
	found, problem := vr.m.w.lookups.translate(vr.rule.lookup, key)
	vr.m.notes.step("lookup "+vr.rule.lookup, found)
	switch {
	case problem == "":
		return leaf{'"', found}, content{finding: isSet}
	case vr.rule.missIgnored:
		vr.m.notes.step("not found: ignored", "")
		return l, content{finding: isLeftOut}
	}
	return l, content{finding: isWrong, reason: UnresolvedReference, problem: problem}
}

// tidy brings a text into its Unicode form and trims it.
func (vr valueReader) tidy(l leaf) leaf {
	if !l.isText() {
		return l
	}
	formed := l
	form := vr.rule.form
	if vr.rule.as == asPhone { // it reads full-width digits itself, and NFKC makes digits of marks such as ¹
		form = formNone
	}
	switch form {
	case formNFC:
		formed.s = norm.NFC.String(l.s)
	case formNFKC:
		formed.s = norm.NFKC.String(l.s)
	case formNone:
	}
	if formed.s != l.s {
		vr.m.notes.step("Unicode form", formed.s)
	}
	if !vr.rule.trim {
		return formed
	}
	trimmed := leaf{l.kind, strings.TrimSpace(formed.s)}
	if trimmed.s != formed.s {
		vr.m.notes.step("trim", trimmed.s)
	}
	return trimmed
}

// convert gives a plain value that is not empty the type of the field.
func (r *fieldRule) convert(l leaf) content {
	switch r.as {
	case asPhone:
		return r.phone(l)
	case asGender:
		return r.gender(l)
	case asDate:
		return r.date(l)
	case asInt:
		n, problem := l.integer()
		if problem != "" {
			return wrong(problem)
		}
		return set(crmapi.Int(n))
	case asText, asInts:
	}
	return r.text(l)
}

func (r *fieldRule) text(l leaf) content {
	if l.isNumber() && r.numbers {
		digits, problem := exactInteger(l.s, maxIDDigits)
		if problem != "" {
			return wrong(problem)
		}
		return setText(digits)
	}
	switch {
	case !l.isText():
		return wrong("is " + l.what() + ", not a text")
	case r.refuseMasked && isMasked(l.s):
		return wrong("is masked")
	}
	if r.field == crmapi.Mobile && r.as == asText {
		if problem := mobileProblem(l.s); problem != "" {
			return wrong(problem)
		}
	}
	return setText(l.s)
}

// isMasked reports whether characters of the text were blotted out.
func isMasked(s string) bool { return strings.ContainsAny(s, "*＊") }

// gender finds the value in the lists of the rule.
func (r *fieldRule) gender(l leaf) content {
	isOf := func(known []string) bool {
		return slices.ContainsFunc(known, func(k string) bool { return l.equals(scalar{value: k}) })
	}
	switch {
	case isOf(r.male):
		return set(crmapi.Text("M"))
	case isOf(r.female):
		return set(crmapi.Text("F"))
	case r.unknownIgnored:
		return content{finding: isLeftOut}
	case !l.isText() && !l.isNumber():
		return wrong("is " + l.what() + ", not a text")
	}
	return wrong("is neither M nor F")
}

// date sends epoch milliseconds as a decimal text.
func (r *fieldRule) date(l leaf) content {
	t, noEnd, problem := r.dates.read(l)
	switch {
	case r.noEnd && r.dates.isEndless(l.s):
		return content{finding: isEmpty}
	case problem != "":
		return wrong(problem)
	case noEnd && r.noEnd:
		return content{finding: isEmpty}
	}
	return set(crmapi.Text(strconv.FormatInt(t.UnixMilli(), 10)))
}

// maxDepartments is the API's bound on attachingDepartmentIds.
const maxDepartments = 500

// readList reads a list of integers, or a text that holds one.
func (vr valueReader) readList(v jsontree.Value) content {
	if !v.IsList() {
		return vr.readSplit(v)
	}
	var entries []leaf
	for entry := range v.Entries() {
		if len(entries) == maxDepartments {
			return wrong("has more than " + strconv.Itoa(maxDepartments) + " entries")
		}
		if vr.rule.each != nil {
			entry = vr.m.inside(entry, vr.rule.each)
		}
		l, ok := leafOf(entry)
		if !ok {
			return wrong("entry " + strconv.Itoa(len(entries)) + " is " + l.what() + ", not an integer")
		}
		entries = append(entries, vr.tidy(l))
	}
	return vr.integers(entries)
}

// readSplit reads a plain value in place of a list.
func (vr valueReader) readSplit(v jsontree.Value) content {
	l, ok := leafOf(v)
	l = vr.tidy(l)
	switch {
	case !ok:
		return wrong("is " + l.what() + ", not a list")
	case l.kind == 'n' && !slices.ContainsFunc(vr.rule.alsoEmpty, l.equals):
		return content{finding: isNull}
	case l.isText() && l.s == "", slices.ContainsFunc(vr.rule.alsoEmpty, l.equals):
		return content{finding: isEmpty}
	case vr.rule.split == "" || !l.isText() && !l.isNumber():
		return wrong("is " + l.what() + ", not a list")
	}
	var entries []leaf
	for entry := range strings.SplitSeq(l.s, vr.rule.split) {
		if len(entries) == maxDepartments {
			return wrong("has more than " + strconv.Itoa(maxDepartments) + " entries")
		}
		if entry = strings.TrimSpace(entry); entry != "" {
			entries = append(entries, leaf{'"', entry})
		}
	}
	vr.m.notes.step("split", "")
	return vr.integers(entries)
}

// integers translates the entries of a list and gives them their type.
func (vr valueReader) integers(entries []leaf) content {
	if len(entries) == 0 {
		return content{finding: isEmpty}
	}
	ns := make([]int64, 0, len(entries))
	for i, l := range entries {
		if l.isText() && isPlaceholderText(l.s) {
			return content{finding: isUnavailable}
		}
		if vr.rule.lookup != "" {
			to, c := vr.lookUp(l)
			if c.finding == isWrong {
				c.problem = "entry " + strconv.Itoa(i) + " " + c.problem
			}
			if c.finding != isSet {
				return c
			}
			l = to
		}
		n, problem := l.integer()
		if problem == "" && n < 0 {
			problem = "is negative"
		}
		if problem != "" {
			return wrong("entry " + strconv.Itoa(i) + " " + problem)
		}
		ns = append(ns, n)
	}
	c := set(crmapi.Ints(ns))
	vr.m.notes.converted(vr.rule, c)
	return c
}

// step runs the program of a field over its value.
func (vr valueReader) program(v jsontree.Value) (to jsontree.Value, c content) {
	if vr.rule.program == nil || v.IsNull() {
		return v, content{finding: isSet}
	}
	to, problem := vr.m.w.jq.run(vr.m, vr.rule.program.JQ, v)
	switch {
	case problem != "":
		return to, wrong(problem)
	case to.Absent():
		vr.m.notes.step("jq", "nothing")
		return to, content{finding: isLeftOut}
	}
	vr.m.notes.step("jq", string(to.Raw()))
	return to, content{finding: isSet}
}
