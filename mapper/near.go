package mapper

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// missing words that a member is absent. Where the event has a name that differs from
// it only in case or separators, the text says so. It is looked for only then, and
// names of no likeness are never repeated: they may hold anything.
func (r *reading) missing(name string) string {
	if r.fault != nil {
		return "" // only the first fault is told
	}
	if variant := nearVariant(r.doc.text, name); variant != "" {
		return "is missing; " + strconv.QuoteToASCII(variant) + " is another name, upper and lower case count"
	}
	return "is missing"
}

// nearVariant returns a member name of the object that is nearly the wanted one.
func nearVariant(object []byte, name string) string {
	decoder := jsontext.NewDecoder(bytes.NewBuffer(object))
	if _, err := decoder.ReadToken(); err != nil {
		return ""
	}
	for decoder.PeekKind() == jsontext.KindString {
		token, err := decoder.ReadToken()
		if err != nil {
			return ""
		}
		if found := token.String(); len(found) <= 2*len(name) && strings.EqualFold(bare(found), name) {
			return found
		}
		if decoder.SkipValue() != nil {
			return ""
		}
	}
	return ""
}

func bare(name string) string { return strings.NewReplacer("_", "", "-", "", " ", "").Replace(name) }
