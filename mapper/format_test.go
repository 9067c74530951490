package mapper_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"membersync/crmapi"
	"membersync/mapper"
	"membersync/mapper/internal/spec"
)

func TestAnnotatedExample(t *testing.T) {
	t.Parallel()
	text := readFile(t, "annotated.yaml")
	runExamples(t, "annotated.yaml", text)
	for key, sections := range spec.Keys() {
		if !regexp.MustCompile(`(?m)(^|[\s{#])` + key + `:`).Match(text) {
			t.Errorf("the key %s of %v is not in the example", key, sections)
		}
	}
}

// TestManualNamesEveryKey holds MAPPING.md to the format.
func TestManualNamesEveryKey(t *testing.T) {
	t.Parallel()
	text := string(readFile(t, "MAPPING.md"))
	for key, sections := range spec.Keys() {
		if !strings.Contains(text, "`"+key+"`") {
			t.Errorf("MAPPING.md does not name the key %s of %v", key, sections)
		}
	}
	for f := range crmapi.Field(crmapi.NumFields) {
		if !regexp.MustCompile("(?m)^\\| .*`" + f.String() + "`.* \\| (yes|no) \\|$").Match([]byte(text)) {
			t.Errorf("MAPPING.md has no row that tells how %s is read and whether it can be cleared", f)
		}
	}
	for _, name := range mapper.Builtins() {
		if !strings.Contains(text, "`"+name+"`") {
			t.Errorf("MAPPING.md does not name the built-in mapping %s", name)
		}
	}
}

// TestSchemaFile holds the schema that editors use to the decoder. MEMBERSYNC_TEST_UPDATE=1 writes
// it again.
func TestSchemaFile(t *testing.T) {
	t.Parallel()
	want, err := mapper.Schema()
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("MEMBERSYNC_TEST_UPDATE") != "" {
		if err := os.WriteFile("mapping.schema.json", want, 0o644); err != nil { //nolint:gosec // a file of the repository
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(want), string(readFile(t, "mapping.schema.json"))); diff != "" {
		t.Errorf("mapping.schema.json is not that of the decoder (-decoder +file):\n%s", diff)
	}
}

// TestSchemaNamesTheKeys reads the schema as an editor does: its properties are the keys of the
// format and no others.
func TestSchemaNamesTheKeys(t *testing.T) {
	t.Parallel()
	var schema any
	if err := json.NewDecoder(bytes.NewReader(readFile(t, "mapping.schema.json"))).Decode(&schema); err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	properties(schema, got)
	for f := range crmapi.Field(crmapi.NumFields) {
		if _, ok := spec.Keys()[f.String()]; !ok {
			delete(got, f.String()) // they are free names of one map
		}
	}
	want := slices.Sorted(maps.Keys(spec.Keys()))
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(got))); diff != "" {
		t.Errorf("keys (-decoder +schema):\n%s", diff)
	}
}

func properties(v any, to map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		members, ok := v["properties"].(map[string]any)
		for name := range members {
			to[name] = ok
		}
		for _, member := range v {
			properties(member, to)
		}
	case []any:
		for _, entry := range v {
			properties(entry, to)
		}
	}
}
