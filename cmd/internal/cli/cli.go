// Package cli is the membersync program as a function: its commands, their flags
// and help, and the exit statuses. Only main exits.
package cli

import (
	"context"
	"io"
	"net"
	"os"
	"time"

	"membersync/cmd/internal/config"
	"membersync/cmd/internal/flags"
	"membersync/cmd/internal/interrupt"
	"membersync/consumer"
	"membersync/crmapi"
)

// The exit statuses.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2 // bad usage or configuration
	exitPart        = 3 // done in part
	exitInterrupted = interrupt.Status
)

// An Env is what the program takes from the process around it.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer // results; all else
	Environ        []string
	ReadFile       func(string) ([]byte, error)
	Version        string // set when it was built; empty: what the build recorded
	Revision       string // likewise, of the source
	Terminal       bool   // stdin and stderr are one: a user can be asked, and watches
	StdoutTerminal bool   // stdout is one: states have colors, and long tables go through a pager

	// StartPager starts a shell command that shows what is written to it. Closing it waits for its
	// end. Nil: there is no pager.
	StartPager func(command string) (io.WriteCloser, error)

	// SetMemoryLimit and SetGCPercent are those of runtime/debug. Nil, both: the process's memory
	// is not ours to bound.
	SetMemoryLimit func(limit int64) int64
	SetGCPercent   func(percent int) int

	// Observer watches the events of run. Nil: none does.
	Observer consumer.Observer

	// AdminListener is where the admin server, or ui, listens, whatever its configured address. It is
	// closed with the server. Nil: one is opened at the address.
	AdminListener net.Listener

	// Notify has SIGTERM and SIGINT sent to a channel, and Exit ends the process at
	// once. Without Notify, signals are the caller's.
	Notify func(chan<- os.Signal)
	Exit   func(code int)
}

// Run is the program: args are what follows its name. It returns the exit status.
func Run(ctx context.Context, args []string, env Env) int {
	return (&app{Env: env, serve: serve}).run(ctx, args)
}

// An app is one run of the program.
type app struct {
	Env
	serve      service
	quiet      time.Duration // until a command reports that no service answers; 0: 20 s
	digestWait time.Duration // until no instance trusts an old digest; 0: that of the service
	noColor    bool

	plain io.Writer // Stdout without escapes, for what the program has of its own: help and scripts
	bare  io.Writer // Stderr without escapes, for the progress line alone
}

// run prints through [escaping] writers, except what is the program's own.
func (a *app) run(ctx context.Context, args []string) int {
	escaped := *a
	escaped.plain, escaped.bare = a.Stdout, a.Stderr
	escaped.Stdout, escaped.Stderr = escaping{a.Stdout}, escaping{a.Stderr}
	return escaped.tree().Execute(ctx, args)
}

// begin runs a command on what was given to it.
func (in *invocation) begin(ctx context.Context, args []string, faults []flags.Fault) int {
	in.args, in.faults = args, faults
	if in.command.check != nil && len(in.faults) == 0 {
		in.command.check(in)
	}
	if n, most := len(in.args), in.command.maxArgs; n > most && len(in.faults) == 0 {
		in.faults = append(in.faults, flags.TooMany(n, most))
	}
	return in.runShown(ctx)
}

func (a *app) print(text string) { _, _ = io.WriteString(a.Stdout, text) }

func (a *app) say(text string) { _, _ = io.WriteString(a.Stderr, text) }

// An invocation is one command with what was given to it.
type invocation struct {
	*app
	command  command
	args     []string       // that are no flags
	settings []string       // flags for config
	faults   []config.Fault // of the command line
	output   string
	message  message // of map
	dryRun   dryRun  // of run
	target   string  // what the command works on, for prompts

	mappingOnly bool           // of check
	sample      string         // of check: a file of records
	object      *crmapi.Object // the form of updates in map; nil: the user object
}

// configuration loads the configuration. Not ok, all faults have been told.
func (in *invocation) configuration(load loadFunc) (config.Config, bool) {
	cfg, report, err := load(in.settings, in.Environ, in.ReadFile)
	in.warn(report)
	return cfg, !in.refuse(err)
}

func (in *invocation) warn(report config.Report) {
	for _, w := range report.Warnings {
		in.complain("warning: " + w.String())
	}
}

// refuse tells the faults of the command line and those of the configuration.
func (in *invocation) refuse(err error) bool {
	lines := make([]string, 0, len(in.faults)+1)
	for _, f := range in.faults {
		lines = append(lines, f.String())
	}
	if err != nil {
		lines = append(lines, err.Error())
	}
	for _, line := range lines {
		in.complain(line)
	}
	return len(lines) > 0
}

// complain says what is wrong, in the name of the command before each line.
func (in *invocation) complain(text string) {
	in.say(prefixed("membersync "+in.command.name+": ", text))
}
