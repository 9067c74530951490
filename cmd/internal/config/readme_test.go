package config_test

import (
	"os"
	"strings"
	"testing"

	"membersync/cmd/internal/config"
)

// The tables of cmd/README.md are the settings' own, so they cannot fall behind.
func TestReadmeHoldsTheSettings(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok1 := strings.Cut(string(readme), "<!-- settings -->\n")
	table, _, ok2 := strings.Cut(rest, "\n<!-- /settings -->")
	if !ok1 || !ok2 {
		t.Fatal("cmd/README.md has no settings section")
	}
	if want := strings.TrimSpace(config.Markdown()); strings.TrimSpace(table) != want {
		t.Errorf("the table differs from config.Markdown(); want:\n%s", want)
	}
}
