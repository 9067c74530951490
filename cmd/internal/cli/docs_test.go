package cli

import (
	"flag"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"membersync/cmd/internal/config"
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
	for _, path := range []string{"../../../dlq/RUNBOOK.md", "../../../README.md"} {
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
	if len(args) == 0 || usageOf(args[0]) != "" && len(args) == 1 {
		return ""
	}
	for _, c := range commands() {
		name := strings.Fields(c.name)
		if len(args) < len(name) || !slices.Equal(name, args[:len(name)]) {
			continue
		}
		in := &invocation{app: newRig().app, command: c}
		flags := flag.NewFlagSet(c.name, flag.ContinueOnError)
		flags.Bool("help", false, "")
		if c.settings != nil {
			c.settings(flags, &in.settings)
		}
		if c.flags != nil {
			c.flags(in, flags)
		}
		rest, faults := config.ParseFlags(flags, args[len(name):])
		if c.check != nil {
			c.check(in)
		}
		for _, f := range append(faults, in.faults...) {
			return f.String()
		}
		if len(rest) > c.maxArgs {
			return "too many arguments"
		}
		return ""
	}
	return "no such command"
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
			t.Errorf("%s: no command mends it", reason)
		}
	}
}

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
