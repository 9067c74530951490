package mapper_test

import (
	"slices"
	"testing"

	"go.yaml.in/yaml/v3"

	"membersync/mapper"
)

// A grant is what a mapping itself says of values: results of lookups and tables, constants, the
// words for M and F, and what stands between the entries of lists and of texts put together, zones
// and country codes. It is read from the text of the file, by none of the mapper's code.
type grant struct {
	values       []string
	male, female []string
	separators   string
	joints       string
	zones        []string
	countries    []string // codes before phone numbers
}

func (f *corpusFile) given(tb testing.TB) *grant {
	tb.Helper()
	g := &grant{separators: ",;", joints: " -/", zones: []string{"Asia/Shanghai", "UTC"}, countries: []string{"86"}}
	for _, table := range f.Lookups {
		for _, value := range table {
			g.values = append(g.values, value)
		}
	}
	text := []byte(f.Mapping)
	if f.File != "" {
		text = readFile(tb, f.File)
	}
	if f.Builtin != "" {
		text = mapper.BuiltinFile(f.Builtin)
	}
	var file yaml.Node
	if err := yaml.Unmarshal(text, &file); err != nil {
		tb.Fatal(err)
	}
	g.read(&file)
	slices.Sort(g.values)
	return g
}

func (g *grant) read(n *yaml.Node) {
	for _, child := range n.Content {
		g.read(child)
	}
	if n.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		value := n.Content[i+1]
		switch n.Content[i].Value {
		case "const":
			g.values = append(g.values, value.Value)
		case "table":
			for j := 1; j < len(value.Content); j += 2 {
				g.values = append(g.values, value.Content[j].Value)
			}
		case "male":
			g.male = append(g.male, scalars(value)...)
		case "female":
			g.female = append(g.female, scalars(value)...)
		case "country":
			g.countries = append(g.countries, value.Value)
		case "zone":
			g.zones = append(g.zones, value.Value)
		case "separator":
			g.joints += value.Value
		case "split":
			g.separators += value.Value
		}
	}
}

// scalars are those of a list, or the one that stands alone.
func scalars(n *yaml.Node) (all []string) {
	if n.Kind == yaml.ScalarNode {
		return []string{n.Value}
	}
	for _, child := range n.Content {
		all = append(all, child.Value)
	}
	return all
}
