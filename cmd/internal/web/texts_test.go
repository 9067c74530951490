package web

import (
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"

	"membersync/dlq"
)

// Each key that a template or the code names has a text, and each text is used.
func TestTexts(t *testing.T) {
	t.Parallel()
	used := map[string]bool{}
	for _, r := range dlq.Reasons() {
		used["reason."+string(r)] = true
	}
	for _, kind := range []string{kindRedrive, kindDiscard} {
		for _, prefix := range []string{"plan.title.", "plan.heading.", "plan.button.", "job.title."} {
			used[prefix+kind] = true
		}
	}
	for _, state := range []string{"waiting", "running", "done", "failed", "canceled", "interrupted", "incomplete", "unknown"} {
		used["job.state."+state] = true
	}
	named := regexp.MustCompile(`(?:\bt |\btile |\btext\()"([a-z0-9.]+[a-z0-9])"`)
	source := func(name, text string) {
		for _, m := range named.FindAllStringSubmatch(text, -1) {
			if used[m[1]] = true; table()[m[1]] == "" {
				t.Errorf("%s: %s has no text", name, m[1])
			}
		}
	}
	folder := os.DirFS(".")
	for _, pattern := range []string{"*.go", "templates/*.html"} {
		names, err := fs.Glob(folder, pattern)
		if err != nil || len(names) == 0 {
			t.Fatal(pattern, err)
		}
		for _, name := range names {
			text, err := fs.ReadFile(folder, name)
			if err != nil {
				t.Fatal(err)
			}
			if name != "texts.go" && !strings.HasSuffix(name, "_test.go") {
				source(name, string(text))
			}
		}
	}
	for key := range used {
		if table()[key] == "" {
			t.Errorf("%s has no text", key)
		}
	}
	for key := range table() {
		if !used[key] {
			t.Errorf("%s is not used", key)
		}
	}
}
