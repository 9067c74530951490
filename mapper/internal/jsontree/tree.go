// Package jsontree reads one strict JSON value and finds values in it by name and
// index. It keeps where things stand in the text, and interprets nothing.
package jsontree

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"
)

// A node says where one value stands. The children of a node follow it.
type node struct {
	start, end         int32 // the value
	nameStart, nameEnd int32 // the member name between its quotes; 0 and 0 for entries of a list
	next               int32 // the next entry or member of the same parent; 0: none
	escaped            bool  // the name is spelled with a backslash
}

// A Tree is the index of one JSON text. It can be used again for another text, after
// which the values of the first are dead. The zero value is ready.
type Tree struct {
	text    []byte
	nodes   []node
	decoder jsontext.Decoder
	source  bytes.Buffer
	base    int  // where the text stands in the record's value
	inner   bool // the text was made from another, so offsets in it mean nothing outside
}

// maxKept bounds the index that a tree keeps for its next use.
const maxKept = 1 << 14

// Read reads the text, which stands at offset base of the record's value. It refuses
// duplicate names, invalid UTF-8, nesting beyond 10,000 levels and anything behind
// the value. The error is an *Error.
func (t *Tree) Read(text []byte, base int) (Value, error) {
	return t.read(text, base, false)
}

// ReadInner reads a text that was unquoted or decoded from the value at offset base of
// the record's value.
func (t *Tree) ReadInner(text []byte, base int) (Value, error) {
	return t.read(text, base, true)
}

func (t *Tree) read(text []byte, base int, inner bool) (Value, error) {
	t.text, t.base, t.inner, t.nodes = text, base, inner, t.nodes[:0]
	t.source = *bytes.NewBuffer(text) // the decoder reads a bytes.Buffer in place and never writes to it
	t.decoder.Reset(&t.source)
	if _, err := t.decoder.ReadValue(); err != nil {
		return Value{}, t.explain(err)
	}
	if err := t.end(); err != nil {
		return Value{}, err
	}
	t.index()
	return Value{tree: t}, nil
}

// Release lets go of the text.
func (t *Tree) Release() {
	t.text = nil
	t.source = bytes.Buffer{}
	t.decoder.Reset(&t.source)
	if cap(t.nodes) > maxKept {
		t.nodes = nil
	}
}

// OfText returns a JSON text value of its own that holds s, which is valid UTF-8.
func OfText(s string, base int) Value {
	// AppendQuote fails only for invalid UTF-8.
	quoted, _ := jsontext.AppendQuote(nil, s)
	t := &Tree{text: quoted, base: base, inner: true, nodes: []node{{end: int32(len(quoted))}}} //nolint:gosec // records are far smaller
	return Value{tree: t}
}

// Null returns a null of its own.
func Null(base int) Value {
	const null = "null"
	return Value{tree: &Tree{text: []byte(null), base: base, inner: true, nodes: []node{{end: int32(len(null))}}}}
}

// index notes every value of the text, which is known to be valid.
func (t *Tree) index() {
	b := builder{tree: t, open: -1, last: -1}
	for i := 0; i < len(t.text); {
		i = b.step(i)
	}
}

// A builder walks the text. While a list or object is open, its next holds the one
// around it.
type builder struct {
	tree               *Tree
	open, last         int32 // the open list or object; the value before, in it
	nameStart, nameEnd int32
	inObject           bool
}

// step takes what stands at i and returns where to go on.
func (b *builder) step(i int) int {
	switch c := b.tree.text[i]; c {
	case ' ', '\t', '\r', '\n', ',', ':':
		return i + 1
	case '{', '[':
		n := b.add(i, i)
		b.tree.nodes[n].next = b.open
		b.open, b.last, b.inObject = n, -1, c == '{'
		return i + 1
	case '}', ']':
		b.shut(i + 1)
		return i + 1
	case '"':
		end := textEnd(b.tree.text, i)
		if b.inObject && b.nameEnd == 0 {
			b.nameStart, b.nameEnd = int32(i+1), int32(end-1) //nolint:gosec // records are far smaller
			return end
		}
		b.last = b.add(i, end)
		return end
	}
	end := i
	for end < len(b.tree.text) && !ends(b.tree.text[end]) {
		end++
	}
	b.last = b.add(i, end)
	return end
}

// add notes a value, behind the one before it.
func (b *builder) add(start, end int) int32 {
	n, escaped := int32(len(b.tree.nodes)), false //nolint:gosec // records are far smaller
	if b.nameEnd > 0 {
		escaped = bytes.IndexByte(b.tree.text[b.nameStart:b.nameEnd], '\\') >= 0
	}
	if b.last >= 0 {
		b.tree.nodes[b.last].next = n
	}
	b.tree.nodes = append(b.tree.nodes, node{
		start: int32(start), end: int32(end), //nolint:gosec // records are far smaller
		nameStart: b.nameStart, nameEnd: b.nameEnd, escaped: escaped,
	})
	b.nameStart, b.nameEnd = 0, 0
	return n
}

// shut closes the open list or object.
func (b *builder) shut(end int) {
	n := &b.tree.nodes[b.open]
	b.last = b.open
	b.open = n.next
	n.end, n.next = int32(end), 0 //nolint:gosec // records are far smaller
	b.inObject = b.open >= 0 && b.tree.text[b.tree.nodes[b.open].start] == '{'
}

// textEnd returns where the JSON text that begins at i ends.
func textEnd(text []byte, i int) int {
	for i++; text[i] != '"'; i++ {
		if text[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// ends reports whether a number or a literal ends before c.
func ends(c byte) bool {
	switch c {
	case ' ', '\t', '\r', '\n', ',', ']', '}':
		return true
	}
	return false
}
