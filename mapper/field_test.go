package mapper_test

import (
	"path/filepath"
	"strings"
	"testing"
)

// fieldCases reads testdata/field: what was met in public bug reports of other systems, each with a
// mapping that was written from the manual alone, and its neighbors.
func fieldCases(tb testing.TB) map[string]*corpusFile {
	tb.Helper()
	paths, err := filepath.Glob("testdata/field/*.yaml")
	if err != nil || len(paths) < 14 {
		tb.Fatal(paths, err)
	}
	files := make(map[string]*corpusFile, len(paths))
	for _, path := range paths {
		file := new(corpusFile)
		readYAML(tb, path, file)
		file.mapped = file.parse(tb, corpusOptions(&corpusCase{}))
		files[strings.TrimSuffix(filepath.Base(path), ".yaml")] = file
	}
	return files
}

func TestFieldCases(t *testing.T) {
	t.Parallel()
	for name, file := range fieldCases(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for i := range file.Cases {
				c := &file.Cases[i]
				t.Run(c.Name, func(t *testing.T) {
					t.Parallel()
					c.check(t, file)
				})
			}
		})
	}
}
