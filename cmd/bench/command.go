package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

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
	flags func(*flag.FlagSet) measure
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
	return append([]command{speedCommand(), memoryCommand(), batchesCommand(), hangCommand()}, faultCommands()...)
}

// run is the program. args are the arguments after its name. It returns the exit status.
func run(ctx context.Context, args []string, e env) int {
	if len(args) == 0 || args[0] == "--help" || args[0] == "-h" || args[0] == "help" {
		_, _ = io.WriteString(e.stdout, help())
		return exitDone
	}
	if args[0] == bareName {
		return runBare(ctx, args[1:], e)
	}
	for _, c := range commands() {
		if c.name == args[0] {
			return c.run(ctx, args[1:], e)
		}
	}
	e.say("bench: there is no command %s; see bench --help", args[0])
	return exitUsage
}

func help() string {
	var b strings.Builder
	b.WriteString("bench measures the service as a process on a real Kafka and Redis.\n\n")
	b.WriteString("usage: bench COMMAND [flags]; see bench COMMAND --help\n\n")
	for _, c := range commands() {
		fmt.Fprintf(&b, "  %-8s %s\n", c.name, c.about)
	}
	b.WriteString("\nexit status: 0 all targets met, 1 one missed or failed, 2 bad usage, 130 interrupted\n")
	return b.String()
}

func (c command) run(ctx context.Context, args []string, e env) int {
	flags := flag.NewFlagSet("bench "+c.name, flag.ContinueOnError)
	flags.SetOutput(e.stderr)
	var opts testbed.Options
	opts.AddFlags(flags)
	opts.Progress = e.stderr
	output := flags.String("o", "table", "`table`, or json: one object a line")
	do := c.flags(flags)
	flags.Usage = func() {}
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		flags.SetOutput(e.stdout)
		_, _ = fmt.Fprintf(e.stdout, "bench %s: %s\n\n", c.name, c.about)
		flags.PrintDefaults()
		return exitDone
	case err != nil:
		return exitUsage
	case flags.NArg() > 0 || (*output != "table" && *output != "json"):
		e.say("bench: bad arguments; see bench %s --help", c.name)
		return exitUsage
	}
	if c.options != nil {
		c.options(&opts)
	}
	r, err := measured(ctx, opts, do, e)
	return conclude(ctx, r, err, *output, e)
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
