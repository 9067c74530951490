package mapper

import (
	"bytes"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

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
