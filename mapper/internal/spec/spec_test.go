package spec_test

import (
	"errors"
	"strings"
	"testing"

	"membersync/mapper/internal/spec"
)

func TestHint(t *testing.T) {
	t.Parallel()
	known := []string{"from", "formats", "null", "position", "attachingDepartmentIds"}
	tests := []struct{ name, want string }{
		{"form", "; is from meant?"},
		{"nul", "; is null meant?"},
		{"NULL", "; is null meant?"},
		{"posision", "; is position meant?"},
		{"attachingDepartments", "; is attachingDepartmentIds meant?"},
		{"format", "; is formats meant?"},
		{"zone", ""},
		{"x", ""},
		{"", ""},
	}
	for _, tt := range tests {
		if got := spec.Hint(tt.name, known); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	log := &spec.Log{File: "f"}
	file := spec.Read([]byte(`
version: 1
identity: {event_id: {record: true}, employee_id: a, open_user_id: [b, c]}
order: {kind: sequence, from: s, epoch: 3}
states: {changed: fields}
fields:
  qq: {from: x, "null": ignore, clear: "", also_empty: [0, null, "-"]}
  weixin: {from: [y, z], clear: refused, null: clear}
`), []string{"qq", "weixin"}, log)
	if err := log.Err(); err != nil {
		t.Fatal(err)
	}
	qq, _ := file.Fields.Get("qq")
	weixin, _ := file.Fields.Get("weixin")
	switch {
	case !file.Identity.EventID.Record.Value, file.Identity.EmployeeID.From[0].Value != "a", len(file.Identity.OpenUserID.From) != 2:
		t.Errorf("%+v", file.Identity)
	case file.Order.Epoch.Value != 3, file.States.Changed.From.Value != "fields":
		t.Errorf("%+v", file.Order)
	case qq.Null.Value != "ignore", qq.Clear.Value != spec.ClearText, len(qq.AlsoEmpty) != 3, !qq.AlsoEmpty[1].Null, qq.AlsoEmpty[0].Text, !qq.AlsoEmpty[2].Text:
		t.Errorf("%+v", qq)
	case weixin.Null.Value != "clear", weixin.Clear.Value != spec.ClearRefused, weixin.From[1] != spec.Path{Pos: spec.Pos{Line: 8, Column: 22}, Value: "z"}:
		t.Errorf("%+v", weixin)
	}
	if strings.Join(file.Fields.Names(), " ") != "qq weixin" {
		t.Error(file.Fields.Names())
	}
}

// TestPlaceOfTab: the fault of a tab is at the tab.
func TestPlaceOfTab(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"fields:\n  qq: a\n\tweixin: b\n":                    "f:3:1: ",
		"version: 1\nfields:\n  qq: a\n\n  \tweixin: b\n":    "f:5:3: ",
		"version: 1\nfields:\n  qq: |\n    a\n\tb\n":         "f:5:1: ",
		"version: 1\nfields:\n\tqq: a\n":                     "f:3:1: ",
		"version: 1\n\tfields: {}\n":                         "f:2:1: ",
		"version: 1\nfields:\n  weixin: \"a\tb\"\n\tqq: a\n": "f:4:1: ",
	} {
		log := &spec.Log{File: "f"}
		spec.Read([]byte(text), []string{"qq", "weixin"}, log)
		if err := log.Err(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// TestFaultsInOrder: faults come in the order of the file, whatever order they were found in.
func TestFaultsInOrder(t *testing.T) {
	t.Parallel()
	log := &spec.Log{File: "f"}
	for _, at := range []spec.Pos{{Line: 3, Column: 1}, {Line: 1, Column: 9}, {Line: 1, Column: 2}, {}} {
		log.Add(at, "x")
	}
	err := log.Err()
	if want := "f:1:1: x\nf:1:2: x\nf:1:9: x\nf:3:1: x"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if _, ok := errors.AsType[spec.FileError](err); !ok {
		t.Error("a fault cannot be taken from the error")
	}
}

// TestKeysAreDocumented: each key has a sentence for the schema.
func TestKeysAreDocumented(t *testing.T) {
	t.Parallel()
	schema, err := spec.Schema([]string{"qq"})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(schema), `"description": ""`) || strings.Count(string(schema), `"description"`) < len(spec.Keys()) {
		t.Error("a key has no description")
	}
}
