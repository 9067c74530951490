package commandline_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"go.uber.org/goleak"

	"membersync/cmd/internal/commandline"
	"membersync/cmd/internal/flags"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run runs a program with a group and a command that prints what it is given.
func run(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs strings.Builder
	tree, _ := sample(&out, &errs)
	return tree.Execute(t.Context(), args), out.String(), errs.String()
}

func sample(out, errs io.Writer) (tree *commandline.Tree, list *cobra.Command) {
	root := &cobra.Command{Use: "sample COMMAND", Long: "A sample."}
	color := false
	tree = commandline.New(root, commandline.Options{Out: out, Errs: errs, Version: "sample 1.0", Common: func(set *flags.Set) {
		set.Bool(&color, "color", "with colors")
	}})
	group := &cobra.Command{Use: "things COMMAND", Short: "all about things"}
	list = &cobra.Command{Use: "list [NAME]...", Short: "list things"}
	root.AddCommand(group)
	tree.Group(group)
	group.AddCommand(list)
	var state, file, name string
	define := func(set *flags.Set) {
		flags.SetGroup(set.Text(&name, "name", "string", "of the things"), "Settings")
		set.Choice(&state, "state", "s", "of the things", "new", "old")
		set.List("kind", "", "of the things", []string{"red", "green"}, func(string) {})
		set.Text(&file, "file", flags.Path, "where they are")
	}
	tree.Runs(list, define, func(_ context.Context, args []string, faults []flags.Fault) int {
		_, _ = fmt.Fprintf(out, "args %q, state %q, color %v, faults %q", args, state, color, faults)
		return 3
	})
	return tree, list
}

// Cobra keeps completion functions for as long as the process runs: a program that is called as a
// function many times must not add to them.
func TestACommandLeavesNoCompletionBehind(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"things", "list"}, {"things", "list", "--help"}, {"help", "things", "list"}} {
		tree, list := sample(io.Discard, io.Discard)
		tree.Execute(t.Context(), args)
		if _, registered := list.GetFlagCompletionFunc("state"); registered || list.Flags().Lookup("state") == nil {
			t.Errorf("%q: registered %v", args, registered)
		}
	}
}

func TestExecute(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		args           []string
		status         int
		stdout, stderr string
	}{
		"a command":         {[]string{"things", "list", "a", "--state=new"}, 3, `args ["a"], state "new", color false, faults []`, ""},
		"a flag before it":  {[]string{"--color", "things", "list", "-s", "old"}, 3, `args [], state "old", color true, faults []`, ""},
		"faults":            {[]string{"things", "list", "--stat=new", "--state"}, 3, `args [], state "", color false, faults ["--stat: unknown flag; did you mean --state?" "--state: needs a value"]`, ""},
		"version":           {[]string{"--version"}, 0, "sample 1.0\n", ""},
		"unknown":           {[]string{"thing"}, 2, "", "sample: unknown command \"thing\" for \"sample\"; did you mean \"things\"?\n"},
		"unknown in group":  {[]string{"things", "lst"}, 2, "", "sample: unknown command \"lst\" for \"sample things\"; did you mean \"list\"?\n"},
		"far from any":      {[]string{"things", "\x1b[2J"}, 2, "", "sample: unknown command \"\\x1b[2J\" for \"sample things\"; see sample things --help\n"},
		"flag of a group":   {[]string{"things", "--lists"}, 2, "", "sample things: --lists: unknown flag\n"},
		"help of unknown":   {[]string{"help", "things", "lsit"}, 2, "", "sample: unknown command \"lsit\" for \"sample things\"; did you mean \"list\"?\n"},
		"help, bad flag":    {[]string{"help", "--all"}, 2, "", "sample help: --all: unknown flag\n"},
		"no shell":          {[]string{"completion"}, 2, "", "sample completion: give one shell: bash, zsh, fish or powershell\n"},
		"unknown shell":     {[]string{"completion", "csh"}, 2, "", "sample completion: give one shell: bash, zsh, fish or powershell\n"},
		"completion, a bad": {[]string{"completion", "bash", "--all"}, 2, "", "sample completion: --all: unknown flag\n"},
	} {
		status, stdout, stderr := run(t, tc.args...)
		if status != tc.status || stdout != tc.stdout || stderr != tc.stderr {
			t.Errorf("%s: status %d, stdout %q, stderr %q", name, status, stdout, stderr)
		}
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	const want = `list things

Usage:
  sample things list [NAME]... [flags]

Flags:
  -s, --state string   of the things
      --kind strings   of the things
      --file path      where they are
      --color          with colors
  -h, --help           help for list

Settings:
      --name string   of the things
`
	for _, args := range [][]string{
		{"things", "list", "--help"},
		{"help", "things", "list"},
		{"things", "list", "-h", "--unknown", "--state"}, // whatever else is wrong
	} {
		status, stdout, stderr := run(t, args...)
		if d := cmp.Diff(want, stdout); d != "" || status != 0 || stderr != "" {
			t.Errorf("%v: status %d, stderr %q: %s", args, status, stderr, d)
		}
	}
	_, asked, _ := run(t, "things", "--help")
	status, stdout, stderr := run(t, "things")
	if status != commandline.ExitUsage || stdout != "" || stderr != asked {
		t.Errorf("status %d, stdout %q, stderr %q", status, stdout, stderr)
	}
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	for typed, want := range map[string]string{
		"":                               "completion help things",
		"th":                             "things",
		"help ":                          "completion things",
		"help things l":                  "list",
		"completion ":                    "bash zsh fish powershell",
		"things list --st":               "--state",
		"things list --state ":           "new old",
		"things list --state=o":          "old",
		"things list -s n":               "new",
		"things list --kind ":            "red green",
		"things list --kind red,":        "red,green",
		"things list --kind blue,red,gr": "blue,red,green",
		"things list --color=":           "true false",
		"things list --name ":            "",
		"things list ":                   "",
	} {
		_, stdout, _ := run(t, append([]string{"__complete"}, strings.Split(typed, " ")...)...)
		var words []string
		for line := range strings.Lines(stdout) {
			if word, _, _ := strings.Cut(strings.TrimSpace(line), "\t"); !strings.HasPrefix(word, ":") {
				words = append(words, word)
			}
		}
		if got := strings.Join(words, " "); got != want {
			t.Errorf("%q completes to %q, want %q", typed, got, want)
		}
		const noFiles = ":4"
		if !strings.HasSuffix(strings.TrimSpace(stdout), noFiles) {
			t.Errorf("%q completes files: %q", typed, stdout)
		}
	}
	if _, stdout, _ := run(t, "__complete", "things", "list", "--file", ""); stdout != ":0\n" {
		t.Errorf("files are not completed: %q", stdout)
	}
}

func TestScripts(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		status, stdout, stderr := run(t, "completion", shell)
		if status != 0 || stderr != "" || !strings.Contains(stdout, "__complete") {
			t.Errorf("%s: status %d, stderr %q, stdout %q", shell, status, stderr, stdout)
		}
	}
}

type brokenPipe struct{}

var errBroken = errors.New("broken pipe")

func (brokenPipe) Write([]byte) (int, error) { return 0, errBroken }

func TestScriptToABrokenPipe(t *testing.T) {
	t.Parallel()
	var errs strings.Builder
	tree := commandline.New(&cobra.Command{Use: "sample"}, commandline.Options{Out: brokenPipe{}, Errs: &errs})
	if status := tree.Execute(t.Context(), []string{"completion", "bash"}); status != 1 || errs.String() != "sample completion: stdout: broken pipe\n" {
		t.Errorf("status %d, stderr %q", status, errs.String())
	}
}
