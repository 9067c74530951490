package mapper

import (
	"slices"
	"strconv"
	"strings"

	"golang.org/x/text/unicode/norm"

	"membersync/crmapi"
	"membersync/mapper/internal/jsontree"
)

type normaliser uint8

const (
	asText normaliser = iota
	asPhone
	asGender
	asDate
	asInt
	asInts
)

// normalisers lists the names of the normalisers, each at its number.
func normalisers() []string { return []string{"text", "phone", "gender", "date", "int", "ints"} }

// wants names what a normalizer reads, for the texts of faults.
func (n normaliser) wants() string {
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
func (m *interpreter) read(rule *fieldRule, v jsontree.Value) content {
	switch {
	case v.Absent():
		return content{}
	case unavailable(v.Raw()):
		m.step("placeholder of an unchanged value", "")
		return content{finding: isUnavailable}
	}
	v, c := m.program(rule, v)
	if c.finding != isSet {
		return c
	}
	if rule.as == asInts {
		return m.readList(rule, v)
	}
	l, ok := leafOf(v)
	if !ok {
		return wrong("is " + l.what() + ", not " + rule.as.wants())
	}
	return m.readLeaf(rule, m.tidy(rule, l))
}

// readLeaf goes on from a plain value.
func (m *interpreter) readLeaf(rule *fieldRule, l leaf) content {
	switch {
	case l.kind == 'n' && !slices.ContainsFunc(rule.alsoEmpty, l.equals):
		return content{finding: isNull}
	case l.isText() && l.s == "", slices.ContainsFunc(rule.alsoEmpty, l.equals):
		return content{finding: isEmpty}
	}
	if rule.lookup != "" {
		to, c := m.lookUp(rule, l)
		if c.finding != isSet {
			return c
		}
		l = to
	}
	if rule.as == asText && (rule.numbers || rule.field == crmapi.EmployeeNumber || rule.field == crmapi.LeaderID) && l.isText() && m.w.looksLikeBytes(l.s) {
		return wrong(bytesProblem)
	}
	c := rule.convert(l)
	if c.finding == isWrong && rule.lookup != "" {
		c.problem = "is translated by lookup " + rule.lookup + " to what " + c.problem
	}
	m.converted(rule, c)
	return c
}

func (m *interpreter) joinedParts(rule *fieldRule, parts []string) content {
	text := strings.Join(parts, rule.separator)
	m.step("concat", text)
	return m.readLeaf(rule, leaf{'"', text})
}

// lookUp translates a value. The content is set if that went well.
func (m *interpreter) lookUp(rule *fieldRule, l leaf) (leaf, content) {
	key, problem := l.id()
	if problem != "" {
		return l, wrong(problem)
	}
	found, problem := m.w.translate(rule.lookup, key)
	m.step("lookup "+rule.lookup, found)
	switch {
	case problem == "":
		return leaf{'"', found}, content{finding: isSet}
	case rule.missIgnored:
		m.step("not found: ignored", "")
		return l, content{finding: isLeftOut}
	}
	return l, content{finding: isWrong, reason: UnresolvedReference, problem: problem}
}

// tidy brings a text into its Unicode form and trims it.
func (m *interpreter) tidy(r *fieldRule, l leaf) leaf {
	if !l.isText() {
		return l
	}
	formed := l
	form := r.form
	if r.as == asPhone { // it reads full-width digits itself, and NFKC makes digits of marks such as ¹
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
		m.step("Unicode form", formed.s)
	}
	if !r.trim {
		return formed
	}
	trimmed := leaf{l.kind, strings.TrimSpace(formed.s)}
	if trimmed.s != formed.s {
		m.step("trim", trimmed.s)
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
func (m *interpreter) readList(rule *fieldRule, v jsontree.Value) content {
	if !v.IsList() {
		return m.readSplit(rule, v)
	}
	var entries []leaf
	for entry := range v.Entries() {
		if len(entries) == maxDepartments {
			return wrong("has more than " + strconv.Itoa(maxDepartments) + " entries")
		}
		if rule.each != nil {
			entry = m.inside(entry, rule.each)
		}
		l, ok := leafOf(entry)
		if !ok {
			return wrong("entry " + strconv.Itoa(len(entries)) + " is " + l.what() + ", not an integer")
		}
		entries = append(entries, m.tidy(rule, l))
	}
	return m.integers(rule, entries)
}

// readSplit reads a plain value in place of a list.
func (m *interpreter) readSplit(rule *fieldRule, v jsontree.Value) content {
	l, ok := leafOf(v)
	l = m.tidy(rule, l)
	switch {
	case !ok:
		return wrong("is " + l.what() + ", not a list")
	case l.kind == 'n' && !slices.ContainsFunc(rule.alsoEmpty, l.equals):
		return content{finding: isNull}
	case l.isText() && l.s == "", slices.ContainsFunc(rule.alsoEmpty, l.equals):
		return content{finding: isEmpty}
	case rule.split == "" || !l.isText() && !l.isNumber():
		return wrong("is " + l.what() + ", not a list")
	}
	var entries []leaf
	for entry := range strings.SplitSeq(l.s, rule.split) {
		if len(entries) == maxDepartments {
			return wrong("has more than " + strconv.Itoa(maxDepartments) + " entries")
		}
		if entry = strings.TrimSpace(entry); entry != "" {
			entries = append(entries, leaf{'"', entry})
		}
	}
	m.step("split", "")
	return m.integers(rule, entries)
}

// integers translates the entries of a list and gives them their type.
func (m *interpreter) integers(rule *fieldRule, entries []leaf) content {
	if len(entries) == 0 {
		return content{finding: isEmpty}
	}
	ns := make([]int64, 0, len(entries))
	for i, l := range entries {
		if l.isText() && isPlaceholderText(l.s) {
			return content{finding: isUnavailable}
		}
		if rule.lookup != "" {
			to, c := m.lookUp(rule, l)
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
	m.converted(rule, c)
	return c
}
