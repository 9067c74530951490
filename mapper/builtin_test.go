package mapper_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"membersync/mapper"
)

// TestExamplesOfBuiltins runs the examples that the built-in mappings carry.
func TestExamplesOfBuiltins(t *testing.T) {
	t.Parallel()
	for _, name := range mapper.Builtins() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runExamples(t, name, mapper.BuiltinFile(name))
		})
	}
}

// runExamples demands that the file is right, has examples, and that they go as they should.
func runExamples(t *testing.T, name string, file []byte) {
	t.Helper()
	m, err := mapper.Parse(name, file, mapper.Options{})
	if err != nil {
		t.Fatal(err)
	}
	results := m.RunExamples()
	if len(results) == 0 {
		t.Error("there are no examples")
	}
	for _, r := range results {
		for _, d := range r.Diffs {
			t.Errorf("%s:%d: %s, employee %d: %s is\n%s, want\n%s", name, r.Line, r.Name, d.Index, d.What, d.Got, d.Want)
		}
	}
}

// TestExamplesOfFilesToCopy runs the examples of the mapping files that are there to be copied.
func TestExamplesOfFilesToCopy(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("mappings/*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			runExamples(t, file, readFile(t, file))
		})
	}
}

func readFile(tb testing.TB, path string) []byte {
	tb.Helper()
	text, err := os.ReadFile(path) //nolint:gosec // a file of the repository
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

// TestExamplesOfManual runs the mapping files that MAPPING.md shows.
func TestExamplesOfManual(t *testing.T) {
	t.Parallel()
	files := regexp.MustCompile("(?s)```yaml\n(.*?)```\n").FindAllSubmatch(readFile(t, "MAPPING.md"), -1)
	if len(files) == 0 {
		t.Fatal("MAPPING.md shows no file")
	}
	for _, file := range files {
		runExamples(t, "MAPPING.md", file[1])
	}
}
