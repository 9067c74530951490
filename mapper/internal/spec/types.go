// Package spec reads a mapping file: strictly, with the line and column of every fault.
// Its types are the format: the decoder, the JSON Schema and the tests of the
// documentation all go by their tags.
//
//	yaml   the key
//	doc    what it means, a sentence for the schema
//	enum   the values that it takes
//	need   the key is required
//	short  on the field of type Short: the key that a plain value stands for
package spec

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// A Pos is a place in the file, from 1; the zero Pos is that of a key that is not given.
type Pos struct{ Line, Column int }

// Given reports whether the key stands in the file.
func (p Pos) Given() bool { return p.Line > 0 }

// A Text is a scalar, kept as it is spelled.
type Text struct {
	Pos
	Value string
}

// A Path is a text that is the path of a value in the event, or a jq program in its place.
type Path struct {
	Pos
	Value string
	JQ    *Program
}

// A Program is the text of a jq program.
type Program struct {
	Pos
	Value  string
	block  bool // it stands in a block: its lines are those of the file
	column int  // where its lines begin
}

// At returns where a byte of the program stands; offset is negative if that is not known.
func (p *Program) At(offset int) Pos {
	if offset < 0 {
		return p.Pos
	}
	before := p.Value[:min(offset, len(p.Value))]
	line := strings.Count(before, "\n")
	if !p.block {
		if line > 0 {
			return p.Pos
		}
		return Pos{p.Line, p.column + len(before)}
	}
	return Pos{p.Line + 1 + line, p.column + len(before) - (strings.LastIndexByte(before, '\n') + 1)}
}

// A Scalar is a value to compare with or to send.
type Scalar struct {
	Pos
	Value string
	Null  bool // the YAML null
	Text  bool // a text, as against a number, true or false
}

// A Number is a whole number that is not negative.
type Number struct {
	Pos
	Value int
}

// A Flag is true or false.
type Flag struct {
	Pos
	Value bool
}

// Clear says how a clear is sent: "", [] or "refused".
type Clear struct {
	Pos
	Value string
}

// The ways to send a clear.
const (
	ClearText    = `""`
	ClearList    = "[]"
	ClearRefused = "refused"
)

// A Raw is any YAML value.
type Raw struct {
	Pos
	Node *yaml.Node
}

// An Entry is one member of a map with free names.
type Entry[T any] struct {
	Name  Text
	Value T
}

// A Map is a map with free names, in the order of the file.
type Map[T any] []Entry[T]

// Get finds a member.
func (m Map[T]) Get(name string) (found T, ok bool) {
	for _, e := range m {
		if e.Name.Value == name {
			return e.Value, true
		}
	}
	return found, false
}

// Names lists the names.
func (m Map[T]) Names() []string {
	names := make([]string, len(m))
	for i, e := range m {
		names[i] = e.Name.Value
	}
	return names
}

// Short marks a section that can be written as a plain value.
type Short struct{}
