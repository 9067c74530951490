package jsontree

import (
	"bytes"
	"iter"

	"github.com/go-json-experiment/json/jsontext"
)

// A Value is one value of a tree; the zero Value is absent.
type Value struct {
	tree *Tree
	at   int32
}

// Absent reports whether there is no value.
func (v Value) Absent() bool { return v.tree == nil }

// Raw returns the value as it stands in the text, which must not be written to.
// It is nil for an absent one.
func (v Value) Raw() []byte {
	if v.tree == nil {
		return nil
	}
	n := v.tree.nodes[v.at]
	return v.tree.text[n.start:n.end]
}

// First returns the first byte of the value, which tells its type, or 0.
func (v Value) First() byte {
	if v.tree == nil {
		return 0
	}
	return v.tree.text[v.tree.nodes[v.at].start]
}

// IsNull reports whether it is the JSON null.
func (v Value) IsNull() bool { return v.First() == 'n' }

// IsText reports whether it is a JSON text.
func (v Value) IsText() bool { return v.First() == '"' }

// IsList reports whether it is a JSON list.
func (v Value) IsList() bool { return v.First() == '[' }

// IsObject reports whether it is a JSON object.
func (v Value) IsObject() bool { return v.First() == '{' }

// Offset returns where in the record's value it stands, -1 if it is absent.
func (v Value) Offset() int64 {
	if v.tree == nil {
		return -1
	}
	return int64(v.tree.offset(int(v.tree.nodes[v.at].start)))
}

// Text returns the content of a JSON text.
func (v Value) Text() string { return Unquote(v.Raw()) }

// Unquote returns the content of a valid JSON text.
func Unquote(raw []byte) string {
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1])
	}
	content, _ := jsontext.AppendUnquote(nil, raw) // cannot fail: the decoder has accepted it
	return string(content)
}

// Member returns the member of an object by its exact name.
func (v Value) Member(name string) Value {
	if !v.IsObject() {
		return Value{}
	}
	nodes, text := v.tree.nodes, v.tree.text
	for c := v.first(); c != 0; c = nodes[c].next {
		n := &nodes[c]
		if n.escaped && v.tree.name(c) == name ||
			!n.escaped && int(n.nameEnd-n.nameStart) == len(name) && string(text[n.nameStart:n.nameEnd]) == name {
			return Value{v.tree, c}
		}
	}
	return Value{}
}

// Entry returns the entry of a list at index n.
func (v Value) Entry(n int) Value {
	if !v.IsList() {
		return Value{}
	}
	for c := v.first(); c != 0; c = v.tree.nodes[c].next {
		if n == 0 {
			return Value{v.tree, c}
		}
		n--
	}
	return Value{}
}

// Entries yields the entries of a list.
func (v Value) Entries() iter.Seq[Value] {
	return func(yield func(Value) bool) {
		if !v.IsList() {
			return
		}
		for c := v.first(); c != 0; c = v.tree.nodes[c].next {
			if !yield(Value{v.tree, c}) {
				return
			}
		}
	}
}

// Members yields the members of an object with their names.
func (v Value) Members() iter.Seq2[string, Value] {
	return func(yield func(string, Value) bool) {
		if !v.IsObject() {
			return
		}
		for c := v.first(); c != 0; c = v.tree.nodes[c].next {
			if !yield(v.tree.name(c), Value{v.tree, c}) {
				return
			}
		}
	}
}

// MembersWith yields the members of an object with those of the same name in another, absent if
// it has none. It makes no texts of the names.
func (v Value) MembersWith(other Value) iter.Seq2[Value, Value] {
	return func(yield func(Value, Value) bool) {
		if !v.IsObject() {
			return
		}
		likely := Value{} // two rows have their columns in one order
		if other.IsObject() && other.first() != 0 {
			likely = Value{other.tree, other.first()}
		}
		for c := v.first(); c != 0; c = v.tree.nodes[c].next {
			same := likely
			if likely.tree == nil || !sameName(v.tree, c, likely) {
				same = other.Member(v.tree.name(c))
			}
			if !yield(Value{v.tree, c}, same) {
				return
			}
			likely = Value{}
			if same.tree != nil && same.tree.nodes[same.at].next != 0 {
				likely = Value{same.tree, same.tree.nodes[same.at].next}
			}
		}
	}
}

func sameName(t *Tree, c int32, other Value) bool {
	a, b := &t.nodes[c], &other.tree.nodes[other.at]
	return !a.escaped && !b.escaped && bytes.Equal(t.text[a.nameStart:a.nameEnd], other.tree.text[b.nameStart:b.nameEnd])
}

// Len counts the entries of a list or the members of an object.
func (v Value) Len() int {
	n := 0
	if v.IsList() || v.IsObject() {
		for c := v.first(); c != 0; c = v.tree.nodes[c].next {
			n++
		}
	}
	return n
}

// first returns the first child, 0 if there is none: a child is never the root.
func (v Value) first() int32 {
	c := v.at + 1
	if int(c) < len(v.tree.nodes) && v.tree.nodes[c].start < v.tree.nodes[v.at].end {
		return c
	}
	return 0
}

// name returns a member's name. Its quotes stand around it in the text.
func (t *Tree) name(c int32) string {
	n := t.nodes[c]
	return Unquote(t.text[n.nameStart-1 : n.nameEnd+1])
}
