package crmapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strconv"
)

// A Value is the new content of one member field: a text, an integer, or a list of integers. The
// empty text and the empty list are contents too: they clear the field.
//
// Values are immutable and safe for concurrent use. They are personal data, so printing or logging
// one shows a mask. Only its JSON contains the content.
type Value struct {
	kind Kind
	text string
	ints []int64
}

// Text returns a text value.
func Text(s string) Value { return Value{kind: KindText, text: s} }

// Int returns an integer value.
func Int(n int64) Value { return Value{kind: KindInt, ints: []int64{n}} }

// Ints returns a list value. It copies the list.
func Ints(ns []int64) Value {
	return Value{kind: KindInts, ints: append(make([]int64, 0, len(ns)), ns...)}
}

// Kind returns the JSON type of the value.
func (v Value) Kind() Kind { return v.kind }

// IsEmpty reports whether the value clears its field.
func (v Value) IsEmpty() bool { return v.kind != KindInt && v.text == "" && len(v.ints) == 0 }

// Equal reports whether both values have the same kind and content.
func (v Value) Equal(o Value) bool {
	return v.kind == o.kind && v.text == o.text && slices.Equal(v.ints, o.ints)
}

// AppendJSON appends the value as the API expects it.
func (v Value) AppendJSON(b []byte) []byte {
	switch v.kind {
	case KindInt:
		return strconv.AppendInt(b, v.ints[0], 10)
	case KindInts:
		b = append(b, '[')
		for i, n := range v.ints {
			if i > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendInt(b, n, 10)
		}
		return append(b, ']')
	case KindText:
		return appendString(b, v.text)
	}
	return b
}

// String masks the content.
func (Value) String() string { return "***" }

// GoString masks the content.
func (Value) GoString() string { return "***" }

// LogValue masks the content.
func (Value) LogValue() slog.Value { return slog.StringValue("***") }

type setting struct {
	field Field
	value Value
}

// An Update is a sparse change of one member: a field that is not set is not sent, and therefore
// not modified. The zero value names no member and sets no field.
//
// An Update is a value: With and Without return changed copies. Printing or logging one shows the
// names of its fields, never their contents.
type Update struct {
	OpenUserID string // the member to modify
	settings   []setting
}

// With returns a copy in which field f has the value v. It panics if the kind of v is not the kind
// of the field: that is a bug in the program, not a fault in its input.
func (u Update) With(f Field, v Value) Update {
	if f >= numFields || f.Kind() != v.kind {
		panic(fmt.Sprintf("crmapi: value of kind %d for field %s", v.kind, f))
	}
	i, found := slices.BinarySearchFunc(u.settings, f, func(s setting, f Field) int { return int(s.field) - int(f) })
	if found {
		u.settings = slices.Clone(u.settings)
		u.settings[i].value = v
		return u
	}
	settings := make([]setting, 0, len(u.settings)+1)
	settings = append(settings, u.settings[:i]...)
	settings = append(settings, setting{f, v})
	u.settings = append(settings, u.settings[i:]...)
	return u
}

// Without returns a copy in which field f is not set.
func (u Update) Without(f Field) Update {
	u.settings = slices.DeleteFunc(slices.Clone(u.settings), func(s setting) bool { return s.field == f })
	return u
}

// Get returns the value of field f and whether it is set.
func (u Update) Get(f Field) (Value, bool) {
	for _, s := range u.settings {
		if s.field == f {
			return s.value, true
		}
	}
	return Value{}, false
}

// Len returns the number of fields that are set.
func (u Update) Len() int { return len(u.settings) }

// All yields the fields that are set and their values, in the order of the API's page.
func (u Update) All() iter.Seq2[Field, Value] {
	return func(yield func(Field, Value) bool) {
		for _, s := range u.settings {
			if !yield(s.field, s.value) {
				return
			}
		}
	}
}

// Equal reports whether both updates set the same fields of the same member to the same values.
func (u Update) Equal(o Update) bool {
	return u.OpenUserID == o.OpenUserID && slices.EqualFunc(u.settings, o.settings, func(a, b setting) bool {
		return a.field == b.field && a.value.Equal(b.value)
	})
}

// AppendJSON appends the update as the API's user object: the member's ID and the fields that are
// set.
func (u Update) AppendJSON(b []byte) []byte {
	b = append(b, `{"openUserId":`...)
	b = appendString(b, u.OpenUserID)
	for _, s := range u.settings {
		b = append(b, ',', '"')
		b = append(b, fieldName(s.field)...)
		b = append(b, '"', ':')
		b = s.value.AppendJSON(b)
	}
	return append(b, '}')
}

// MarshalJSON returns the API's user object. See [Update.AppendJSON].
func (u Update) MarshalJSON() ([]byte, error) { return u.AppendJSON(nil), nil }

// String returns the names of the fields that are set, without their values.
func (u Update) String() string {
	names := make([]string, 0, len(u.settings))
	for _, s := range u.settings {
		names = append(names, s.field.String())
	}
	return fmt.Sprint(names)
}

// GoString returns the names of the fields that are set, without their values.
func (u Update) GoString() string { return u.String() }

// LogValue returns the names of the fields that are set, without their values.
func (u Update) LogValue() slog.Value { return slog.StringValue(u.String()) }

// appendString appends s as a JSON string. The text is always valid UTF-8: the mapper rejects any
// other.
func appendString(b []byte, s string) []byte {
	if isPlain(s) {
		return append(append(append(b, '"'), s...), '"')
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic("crmapi: cannot encode a string as JSON: " + err.Error()) // cannot happen
	}
	return append(b, bytes.TrimSuffix(buf.Bytes(), []byte("\n"))...)
}

// isPlain reports whether JSON encodes the text unchanged: printable ASCII without quotation marks
// and backslashes.
func isPlain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
