package cli

import (
	"context"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"membersync/cmd/internal/flags"
	"membersync/dlq"
)

// commandsIn returns the membersync commands that a document shows, one a line or between backquotes.
func commandsIn(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path) //nolint:gosec // of the repository
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, found := range regexp.MustCompile("(?m)^    (membersync [^\n]*)|`(membersync [^`]*)`").FindAllStringSubmatch(string(text), -1) {
		all = append(all, found[1]+found[2])
	}
	return all
}

// words splits a command as a shell does, without what follows # or redirects.
func words(line string) []string {
	var all []string
	for _, one := range regexp.MustCompile(`"[^"]*"|\S+`).FindAllString(line, -1) {
		if strings.ContainsRune("#>|&", rune(one[0])) {
			break
		}
		all = append(all, strings.Trim(one, `"`))
	}
	return all
}

// What runbook and README say can be typed: the commands exist, and so do their flags and values.
func TestDocumentedCommands(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"../../../dlq/RUNBOOK.md", "../../../README.md", "../../README.md"} {
		lines := commandsIn(t, path)
		if len(lines) < 10 {
			t.Errorf("%s: only %d commands", path, len(lines))
		}
		for _, line := range lines {
			if fault := usageFault(words(line)[1:]); fault != "" {
				t.Errorf("%s: %s: %s", path, line, fault)
			}
		}
	}
}

// usageFault is what is wrong with a command line, before it runs.
func usageFault(args []string) string {
	for _, c := range commands() {
		name := strings.Fields(c.name)
		if len(args) < len(name) || !slices.Equal(name, args[:len(name)]) {
			continue
		}
		in := &invocation{app: newRig().app, command: c}
		set := flags.NewSet(pflag.NewFlagSet(c.name, pflag.ContinueOnError))
		c.define(in, set)
		if c.settings != nil {
			c.settings(set, &in.settings)
		}
		in.defineCommon(set)
		set.Bool(new(bool), "help", "")
		in.command.run = func(context.Context, *invocation) int { return exitDone }
		rest, faults := set.Finish(set.Parse(args[len(name):]))
		in.begin(context.Background(), rest, faults)
		for _, f := range in.faults {
			return f.String()
		}
		return ""
	}
	r := newRig() // a group, or a command without a body of its own
	if status := r.app.run(context.Background(), args); status != exitDone && len(args) > 1 {
		return r.errs.String()
	}
	return ""
}

// Each reason's section says what to type, if there is anything to run again or to discard.
func TestRunbookHasCommands(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../dlq/RUNBOOK.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, reason := range dlq.Reasons() {
		_, section, _ := strings.Cut(string(text), "## `"+string(reason)+"`")
		section, _, _ = strings.Cut(section, "\n## ")
		if !strings.Contains(section, "membersync dlq redrive") && !strings.Contains(section, "membersync dlq discard") {
			t.Errorf("%s: no command fixes it", reason)
		}
	}
}

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
