package path_test

import (
	"strings"
	"testing"

	"membersync/mapper/internal/jsontree"
	"membersync/mapper/internal/path"
)

const document = `{"a":{"b":[10,{"c":11}]},"d.e":12,"f g":{"名:1":13},"$x":14,"h[0]":15,"i\\j":16,
	"list":[{"kind":"home","v":17},{"kind":"work","v":18},{"kind":7,"v":19},{"kind":"a]b","v":20},{"no":1,"v":21},{"kind":"","v":22}],"k=l":23,
	"custom":[{"name":{"code":"no"},"v":24},{"name.code":"yes","v":25},{"name":{"code":"yes"},"v":26}],"alone":{"kind":"work","name":{"code":"yes"},"v":27}}`

func TestWalk(t *testing.T) {
	t.Parallel()
	doc, err := new(jsontree.Tree).Read([]byte(document), 0)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ path, want string }{
		{"a.b[0]", "10"},
		{"a.b[1].c", "11"},
		{"a.b[#].c", "11"},
		{`d\.e`, "12"},
		{"f g.名:1", "13"},
		{`\$x`, "14"},
		{`h\[0\]`, "15"},
		{`i\\j`, "16"},
		{"list[kind=home].v", "17"},
		{"list[kind=work].v", "18"},
		{"list[kind=7].v", "19"},
		{`list[kind=a\]b].v`, "20"},
		{"list[kind=].v", "22"},
		{"k=l", "23"},
		{"custom[name.code=yes].v", "26"},
		{`custom[name\.code=yes].v`, "25"},
		{"custom[name.code.x=yes].v", ""},
		{"custom[name.none=yes].v", ""},
		{"alone[kind=work].v", "27"},
		{"alone[name.code=yes].v", "27"},
		{"alone[kind=home].v", ""},
		{"alone[0].v", ""},
		{"list[kind=none].v", ""},
		{"a.b[2]", ""},
		{"a.b.c", ""},
		{"a[0]", ""},
		{"A", ""},
		{"a.b[1].c.d", ""},
	}
	for _, tt := range tests {
		p, problem := path.Parse(tt.path)
		if problem != "" || p.Text != tt.path || p.Root != path.Here {
			t.Errorf("%s: %s %+v", tt.path, problem, p)
			continue
		}
		if got := string(path.Walk(doc, p.Steps, 1).Raw()); got != tt.want {
			t.Errorf("%s is %s, want %s", tt.path, got, tt.want)
		}
	}
}

func TestRoots(t *testing.T) {
	t.Parallel()
	tests := []struct {
		path  string
		root  path.Root
		place string
		names string
	}{
		{"$event", path.Event, "$event", ""},
		{"$event.a.b", path.Event, "a.b", "a b"},
		{"$event[0].b", path.Event, "$event[0].b", "b"},
		{"$item.a", path.Item, "a", "a"},
		{"$after.a", path.After, "$after.a", "a"},
		{"$before.a", path.Before, "$before.a", "a"},
		{"$key", path.Key, "$key", ""},
		{"$header.x-y", path.Header, "$header.x-y", "x-y"},
		{"$ce.id", path.Attribute, "$ce.id", "id"},
		{"a[k=v].b", path.Here, "a[k=v].b", "a k b"},
		{"a[k.l.m=v].b", path.Here, "a[k.l.m=v].b", "a k l m b"},
	}
	for _, tt := range tests {
		p, problem := path.Parse(tt.path)
		var names []string
		for name := range p.Names {
			names = append(names, name)
		}
		if problem != "" || p.Root != tt.root || p.Place() != tt.place || strings.Join(names, " ") != tt.names {
			t.Errorf("%s: %s %+v, place %s, names %v", tt.path, problem, p, p.Place(), names)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct{ path, want string }{
		{"", "is empty"},
		{".a", "has an empty name"},
		{"a.", "has an empty name"},
		{"a..b", "has an empty name"},
		{"a[", "lacks a ]"},
		{"a[0", "lacks a ]"},
		{"a[0]b", "lacks a ]"},
		{"a[b=c", "lacks a ]"},
		{"a[b]", "neither an index"},
		{"a[-1]", "neither an index"},
		{"a[99999999]", "neither an index"},
		{"a[]", "neither an index"},
		{"a[=b]", "without a name"},
		{"a[b.=c]", "without a name"},
		{"a[1.5]", "neither an index"},
		{"a[#.b]", "neither an index"},
		{`a\`, `ends with a \`},
		{"$", "begins with a $"},
		{"$evnt.a", "none of $event, $item"},
		{"$header", "should be $header.NAME"},
		{"$header.a.b", "should be $header.NAME"},
		{"$ce[0]", "should be $ce.NAME"},
	}
	for _, tt := range tests {
		if _, problem := path.Parse(tt.path); !strings.Contains(problem, tt.want) {
			t.Errorf("%q %q, want %q", tt.path, problem, tt.want)
		}
	}
}

// FuzzParse walks along whatever is a path.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"a.b[0]", `$event.a\.b[k=v][#]`, "$header.x", `\$`, "[0]"} {
		f.Add(text)
	}
	doc, err := new(jsontree.Tree).Read([]byte(document), 0)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, problem := path.Parse(text)
		if problem == "" && p.Root == path.Here && len(p.Steps) == 0 {
			t.Fatal("a path of nothing")
		}
		path.Walk(doc, p.Steps, 0)
	})
}
