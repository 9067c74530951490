package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"membersync/cmd/internal/interrupt"
)

// The exit statuses are those of membersync.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = interrupt.Status
)

// An env is what the program takes from the process around it.
type env struct {
	stdout, stderr io.Writer

	// notify has SIGTERM and SIGINT sent to a channel, and exit ends the process at
	// once. Without notify, the context alone ends the program.
	notify func(chan<- os.Signal)
	exit   func(int)
}

// complain says in one line what is wrong.
func (e env) complain(text string) { say(e.stderr, "devstack: %s\n", text) }

// say prints. A terminal that is gone does not stop the program.
func say(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }

// The arguments of all commands; each defines its own flags.
type arguments struct {
	once     bool
	ports    ports
	logLevel string
	mapping  string
	crmAPI   string

	addr, corp, token string
	failEvery         int

	brokers, topic string
	rate           float64
	count          int
}

// A command is one of the program's.
type command struct {
	help  string
	flags func(*flag.FlagSet, *arguments)
	run   func(context.Context, *arguments, env) int
}

//go:embed help.txt
var helpTexts string

// help returns one of the texts of help.txt, which are divided by lines of dashes.
func help(n int) string { return strings.Split(helpTexts, "----\n")[n] }

func findCommand(args []string) (command, []string) {
	if len(args) > 0 {
		switch args[0] {
		case "fakecrm":
			return command{help(1), crmFlags, serveCRM}, args[1:]
		case "produce":
			return command{help(2), produceFlags, produce}, args[1:]
		case "probe":
			return command{help(3), probeFlags, probe}, args[1:]
		}
	}
	return command{help(0), stackFlags, runStack}, args
}

// run is the program: args are what follows its name. It returns the exit status.
func run(ctx context.Context, args []string, e env) int {
	c, args := findCommand(args)
	flags := flag.NewFlagSet("devstack", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	var a arguments
	c.flags(flags, &a)
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		say(e.stdout, "%s", c.help)
		return exitDone
	case err != nil:
		e.complain(err.Error() + "; see --help")
		return exitUsage
	case flags.Lookup("crm-api") != nil && a.crmAPI != userAPI && a.crmAPI != objectAPI:
		e.complain("--crm-api should be user or object; see --help")
		return exitUsage
	case flags.NArg() > 0:
		e.complain("there is no command " + flags.Arg(0) + "; see devstack --help")
		return exitUsage
	}
	ctx, stop := interrupt.Context(ctx, e.notify, e.exit)
	defer stop()
	return c.run(ctx, &a, e)
}

func stackFlags(f *flag.FlagSet, a *arguments) {
	f.BoolVar(&a.once, "once", false, "")
	f.IntVar(&a.ports.kafka, "kafka-port", 19092, "")
	f.IntVar(&a.ports.redis, "redis-port", 16379, "")
	f.IntVar(&a.ports.crm, "crm-port", 18090, "")
	f.IntVar(&a.ports.admin, "admin-port", 18080, "")
	f.Float64Var(&a.rate, "rate", 2, "")
	f.IntVar(&a.failEvery, "fail-every", 25, "")
	f.StringVar(&a.logLevel, "log-level", "error", "")
	f.StringVar(&a.mapping, "mapping", canonical, "")
	f.StringVar(&a.crmAPI, "crm-api", userAPI, "")
}

// canonical is the mapping of the samples and of the script.
const canonical = "canonical"

// The forms of an update that the fake CRM can demand.
const (
	userAPI   = "user"
	objectAPI = "object"
)

func crmFlags(f *flag.FlagSet, a *arguments) {
	f.StringVar(&a.addr, "addr", "127.0.0.1:18090", "")
	f.StringVar(&a.corp, "corp-id", sampleCorp, "")
	f.StringVar(&a.token, "token", sampleToken, "")
	f.StringVar(&a.crmAPI, "crm-api", userAPI, "")
	f.IntVar(&a.failEvery, "fail-every", 25, "")
}

func produceFlags(f *flag.FlagSet, a *arguments) {
	f.StringVar(&a.brokers, "brokers", "localhost:9092", "")
	f.StringVar(&a.topic, "topic", sampleTopic, "")
	f.Float64Var(&a.rate, "rate", 2, "")
	f.IntVar(&a.count, "count", 0, "")
}

func probeFlags(f *flag.FlagSet, a *arguments) { f.StringVar(&a.addr, "addr", "127.0.0.1:18090", "") }

// runStack runs the whole stack, once or until it is ended.
func runStack(ctx context.Context, a *arguments, e env) int {
	if a.once {
		return runOnce(ctx, a, e, theScript(), expectation())
	}
	return runOpen(ctx, a, e)
}

// ended is the exit status after the context has ended.
func ended(ctx context.Context) int {
	if interrupt.Ended(ctx) {
		return exitInterrupted
	}
	return exitDone
}
