package mapper

import (
	"bytes"
	"strings"

	"membersync/mapper/internal/jsontree"
)

// The forms of Debezium's unavailable.value.placeholder, which stands for a value that the database
// did not log because it did not change (PostgreSQL's TOAST, Oracle's LOBs). See
// https://debezium.io/documentation/reference/stable/connectors/postgresql.html#postgresql-toasted-values.
const (
	placeholder       = "__debezium_unavailable_value"
	placeholderBase64 = "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==" // binary.handling.mode bytes, base64, base64-url-safe
	placeholderHex    = "5f5f646562657a69756d5f756e617661696c61626c655f76616c7565"
	placeholderUUID   = "b68a35a7-17ad-35b3-af2a-ae46edb4545a" // the UUID of version 3 that Java makes of its bytes
)

// unavailable reports whether a JSON value is Debezium's placeholder: a text, a list that holds it,
// a list of its bytes, or an hstore with it as key and value.
func unavailable(raw []byte) bool {
	if len(raw) == 0 {
		return false
	}
	switch raw[0] {
	case '"':
		return mayBePlaceholder(raw) && isPlaceholderText(jsontree.Unquote(raw))
	case '[':
		return isPlaceholderList(raw)
	case '{':
		return len(raw) < maxPlaceholder && string(compact(raw)) == `{"`+placeholder+`":"`+placeholder+`"}`
	}
	return false
}

// mayBePlaceholder looks at the length and the first bytes of a text alone.
func mayBePlaceholder(raw []byte) bool {
	if len(raw) < len(placeholder) || len(raw) > maxPlaceholder {
		return false
	}
	switch raw[1] {
	case '_', 'X', '5', 'b', 'B', '{', '\\':
		return true
	}
	return false
}

func isPlaceholderText(s string) bool {
	switch s {
	case placeholder, placeholderBase64, placeholderHex, strings.ToUpper(placeholderHex), placeholderUUID,
		`"` + placeholder + `"`, `{"` + placeholder + `":"` + placeholder + `"}`: // of json, of hstore as JSON
		return true
	}
	return strings.EqualFold(s, placeholderUUID)
}

// maxPlaceholder bounds the text that could be a placeholder in a list.
const maxPlaceholder = 512

func isPlaceholderList(raw []byte) bool {
	if len(raw) > maxPlaceholder || len(raw) < len(placeholder) {
		return false
	}
	entries := bytes.Split(bytes.Trim(compact(raw), "[]"), []byte(","))
	if len(entries) == 1 {
		entry := entries[0]
		return len(entry) > 2 && entry[0] == '"' && isPlaceholderText(jsontree.Unquote(entry))
	}
	if len(entries) != len(placeholder) {
		return false
	}
	for i, entry := range entries {
		digits, problem := exactInteger(string(bytes.Trim(entry, `"`)), 3)
		if n, wrong := parseInteger(digits); problem != "" || wrong != "" || n != int64(placeholder[i]) {
			return false
		}
	}
	return true
}

// compact cuts out white space. The placeholder has none, so that in texts does not matter.
func compact(raw []byte) []byte {
	return bytes.Map(func(r rune) rune {
		if strings.ContainsRune(" \t\r\n", r) {
			return -1
		}
		return r
	}, raw)
}
