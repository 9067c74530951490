package crmapi

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"strconv"
)

// A Value is the new content of one member field: a text, an integer, or a list of integers. The
// empty text and the empty list are contents too: they clear the field.
//
// Values are immutable and safe for concurrent use. They are personal data, so printing or logging
// one shows a mask. Only its JSON contains the content.
type Value struct {
	kind Kind
	text string // of an integer or a list: its JSON, so that a value is one string
}

// Text returns a text value.
func Text(s string) Value { return Value{kind: KindText, text: s} }

// Int returns an integer value.
func Int(n int64) Value { return Value{kind: KindInt, text: strconv.FormatInt(n, 10)} }

// Ints returns a list value. It copies the list.
func Ints(ns []int64) Value {
	b := append(make([]byte, 0, 32), '[')
	for i, n := range ns {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, n, 10)
	}
	return Value{kind: KindInts, text: string(append(b, ']'))}
}

// Kind returns the JSON type of the value.
func (v Value) Kind() Kind { return v.kind }

// IsEmpty reports whether the value clears its field.
func (v Value) IsEmpty() bool {
	return v.kind != KindInt && v.text == "" || v.kind == KindInts && v.text == emptyList
}

const emptyList = "[]"

// Equal reports whether both values have the same kind and content.
func (v Value) Equal(o Value) bool { return v == o }

// AppendJSON appends the value as the API expects it.
func (v Value) AppendJSON(b []byte) []byte {
	if v.kind == KindText {
		return appendString(b, v.text)
	}
	return append(b, v.text...)
}

// String masks the content.
func (Value) String() string { return "***" }

// GoString masks the content.
func (Value) GoString() string { return "***" }

// LogValue masks the content.
func (Value) LogValue() slog.Value { return slog.StringValue("***") }

// An Update is a sparse change of one member: a field that is not set is not sent, and therefore
// not modified. The zero value names no member and sets no field.
//
// An Update is a value: With and Without return changed copies. Printing or logging one shows the
// names of its fields, never their contents.
type Update struct {
	OpenUserID string // the member to modify
	// The fields that are set, in the order of the API's page: of each its number in one byte, the
	// length of its text as a varint, and its text. Many updates wait in memory, so one is a single
	// allocation.
	settings string
}

// Pack returns the fields that are set as one string, for [Unpack]. It holds their values.
func (u Update) Pack() string { return u.settings }

// Unpack returns the update of a member with the fields that [Update.Pack] has returned.
func Unpack(openUserID, packed string) Update {
	return Update{OpenUserID: openUserID, settings: packed}
}

// With returns a copy in which field f has the value v. It panics if the kind of v is not the kind
// of the field: that is a bug in the program, not a fault in its input.
func (u Update) With(f Field, v Value) Update {
	if f >= numFields || f.Kind() != v.kind {
		panic(fmt.Sprintf("crmapi: value of kind %d for field %s", v.kind, f))
	}
	at, next := u.place(f)
	var space [256]byte // enough for most updates
	b := append(space[:0], u.settings[:at]...)
	b = binary.AppendUvarint(append(b, byte(f)), uint64(len(v.text)))
	b = append(append(b, v.text...), u.settings[next:]...)
	u.settings = string(b)
	return u
}

// Without returns a copy in which field f is not set.
func (u Update) Without(f Field) Update {
	if at, next := u.place(f); next > at {
		u.settings = u.settings[:at] + u.settings[next:]
	}
	return u
}

// place returns where the setting of field f begins and ends; if it is not set, twice where it
// belongs.
func (u Update) place(f Field) (at, next int) {
	for rest := u.settings; rest != ""; {
		of, _, after := cut(rest)
		switch {
		case of == f:
			return at, at + len(rest) - len(after)
		case of > f:
			return at, at
		}
		at, rest = at+len(rest)-len(after), after
	}
	return at, at
}

// cut splits settings, which are not empty, into the first one and the others.
func cut(settings string) (f Field, text, rest string) {
	f, settings = Field(settings[0]), settings[1:]
	n, size := 0, 0
	for shift := 0; ; shift += 7 {
		c := settings[size]
		size++
		n |= int(c&0x7f) << shift
		if c < 0x80 {
			break
		}
	}
	return f, settings[size : size+n], settings[size+n:]
}

// Get returns the value of field f and whether it is set.
func (u Update) Get(f Field) (Value, bool) {
	for rest := u.settings; rest != ""; {
		of, text, after := cut(rest)
		if of == f {
			return Value{f.Kind(), text}, true
		}
		rest = after
	}
	return Value{}, false
}

// Len returns the number of fields that are set.
func (u Update) Len() (n int) {
	for rest := u.settings; rest != ""; n++ {
		_, _, rest = cut(rest)
	}
	return n
}

// All yields the fields that are set and their values, in the order of the API's page.
func (u Update) All() iter.Seq2[Field, Value] {
	return func(yield func(Field, Value) bool) {
		for rest := u.settings; rest != ""; {
			f, text, after := cut(rest)
			if !yield(f, Value{f.Kind(), text}) {
				return
			}
			rest = after
		}
	}
}

// Equal reports whether both updates set the same fields of the same member to the same values.
func (u Update) Equal(o Update) bool { return u == o }

// AppendJSON appends the update as the API's user object: the member's ID and the fields that are
// set.
func (u Update) AppendJSON(b []byte) []byte {
	b = append(b, `{"openUserId":`...)
	b = appendString(b, u.OpenUserID)
	for f, v := range u.All() {
		b = append(b, ',', '"')
		b = append(b, fieldName(f)...)
		b = append(b, '"', ':')
		b = v.AppendJSON(b)
	}
	return append(b, '}')
}

// MarshalJSON returns the API's user object. See [Update.AppendJSON].
func (u Update) MarshalJSON() ([]byte, error) { return u.AppendJSON(nil), nil }

// String returns the names of the fields that are set, without their values.
func (u Update) String() string {
	names := []string{}
	for f := range u.All() {
		names = append(names, f.String())
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
