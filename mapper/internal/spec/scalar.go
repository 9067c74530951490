package spec

import (
	"bytes"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

func (d *decoder) text(n *yaml.Node, to *Text, tag reflect.StructTag) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" || !knownTag(n) {
		d.log.Add(at(n), "should be a text")
		return
	}
	*to = Text{at(n), n.Value}
	allowed := strings.Fields(tag.Get("enum"))
	if len(allowed) > 0 && !slices.Contains(allowed, n.Value) {
		d.log.Add(at(n), strconv.Quote(n.Value)+" should be one of "+strings.Join(allowed, ", ")+Hint(n.Value, allowed))
	}
}

// path decodes a path, or {jq: PROGRAM} in its place.
func (d *decoder) path(n *yaml.Node, to *Path, tag reflect.StructTag) {
	if program := programOf(n); program != nil {
		to.JQ = new(Program)
		d.program(program, to.JQ)
		to.Pos = to.JQ.Pos
		return
	}
	var t Text
	d.text(n, &t, tag)
	to.Pos, to.Value = t.Pos, t.Value
}

func (d *decoder) program(n *yaml.Node, to *Program) {
	var t Text
	d.text(n, &t, "")
	*to = Program{Pos: t.Pos, Value: t.Value, column: n.Column}
	switch {
	case n.Style&yaml.LiteralStyle != 0 && n.Line < len(d.lines):
		line := d.lines[n.Line]
		to.block, to.column = true, len(line)-len(bytes.TrimLeft(line, " "))+1
	case n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0:
		to.column++
	}
}

// programOf returns the program of {jq: PROGRAM}, or nil.
func programOf(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.MappingNode && len(n.Content) == 2 && n.Content[0].Value == "jq" && n.Anchor == "" {
		return n.Content[1]
	}
	return nil
}

// takesPrograms reports whether a program may stand for a value of the type.
func takesPrograms(t reflect.Type) bool {
	return t == reflect.TypeFor[Path]() || t == reflect.TypeFor[[]Path]()
}

// shortTakesPrograms reports whether what a section's plain value stands for is a path.
func shortTakesPrograms(section reflect.Type) bool {
	for _, f := range keysOf(section) {
		if f.Tag.Get("yaml") == shortOf(section) {
			return takesPrograms(f.Type)
		}
	}
	return false
}

// knownTag refuses !!binary, tags of other programs and the merge key.
func knownTag(n *yaml.Node) bool {
	return slices.Contains([]string{"!!str", "!!int", "!!float", "!!bool", "!!timestamp", "!!null"}, n.ShortTag())
}

func (d *decoder) scalar(n *yaml.Node, to *Scalar) {
	if n.Kind != yaml.ScalarNode || !knownTag(n) {
		d.log.Add(at(n), "should be a plain value")
		return
	}
	tag := n.ShortTag()
	*to = Scalar{Pos: at(n), Value: n.Value, Null: tag == "!!null", Text: tag == "!!str"}
}

func (d *decoder) number(n *yaml.Node, to *Number) {
	value, err := strconv.Atoi(n.Value)
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" || err != nil || value < 0 {
		d.log.Add(at(n), "should be a whole number from 0")
		return
	}
	*to = Number{at(n), value}
}

func (d *decoder) flag(n *yaml.Node, to *Flag) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" {
		d.log.Add(at(n), "should be true or false")
		return
	}
	*to = Flag{at(n), strings.EqualFold(n.Value, "true")}
}

func (d *decoder) clear(n *yaml.Node, to *Clear) {
	switch {
	case n.Kind == yaml.SequenceNode && len(n.Content) == 0:
		*to = Clear{at(n), ClearList}
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" && n.Value == "":
		*to = Clear{at(n), ClearText}
	case n.Kind == yaml.ScalarNode && n.Value == ClearRefused:
		*to = Clear{at(n), ClearRefused}
	default:
		d.log.Add(at(n), `should be "", [] or `+ClearRefused)
	}
}
