package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestWrite(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "man1")
	if err := write([]string{dir}, "1795939200"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"membersync", "membersync-dlq", "membersync-dlq-list", "membersync-run"} {
		text, err := os.ReadFile(filepath.Join(dir, name+".1")) //nolint:gosec // written above
		if err != nil {
			t.Error(err)
		}
		if !strings.Contains(string(text), "2026") {
			t.Errorf("%s: no date: %.200s", name, text)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "membersync-dlq-list.1")) //nolint:gosec // written above
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"list dead letters", "--group-by", "crm_not_found", "<topic>", "membersync dlq list --reason"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("dlq list lacks %q", want)
		}
	}
	text, err = os.ReadFile(filepath.Join(dir, "membersync-config.1")) //nolint:gosec // written above
	if err != nil || !strings.Contains(string(text), "shown as ***") {
		t.Errorf("config lacks the asterisks: %v, %s", err, text)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		args  []string
		epoch string
	}{{nil, ""}, {[]string{"a", "b"}, ""}, {[]string{t.TempDir()}, "today"}, {[]string{"/dev/null/man"}, ""}} {
		if err := write(tc.args, tc.epoch); err == nil {
			t.Errorf("%v passed", tc)
		}
	}
}
