package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"membersync/cmd/internal/commandline"
	"membersync/cmd/internal/flags"
	"membersync/cmd/internal/test/testbed"
)

// The exit statuses are the same as membersync's.
const (
	exitDone        = 0
	exitFailed      = 1 // also when a target was missed
	exitUsage       = 2
	exitInterrupted = 130
)

// An env holds what the program takes from its process.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
}

// say prints to stderr everything that is not a result. A closed terminal does not stop the
// program.
func (e env) say(format string, args ...any) { _, _ = fmt.Fprintf(e.stderr, format+"\n", args...) }

// A command measures one thing.
type command struct {
	name, about string
	// options changes what the testbed starts. May be nil.
	options func(*testbed.Options)
	// flags defines the command's flags and returns what runs after they are parsed. Wrap a method of
	// the value that the flags fill in a function: a method value is bound to what the value was
	// before parsing.
	flags func(*pflag.FlagSet) measure
}

// A measure takes the measurements and reports them.
type measure func(context.Context, *bench) (*report, error)

// A bench is what a command works with.
type bench struct {
	*testbed.Testbed
	say func(format string, args ...any) // prints a line of progress
}

// commands returns all commands of the program.
func commands() []command {
	return append([]command{
		speedCommand(), memoryCommand(), fullCommand(), batchesCommand(), hangCommand(), redisCommand(), skipsCommand(),
	}, faultCommands()...)
}

// run is the program. args are the arguments after its name. It returns the exit status.
func run(ctx context.Context, args []string, e env) int {
	root := &cobra.Command{
		Use: "bench COMMAND", Short: "measure the service as a process on a real Kafka and Redis",
		Long: "Measure the service as a process on a real Kafka and Redis.\n\n" +
			"Exit status: 0 all targets met, 1 one missed or failed, 2 bad usage, 130 interrupted.",
		Example: "  bench speed --rounds 3",
	}
	t := commandline.New(root, commandline.Options{Out: e.stdout, Errs: e.stderr})
	for _, c := range commands() {
		c.addTo(t, root, e)
	}
	addBare(t, root, e)
	return t.Execute(ctx, args)
}

func (c command) addTo(t *commandline.Tree, root *cobra.Command, e env) {
	added := &cobra.Command{
		Use: c.name, Short: c.about, Long: strings.ToUpper(c.about[:1]) + c.about[1:] + ".", Example: "  bench " + c.name + " -o json",
	}
	root.AddCommand(added)
	opts := testbed.Options{Progress: e.stderr}
	output := "table"
	var do measure
	define := func(set *flags.Set) {
		do = c.flags(set.FlagSet)
		set.Choice(&output, "output", "o", "form of the result: table, or json with one object per line", "table", "json")
		servers := flag.NewFlagSet("", flag.ContinueOnError)
		opts.AddFlags(servers)
		set.AddGoFlagSet(servers)
	}
	t.Runs(added, define, func(ctx context.Context, args []string, faults []flags.Fault) int {
		if t.Refuse(added, args, 0, faults) {
			return exitUsage
		}
		if c.options != nil {
			c.options(&opts)
		}
		r, err := measured(ctx, opts, do, e)
		return conclude(ctx, r, err, output, e)
	})
}

// measured opens the testbed, takes the measurements and closes it.
func measured(ctx context.Context, opts testbed.Options, do measure, e env) (r *report, err error) {
	s, err := testbed.Open(ctx, opts)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close(ctx)) }()
	return do(ctx, &bench{Testbed: s, say: e.say})
}

// conclude prints the report and returns the exit status.
func conclude(ctx context.Context, r *report, err error, output string, e env) int {
	if err != nil {
		e.say("bench: %v", err)
	}
	if ctx.Err() != nil {
		return exitInterrupted
	}
	if err != nil {
		return exitFailed
	}
	if err := r.print(e.stdout, output); err != nil {
		e.say("bench: %v", err)
		return exitFailed
	}
	if !r.met() {
		return exitFailed
	}
	return exitDone
}
