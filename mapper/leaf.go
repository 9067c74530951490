package mapper

import (
	"strings"

	"membersync/mapper/internal/jsontree"
)

// maxID bounds an id in bytes. Ids go into headers and logs: without a bound, a dead
// letter could outgrow what its topic accepts, and its partition would be stuck.
const maxID = 1024

// maxIDDigits bounds an id that is a number. 1e999 is an integer, but no id.
const maxIDDigits = 64

// A leaf is a value that is neither a list nor an object, its text unquoted. Numbers
// stay text until their type is known.
type leaf struct {
	kind byte // the first byte of the JSON value: a quote, a digit or minus, t, f or n
	s    string
}

// leafOf returns the leaf of a value; a list, an object and an absent value have none.
func leafOf(v jsontree.Value) (l leaf, ok bool) {
	switch c := v.First(); c {
	case 0, '[', '{':
		return leaf{kind: c}, false
	case '"':
		return leaf{c, v.Text()}, true
	default:
		return leaf{c, string(v.Raw())}, true
	}
}

func (l leaf) isText() bool { return l.kind == '"' }

func (l leaf) isNumber() bool { return l.kind == '-' || l.kind >= '0' && l.kind <= '9' }

// what names the JSON type for the texts of faults.
func (l leaf) what() string {
	switch l.kind {
	case 0:
		return "absent"
	case 'n':
		return "the JSON null"
	case 't', 'f':
		return "true or false"
	case '"':
		return "a text"
	case '[':
		return "a list"
	case '{':
		return "an object"
	}
	return "a number"
}

// jsonType names the type of a value for the texts of faults.
func jsonType(v jsontree.Value) string { return leaf{kind: v.First()}.what() }

// integer reads a whole number given as a number, or as a text where that is exact.
func (l leaf) integer() (n int64, problem string) {
	switch {
	case l.isNumber():
		digits, problem := exactInteger(l.s, 19)
		if problem != "" {
			return 0, problem
		}
		return parseInteger(digits)
	case l.isText() && isPlainInteger(l.s):
		return parseInteger(l.s)
	case l.isText():
		return 0, notInteger
	}
	return 0, "is " + l.what() + ", not an integer"
}

// id reads an identifier: a text, which is kept as it is, or an exact integer.
func (l leaf) id() (id, problem string) {
	switch {
	case l.isText():
		id = l.s
	case l.isNumber():
		id, problem = exactInteger(l.s, maxIDDigits)
	default:
		problem = "is " + l.what() + ", not a text or an integer"
	}
	switch {
	case problem != "":
		return "", problem
	case strings.TrimSpace(id) == "":
		return "", "is empty"
	case len(id) > maxID:
		return "", "is longer than 1024 bytes"
	}
	return id, ""
}
