package mapper

import (
	"bytes"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"membersync/crmapi"
)

// A rule says how one member field is read. A mapping file will choose other rules;
// nothing behind them has to change for it.
type rule struct {
	clear bool // null and "" empty the field; otherwise they are refused
	read  reader
}

// A reader normalises a value that is present and no clear. What is wrong with it is
// worded to be read behind the field's path, without the value.
type reader func(lexeme) (v crmapi.Value, problem string)

// canonicalRules are the rules of CRM.md section 1 for values that are the CRM's own.
func canonicalRules(zone *time.Location) (rules [crmapi.NumFields]rule) {
	for f := range rules {
		rules[f] = rule{read: readText}
	}
	for _, f := range []crmapi.Field{crmapi.Position, crmapi.Email, crmapi.QQ, crmapi.Weixin} {
		rules[f].clear = true
	}
	for _, f := range []crmapi.Field{crmapi.HireDate, crmapi.BirthDate, crmapi.StartWorkDate} {
		rules[f].read = dateReader(zone)
	}
	rules[crmapi.Gender].read = readGender
	rules[crmapi.Mobile].read = readMobile
	rules[crmapi.MainDepartmentID].read = readInt
	rules[crmapi.AttachingDepartmentIDs] = rule{clear: true, read: readInts}
	return rules
}

// value applies the rule to a value that is present.
func (r rule) value(l lexeme, kind crmapi.Kind) (v crmapi.Value, problem string) {
	switch {
	case !l.isClear():
		return r.read(l)
	case !r.clear:
		return v, "cannot be cleared"
	case kind == crmapi.KindInts:
		return crmapi.Ints(nil), ""
	}
	return crmapi.Text(""), ""
}

// readText takes texts only. A number is refused: it cannot show the leading zeros
// that the text may have had.
func readText(l lexeme) (v crmapi.Value, problem string) {
	if !l.isText() {
		return v, "is " + l.kind() + ", not a text"
	}
	return crmapi.Text(l.text()), ""
}

func readGender(l lexeme) (v crmapi.Value, problem string) {
	if v, problem = readText(l); problem != "" {
		return v, problem
	}
	if text := l.text(); text != "M" && text != "F" {
		return v, "is neither M nor F"
	}
	return v, ""
}

// readMobile refuses masked numbers: written to the CRM, one would destroy the real one.
func readMobile(l lexeme) (v crmapi.Value, problem string) {
	if v, problem = readText(l); problem != "" {
		return v, problem
	}
	return v, mobileProblem(l.text())
}

func readInt(l lexeme) (v crmapi.Value, problem string) {
	n, problem := l.integer()
	if problem != "" {
		return v, problem
	}
	return crmapi.Int(n), ""
}

// maxDepartments is the API's bound on attachingDepartmentIds.
const maxDepartments = 500

func readInts(l lexeme) (v crmapi.Value, problem string) {
	if !l.isList() {
		return v, "is " + l.kind() + ", not a list"
	}
	var ns []int64
	decoder := jsontext.NewDecoder(bytes.NewBuffer(l))
	for _, err := decoder.ReadToken(); err == nil && decoder.PeekKind() != jsontext.KindEndArray; {
		if len(ns) == maxDepartments {
			return v, "has more than " + strconv.Itoa(maxDepartments) + " entries"
		}
		var entry jsontext.Value
		if entry, err = decoder.ReadValue(); err != nil {
			return v, notInteger // cannot happen: the decoder has accepted the list before
		}
		n, problem := lexeme(entry).integer()
		if problem == "" && n < 0 {
			problem = "is negative"
		}
		if problem != "" {
			return v, "entry " + strconv.Itoa(len(ns)) + " " + problem
		}
		ns = append(ns, n)
	}
	return crmapi.Ints(ns), ""
}
