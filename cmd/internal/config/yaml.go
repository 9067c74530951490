package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"membersync/cmd/internal/flags"
)

// A yamlFile is the walk through one file.
type yamlFile struct {
	*loader
	path  string
	names map[string]string
}

// readYAML gathers the keys of the file.
func (l *loader) readYAML(file given) {
	data, err := l.readFile(file.text)
	if err != nil {
		l.fault(file.name, "cannot read the file that it names: "+reason(err))
		return
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document, second yaml.Node
	if err := decoder.Decode(&document); err != nil {
		if !errors.Is(err, io.EOF) { // an empty file says nothing
			l.fault(file.name, file.text+" is not YAML"+yamlFault(err))
		}
		return
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		l.fault(file.name, file.text+" should hold one document")
	}
	walk := yamlFile{loader: l, path: file.text, names: l.names(func(s setting) string { return s.name }, "_file")}
	delete(walk.names, "config") // a file does not name itself
	walk.section("", document.Content[0])
}

// yamlFault says where a file is not YAML, and why, if the library's text quotes nothing of the
// file.
func yamlFault(err error) string {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line, rest, found := strings.Cut(text, ": ")
	if !found || !strings.HasPrefix(line, "line ") {
		line, rest = "", text
	}
	if strings.ContainsAny(strings.ReplaceAll(rest, "':'", ""), "'`\"") {
		rest = ""
	}
	var said strings.Builder
	for _, part := range []string{line, rest} {
		if part != "" {
			said.WriteString(": " + part)
		}
	}
	return said.String()
}

// section gathers the keys of the root, or of a section below it.
func (y *yamlFile) section(prefix string, node *yaml.Node) {
	if isNull(node) {
		return
	}
	if node.Kind != yaml.MappingNode {
		y.fault(y.name(strings.TrimSuffix(prefix, "."), node), "should be a mapping of settings")
		return
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], dereference(node.Content[i+1])
		y.key(prefix+key.Value, key, value)
	}
}

func (y *yamlFile) key(key string, at, value *yaml.Node) {
	name, known := y.names[key]
	_, twice := y.given[fromYAML][name]
	switch {
	case !strings.Contains(key, ".") && y.isSection(key):
		y.section(key+".", value)
	case !known && strings.ContainsAny(key, "@:/ "):
		y.fault(y.name("", at), "a key is no setting; it is not shown, since it may hold a password")
	case !known:
		y.fault(y.name(key, at), "unknown setting"+flags.DidYouMean(key, y.keys()))
	case twice:
		y.fault(y.name(key, at), "is given twice")
	default:
		y.value(key, at, value)
	}
}

// value takes a scalar as it is written, and a list as its items with commas.
func (y *yamlFile) value(key string, at, value *yaml.Node) {
	items := []*yaml.Node{value}
	if value.Kind == yaml.SequenceNode {
		items = value.Content
	}
	texts := make([]string, 0, len(items))
	for _, item := range items {
		item = dereference(item)
		if item.Kind != yaml.ScalarNode {
			y.fault(y.name(key, at), "should be one value or a list of values")
			return
		}
		text := item.Value
		if isNull(item) {
			text = ""
		}
		texts = append(texts, text)
	}
	y.given[fromYAML][key] = given{name: y.name(key, at), text: joinList(texts), from: fromYAML, place: y.place(at)}
}

// keys returns every key that may stand in the file, sections too.
func (y *yamlFile) keys() iter.Seq[string] {
	known := maps.Clone(y.names)
	for key := range y.names {
		if section, _, found := strings.Cut(key, "."); found {
			known[section] = key
		}
	}
	return maps.Keys(known)
}

func (y *yamlFile) isSection(key string) bool {
	return slices.ContainsFunc(y.all, func(s setting) bool { return strings.HasPrefix(s.name, key+".") })
}

func (y *yamlFile) name(key string, at *yaml.Node) string {
	return strings.TrimSpace(fmt.Sprintf("%s (%s)", key, y.place(at)))
}

func (y *yamlFile) place(at *yaml.Node) string { return fmt.Sprintf("%s line %d", y.path, at.Line) }

func isNull(node *yaml.Node) bool { return node.Kind == yaml.ScalarNode && node.Tag == "!!null" }

func dereference(node *yaml.Node) *yaml.Node {
	if node.Kind == yaml.AliasNode {
		return node.Alias
	}
	return node
}
