package cli

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"membersync/cmd/internal/commandline"
)

// promised are the commands, each with the flags that scripts and runbooks of others use, in
// addition to those of all.
func promised() map[string]string {
	const (
		filters  = "reason stage code employee text since until"
		changing = "dry-run yes note actor"
	)
	return map[string]string{
		"run": "dry-run", "check": "", "map": "key header timestamp", "version": "", "config": "", "healthcheck": "", "ui": "",
		"replay":       "from to employee reapply rate resume diff " + changing,
		"offsets show": "", "offsets reset": "to " + changing,
		"dlq list": filters + " state group-by limit follow", "dlq show": "", "dlq export": filters + " state",
		"dlq redrive": filters + " all rate value-file canary older-than max-redrives " + changing, "dlq discard": filters + " all " + changing,
		"replay list": "", "replay cancel": changing, "audit": "since actor action subject", "status": "watch",
		"explain": "", "pause": "for " + changing, "resume": "dead-letter-held " + changing,
		"state show": "", "state forget": "file " + changing, "state rebuild": changing,
	}
}

func TestCommandsHaveWhatIsPromised(t *testing.T) {
	t.Parallel()
	var names, want []string
	for _, c := range leaves(newRig().app.tree().Root()) {
		name := nameOf(c)
		if slices.Contains([]string{"help", "completion"}, name) {
			continue
		}
		names = append(names, name)
		help := commandline.Help(c)
		for _, flag := range append(strings.Fields(promised()[name]), "output", "no-color", "help") {
			if c.Flags().Lookup(flag) == nil || !strings.Contains(help, "--"+flag) {
				t.Errorf("%s: no flag %s, or nothing of it in the help", name, flag)
			}
		}
	}
	for name := range promised() {
		want = append(want, name)
	}
	slices.Sort(names)
	slices.Sort(want)
	if d := cmp.Diff(want, names); d != "" {
		t.Errorf("commands (-promised +there): %s", d)
	}
}

// leaves are the commands that do something.
func leaves(c *cobra.Command) []*cobra.Command {
	var all []*cobra.Command
	if !c.HasSubCommands() || nameOf(c) == "replay" { // which does something itself, too
		all = append(all, c)
	}
	for _, sub := range c.Commands() {
		all = append(all, leaves(sub)...)
	}
	return all
}

// nameOf is the name of a command without the program's.
func nameOf(c *cobra.Command) string { return strings.TrimPrefix(c.CommandPath(), "membersync ") }

// Every command says what it does in one line and in full, and has an example that can be typed.
func TestEveryCommandIsDescribed(t *testing.T) {
	t.Parallel()
	var check func(*cobra.Command)
	check = func(c *cobra.Command) {
		if c.Short == "" || c.Long == "" || c.Example == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: short %q, long %q, example %q", c.CommandPath(), c.Short, c.Long, c.Example)
		}
		for line := range strings.Lines(commandline.Help(c)) {
			if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > 100 && !strings.Contains(line, "[=") {
				t.Errorf("%s: %d columns: %s", c.CommandPath(), n, line)
			}
		}
		for line := range strings.Lines(c.Example) {
			words := words(line)
			if len(words) == 0 || words[0] != "membersync" {
				continue
			}
			if fault := usageFault(words[1:]); fault != "" {
				t.Errorf("%s: %s: %s", c.CommandPath(), line, fault)
			}
		}
		for _, sub := range c.Commands() {
			check(sub)
		}
	}
	check(newRig().app.tree().Root())
}
