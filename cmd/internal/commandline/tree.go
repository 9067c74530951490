// Package commandline builds the commands of this repository's programs with cobra. All programs
// have the same help, suggestions, shell completion and handling of faults from it.
//
// A [Tree] holds the commands of one program for one run. A command defines its flags in a
// [flags.Set] and is called with every fault of the command line, so that it can report them
// together with those of its configuration. It returns its exit status.
//
// The package must not know what any of the commands does.
package commandline

import (
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"membersync/cmd/internal/flags"
)

// ExitUsage is the exit status for bad usage.
const ExitUsage = 2

// A Body is what a command does. It gets the arguments that are not flags and what is wrong with
// the command line, and returns the exit status.
type Body func(ctx context.Context, args []string, faults []flags.Fault) int

// A Tree is the commands of a program. It is for one run and not safe for concurrent use.
type Tree struct {
	Options

	root   *cobra.Command
	flags  map[*cobra.Command]func() // defines the flags of a command, which is left until it is used
	chosen func(context.Context) int // what the command line is for; nil: help
}

// Options say what a program has in addition to its commands.
type Options struct {
	// Out takes help, completion scripts and the version, which are written as they are. Faults of
	// the command line, which may hold text from outside, go to Errs.
	Out, Errs io.Writer
	// Version is what --version prints; empty: the flag is left out.
	Version string
	// Common defines the flags that every command has; nil: none.
	Common func(*flags.Set)
}

// New makes a program with the commands help and completion. The root only lists its commands,
// unless [Tree.Runs] gives it a body.
func New(root *cobra.Command, o Options) *Tree {
	t := &Tree{Options: o, root: root, flags: map[*cobra.Command]func(){}}
	root.SilenceErrors, root.SilenceUsage = true, true
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetOut(o.Out)
	root.SetErr(o.Errs)
	root.SetHelpFunc(func(c *cobra.Command, _ []string) { t.print(t.Out, Help(c)) })
	t.Group(root)
	help := t.helpCommand()
	root.SetHelpCommand(help)
	root.AddCommand(help, t.completionCommand())
	return t
}

// Root returns the program's root command, with the flags of all commands defined.
func (t *Tree) Root() *cobra.Command {
	t.defineAll()
	return t.root
}

func (t *Tree) defineAll() {
	for c := range t.flags {
		t.define(c)
	}
}

// define defines the flags of a command, once.
func (t *Tree) define(c *cobra.Command) {
	if define, isLeft := t.flags[c]; isLeft {
		delete(t.flags, c)
		define()
	}
}

// Group makes c a command that only has others below it.
func (t *Tree) Group(c *cobra.Command) {
	version := false
	define := func(set *flags.Set) {
		if c == t.root && t.Version != "" {
			set.Bool(&version, "version", "print the version")
		}
	}
	t.Runs(c, define, func(_ context.Context, args []string, faults []flags.Fault) int {
		switch {
		case t.Refuse(c, args, 0, faults):
			return ExitUsage
		case version:
			t.print(t.Out, t.Version+"\n")
			return 0
		}
		t.print(t.Errs, Help(c))
		return ExitUsage
	})
}

// Refuse reports what is wrong with the command line of c, which takes at most so many arguments.
// It returns whether anything is.
func (t *Tree) Refuse(c *cobra.Command, args []string, most int, faults []flags.Fault) bool {
	switch {
	case len(faults) > 0:
	case len(args) <= most:
		return false
	case c.HasSubCommands():
		t.unknown(c, args[most])
		return true
	default:
		faults = []flags.Fault{flags.TooMany(len(args), most)}
	}
	for _, f := range faults {
		t.complain(c, f.String())
	}
	return true
}

// Runs gives a command its flags (nil: it has none of its own) and its body.
func (t *Tree) Runs(c *cobra.Command, define func(*flags.Set), body Body) {
	c.ResetFlags()
	set := flags.NewSet(c.Flags())
	help := false
	t.flags[c] = func() {
		if define != nil {
			define(set)
		}
		if t.Common != nil {
			t.Common(set)
		}
		set.BoolP(&help, "help", "h", "help for "+c.Name())
	}
	c.FParseErrWhitelist = cobra.FParseErrWhitelist(flags.AllowUnknown())
	c.Args = cobra.ArbitraryArgs
	if c.ValidArgsFunction == nil && len(c.ValidArgs) == 0 {
		c.ValidArgsFunction = cobra.NoFileCompletions
	}
	choose := func(err error) {
		args, faults := set.Finish(err)
		t.chosen = func(ctx context.Context) int { return body(ctx, args, faults) }
	}
	c.Run = func(*cobra.Command, []string) { choose(nil) }
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		if help {
			return pflag.ErrHelp
		}
		choose(err)
		return nil
	})
}

// Execute runs the command that the arguments name, and returns its exit status: 0 after help.
func (t *Tree) Execute(ctx context.Context, args []string) int {
	t.root.SetArgs(append([]string{}, args...)) // nil would stand for those of the process
	t.prepare(args)
	if err := t.root.ExecuteContext(ctx); err != nil {
		t.complain(t.root, err.Error())
		return ExitUsage
	}
	if t.chosen == nil {
		return 0
	}
	return t.chosen(ctx)
}

// prepare defines the flags that the arguments need: those of the command and of the groups above
// it, or all for completion.
func (t *Tree) prepare(args []string) {
	if len(args) > 0 && strings.HasPrefix(args[0], cobra.ShellCompRequestCmd) {
		t.defineAll()
		completeFlags(t.root)
		return
	}
	t.define(t.root)
	for _, c := range t.root.Commands() {
		if c.HasSubCommands() {
			t.define(c)
		}
	}
	c, _, _ := t.root.Find(args)
	t.define(c)
}

// suggestionDistance is how many characters of a command's name may be wrong.
const suggestionDistance = 2

func (t *Tree) unknown(parent *cobra.Command, name string) {
	parent.SuggestionsMinimumDistance = suggestionDistance
	quoted := parent.SuggestionsFor(name)
	for i, one := range quoted {
		quoted[i] = `"` + one + `"`
	}
	hint := "; see " + parent.CommandPath() + " --help"
	if len(quoted) > 0 {
		hint = "; did you mean " + flags.Alternatives(quoted) + "?"
	}
	t.complain(t.root, "unknown command "+quote(name)+` for "`+parent.CommandPath()+`"`+hint)
}

// complain reports what is wrong, in the name of a command.
func (t *Tree) complain(c *cobra.Command, text string) {
	prefix := c.CommandPath() + ": "
	t.print(t.Errs, prefix+strings.ReplaceAll(text, "\n", "\n"+prefix)+"\n")
}

// print ignores a terminal that is gone: nothing is left to do then.
func (*Tree) print(to io.Writer, text string) { _, _ = io.WriteString(to, text) }

func (t *Tree) helpCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "help [COMMAND]...",
		Short: "show the help of a command",
		Long:  "Show the help of a command, as its --help does.",
	}
	c.Example = "  " + t.root.Name() + " help"
	t.Runs(c, nil, func(_ context.Context, args []string, faults []flags.Fault) int {
		if t.Refuse(c, nil, 0, faults) {
			return ExitUsage
		}
		of, rest, _ := t.root.Find(args)
		if len(rest) > 0 {
			t.unknown(of, rest[0])
			return ExitUsage
		}
		t.define(of)
		t.print(t.Out, Help(of))
		return 0
	})
	c.ValidArgsFunction = func(_ *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		var names []string
		if of, rest, _ := t.root.Find(args); len(rest) == 0 {
			for _, sub := range of.Commands() {
				if sub.IsAvailableCommand() && strings.HasPrefix(sub.Name(), begun) {
					names = append(names, cobra.CompletionWithDesc(sub.Name(), sub.Short))
				}
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
	return c
}
