package spec

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Read decodes a file. What is wrong with it goes into log; then the file holds what
// could be read. Fields are the names that Fields may have.
func Read(data []byte, fields []string, log *Log) *File {
	file := new(File)
	d := decoder{log: log, fields: fields, lines: bytes.Split(data, []byte("\n"))}
	if root := d.document(data); root != nil {
		d.into(root, reflect.ValueOf(file).Elem(), "")
	}
	return file
}

type decoder struct {
	log    *Log
	fields []string
	lines  [][]byte
}

// document parses the YAML text, which must be one document.
func (d *decoder) document(data []byte) *yaml.Node {
	parser := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	err := parser.Decode(&doc)
	switch {
	case errors.Is(err, io.EOF):
		d.log.Add(Pos{1, 1}, "the file is empty")
		return nil
	case err != nil:
		d.syntax(data, err)
		return nil
	}
	if err := parser.Decode(&more); err == nil {
		d.log.Add(at(&more), "a second YAML document begins here; a file holds one")
	} else if !errors.Is(err, io.EOF) {
		d.syntax(data, err)
	}
	return doc.Content[0]
}

// syntax words an error of the YAML parser, which knows the line alone.
func (d *decoder) syntax(data []byte, err error) {
	text, line := strings.TrimPrefix(err.Error(), "yaml: "), 1
	if m := regexp.MustCompile(`^line (\d+): `).FindStringSubmatch(text); m != nil {
		text = strings.TrimPrefix(text, m[0])
		line, _ = strconv.Atoi(m[1]) // digits; too many of them give the largest number
		if regexp.MustCompile(`^did not find expected (node content|key|',' or |'-' indicator)`).MatchString(text) {
			line++ // these errors count the lines from 0, others from 1
		}
	}
	lines := bytes.Split(data, []byte("\n"))
	line = min(max(line, 1), len(lines))
	if strings.Contains(text, "found a tab character") {
		line = tabbed(lines, line)
	}
	content := lines[line-1]
	d.log.Add(Pos{line, len(content) - len(bytes.TrimLeft(content, " ")) + 1}, "is not valid YAML: "+text+hint(text))
}

// tabbed returns the first line from this one on that is indented with a tab. The parser gives the
// line on which the value before it began.
func tabbed(lines [][]byte, from int) (line int) {
	for i, content := range lines[from-1:] {
		if bytes.HasPrefix(bytes.TrimLeft(content, " "), []byte("\t")) {
			return from + i
		}
	}
	return from
}

// hint names the usual cause of a syntax error.
func hint(text string) string {
	switch {
	case strings.Contains(text, "',' or '}'"), strings.Contains(text, "',' or ']'"):
		return "; a path with brackets is quoted in braces: {from: 'a[0]'}"
	case strings.Contains(text, "mapping values are not allowed"):
		return "; a text with a colon and a space is quoted"
	}
	return ""
}

func at(n *yaml.Node) Pos { return Pos{n.Line, n.Column} }

// into decodes a node into a value of one of the types of this package. Tag is the
// struct tag of the field that it is for.
func (d *decoder) into(n *yaml.Node, v reflect.Value, tag reflect.StructTag) {
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		d.log.Add(at(n), "anchors and aliases are not taken")
		return
	}
	switch p := v.Addr().Interface().(type) {
	case *Text:
		d.text(n, p, tag)
	case *Path:
		d.path(n, p, tag)
	case *Program:
		d.program(n, p)
	case *Scalar:
		d.scalar(n, p)
	case *Number:
		d.number(n, p)
	case *Flag:
		d.flag(n, p)
	case *Clear:
		d.clear(n, p)
	case *Raw:
		*p = Raw{at(n), n}
	default:
		d.compound(n, v, tag)
	}
}

func (d *decoder) compound(n *yaml.Node, v reflect.Value, tag reflect.StructTag) {
	switch {
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.into(n, v.Elem(), tag)
	case isMap(v.Type()):
		d.freeNames(n, v, tag)
	case v.Kind() == reflect.Slice:
		d.list(n, v, tag)
	default:
		d.section(n, v)
	}
}

// isMap reports whether t is a Map.
func isMap(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && strings.HasPrefix(t.Name(), "Map[")
}

// isSingle reports whether one entry may stand for a list of it.
func isSingle(entry reflect.Type) bool {
	return entry == reflect.TypeFor[Text]() || entry == reflect.TypeFor[Path]() || entry == reflect.TypeFor[Scalar]()
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, tag reflect.StructTag) {
	entries := n.Content
	switch {
	case n.Kind == yaml.SequenceNode:
	case n.Kind == yaml.ScalarNode && isSingle(v.Type().Elem()), takesPrograms(v.Type().Elem()) && programOf(n) != nil:
		entries = []*yaml.Node{n}
	case isSingle(v.Type().Elem()):
		d.log.Add(at(n), "should be a value, or a list of them")
		return
	default:
		d.log.Add(at(n), "should be a list")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(entries), len(entries)))
	for i, entry := range entries {
		d.into(entry, v.Index(i), tag)
	}
}

// freeNames decodes a map whose names are data.
func (d *decoder) freeNames(n *yaml.Node, v reflect.Value, tag reflect.StructTag) {
	for name, value := range d.members(n) {
		if tag.Get("fields") != "" && !slices.Contains(d.fields, name.Value) {
			d.log.Add(name.Pos, strconv.Quote(name.Value)+" is no member field"+Hint(name.Value, d.fields))
			d.into(value, reflect.New(v.Type().Elem()).Elem().Field(1), "") // for the faults in it
			continue
		}
		entry := reflect.New(v.Type().Elem()).Elem()
		entry.Field(0).Set(reflect.ValueOf(name))
		d.into(value, entry.Field(1), "")
		v.Set(reflect.Append(v, entry))
	}
}

// section decodes a map whose names are keys of the format.
func (d *decoder) section(n *yaml.Node, v reflect.Value) {
	fields := keysOf(v.Type())
	if where := v.FieldByName("At"); where.IsValid() {
		where.Set(reflect.ValueOf(at(n)))
	}
	if key := shortOf(v.Type()); key != "" && (n.Kind != yaml.MappingNode || programOf(n) != nil && shortTakesPrograms(v.Type())) {
		f := fields[slices.IndexFunc(fields, func(f reflect.StructField) bool { return f.Tag.Get("yaml") == key })]
		d.into(n, v.FieldByIndex(f.Index), f.Tag)
		return
	}
	given := map[string]bool{}
	for name, value := range d.members(n) {
		i := slices.IndexFunc(fields, func(f reflect.StructField) bool { return f.Tag.Get("yaml") == name.Value })
		if i < 0 {
			d.log.Add(name.Pos, strconv.Quote(name.Value)+" is no key here"+Hint(name.Value, names(fields)))
			continue
		}
		given[name.Value] = true
		d.into(value, v.FieldByIndex(fields[i].Index), fields[i].Tag)
	}
	for _, f := range fields {
		if key := f.Tag.Get("yaml"); f.Tag.Get("need") != "" && !given[key] && n.Kind == yaml.MappingNode {
			d.log.Add(at(n), strconv.Quote(key)+" is missing")
		}
	}
}

// members yields the members of a YAML map, each name once.
func (d *decoder) members(n *yaml.Node) func(yield func(Text, *yaml.Node) bool) {
	return func(yield func(Text, *yaml.Node) bool) {
		if n.Kind != yaml.MappingNode {
			d.log.Add(at(n), "should be a map")
			return
		}
		seen := map[string]bool{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			var name Text
			before := d.log.Len()
			d.name(n.Content[i], &name)
			if seen[name.Value] && d.log.Len() == before {
				d.log.Add(name.Pos, strconv.Quote(name.Value)+" occurs twice")
			}
			seen[name.Value] = true
			if d.log.Len() == before && !yield(name, n.Content[i+1]) {
				return
			}
		}
	}
}

// name reads the name of a member. A plain null is one: it is a key of this format.
func (d *decoder) name(n *yaml.Node, to *Text) {
	if n.Kind == yaml.ScalarNode && n.Value == "null" && n.Anchor == "" {
		*to = Text{at(n), n.Value}
		return
	}
	d.text(n, to, "")
}

// keysOf lists the fields of a section that are keys, those of Dates among them.
func keysOf(t reflect.Type) (fields []reflect.StructField) {
	for _, f := range reflect.VisibleFields(t) {
		if key := f.Tag.Get("yaml"); key != "" && key != "-" {
			fields = append(fields, f)
		}
	}
	return fields
}

func names(fields []reflect.StructField) []string {
	list := make([]string, len(fields))
	for i, f := range fields {
		list[i] = f.Tag.Get("yaml")
	}
	return list
}

// shortOf returns the key that a plain value stands for, if the section has one.
func shortOf(t reflect.Type) string {
	if f, ok := t.FieldByName("Short"); ok && f.Anonymous {
		return f.Tag.Get("short")
	}
	return ""
}
