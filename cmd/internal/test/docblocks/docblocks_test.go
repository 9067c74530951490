package docblocks_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"membersync/cmd/internal/test/docblocks"
)

func read(t *testing.T, text string) ([]docblocks.Block, string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "PAGE.md")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	blocks, err := docblocks.Read(path)
	return blocks, path, err
}

func TestRead(t *testing.T) {
	t.Parallel()
	got, path, err := read(t, "# Page\n\n```sh\neval \"$(a env)\"\na b --note \"x # y\" # why\necho '{\n  }' > f && c | d\n```\n"+
		"```json\n{}\n```\n1. One\n\n   ```sh\n   export A=b\n   ```\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []docblocks.Block{
		{Line: 4, Commands: []docblocks.Command{
			{Place: path + ":4", Words: []string{"eval", `"$(a env)"`}},
			{Place: path + ":4", Words: []string{"a", "env"}},
			{Place: path + ":5", Words: []string{"a", "b", "--note", "x # y"}},
			{Place: path + ":6", Words: []string{"echo", "{\n  }"}, Output: "f"},
			{Place: path + ":7", Words: []string{"c"}},
			{Place: path + ":7", Words: []string{"d"}},
		}},
		{Line: 15, Commands: []docblocks.Command{{Place: path + ":15", Words: []string{"export", "A=b"}}}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"    membersync check\n":         "PAGE.md:1: use a fence with a language",
		"```\nmembersync check\n```\n":   `PAGE.md:1: unknown language ""`,
		"```bash\nx\n```\n":              `PAGE.md:1: unknown language "bash"`,
		"```sh\nmembersync check\n":      "PAGE.md:1: the fence is not closed",
		"```sh\necho 'not closed\n```\n": "in the block at line 2",
	} {
		if _, _, err := read(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
}
