package mapper

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"
)

// A lexeme is one JSON value as it stands in the text, known to be valid; an empty
// one is an absent member. Numbers stay text until their type is known.
type lexeme []byte

// kind names the JSON type for the texts of faults.
func (l lexeme) kind() string {
	if len(l) == 0 {
		return "absent"
	}
	switch l[0] {
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

func (l lexeme) absent() bool   { return len(l) == 0 }
func (l lexeme) isNull() bool   { return len(l) > 0 && l[0] == 'n' }
func (l lexeme) isText() bool   { return len(l) > 0 && l[0] == '"' }
func (l lexeme) isList() bool   { return len(l) > 0 && l[0] == '[' }
func (l lexeme) isObject() bool { return len(l) > 0 && l[0] == '{' }
func (l lexeme) isNumber() bool { return len(l) > 0 && (l[0] == '-' || l[0] >= '0' && l[0] <= '9') }

// isClear reports whether the canonical event means "empty the field" by it.
func (l lexeme) isClear() bool { return l.isNull() || string(l) == `""` }

// text returns the content of a JSON string.
func (l lexeme) text() string {
	if bytes.IndexByte(l, '\\') < 0 {
		return string(l[1 : len(l)-1])
	}
	content, _ := jsontext.AppendUnquote(nil, l) // cannot fail: the decoder has accepted it
	return string(content)
}
