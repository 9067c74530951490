package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"membersync/cmd/internal/commandline"
	"membersync/cmd/internal/flags"
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
	stdin          io.Reader
	stdout, stderr io.Writer

	// getenv returns a variable of the environment, empty if it is not set. Nil: none is.
	getenv func(name string) string

	// notify has SIGTERM and SIGINT sent to a channel, and exit ends the process at
	// once. Without notify, the context alone ends the program.
	notify func(chan<- os.Signal)
	exit   func(int)
}

// variable returns a variable of the environment, empty if it is not set.
func (e env) variable(name string) string {
	if e.getenv == nil {
		return ""
	}
	return e.getenv(name)
}

// complain says in one line what is wrong.
func (e env) complain(text string) { say(e.stderr, "devstack: %s\n", text) }

// say prints. A terminal that is gone does not stop the program.
func say(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }

// The arguments of all commands. Each defines its own flags.
type arguments struct {
	once     bool
	verbose  bool
	ports    ports
	logLevel string
	mapping  string
	crmAPI   string

	addr, corp, token string
	failEvery         int

	brokers, topic string
	file           string
	rate           float64
	count          int
}

// A command is one of the program's.
type command struct {
	cobra.Command

	flags func(*flags.Set, *arguments)
	run   func(context.Context, *arguments, env) int
	file  bool // it takes one argument, the path of a file
}

// arguments is how many it takes at most.
func (c *command) arguments() int {
	if c.file {
		return 1
	}
	return 0
}

// commands are the whole stack, which is the program itself, and its parts.
func commands() (stack *command, parts []*command) {
	stack = &command{cobra.Command{
		Use: "devstack", Short: "run membersync with everything that it needs in one process",
		Long: `Run membersync with everything that it needs in this one process: a broker that speaks Kafka's
protocol, Redis and a fake CRM, all on loopback ports and in memory. A stream of made-up changes
runs through it, with duplicates, late ones and poison among them, and stdout has a line with the
outcome of each event. Then it waits, and shows what to try from another terminal. Ctrl-C ends it.

With --once it plays a fixed script instead, compares every member in the CRM with the expected
result of the script, and exits 0 only if they are equal.

Exit status: 0 done, 1 failed or not as expected, 2 bad usage or a port that is taken, 130 on Ctrl-C.`,
		Example: `  devstack --count 100 --rate 10
  devstack --once`,
	}, stackFlags, runStack, false}
	parts = []*command{{cobra.Command{
		Use: "env", Short: "print the settings with which membersync finds the stack",
		Long: `Print the settings with which membersync finds a stack that runs in another terminal, as commands
of a shell.`,
		Example: `  eval "$(devstack env)"`,
	}, envFlags, printEnv, false}, {cobra.Command{
		Use: "send FILE|-", Short: "send the content of a file as one record",
		Long: `Send the content of a file, or of stdin, to the source topic as the value of one record. The
employee id of an event becomes the key of the record. It goes to the stack whose settings "devstack
env" has set in this shell, unless --brokers names another broker.`,
		Example: "  devstack send event.json",
	}, sendFlags, sendFile, true}, {cobra.Command{
		Use: "fakecrm", Short: "run the fake CRM alone",
		Long: `Run the fake CRM alone, as strict as the vendor's page. It knows the sample members FSUID_TEST0001
to FSUID_TEST0009 and the departments 1 to 20.
  GET  /_fake/members  the members as they are now
  GET  /_fake/log      every request and its result
  POST /_fake/fault    make the next call fail, for example {"status":503,"times":3}`,
		Example: "  devstack fakecrm --addr 127.0.0.1:8090",
	}, crmFlags, serveCRM, false}, {cobra.Command{
		Use: "produce", Short: "send the stream of made-up changes alone, to any Kafka",
		Long:    "Send the stream of made-up changes to a Kafka topic that exists, until Ctrl-C.",
		Example: "  devstack produce --brokers localhost:9094 --count 100",
	}, produceFlags, produce, false}, {cobra.Command{
		Use: "probe", Short: "exit 0 if a fake CRM answers",
		Long:    "Exit 0 if a fake CRM answers, else 1.",
		Example: "  devstack probe --addr 127.0.0.1:8090",
	}, probeFlags, probe, false}}
	return stack, parts
}

// run is the program: args are what follows its name. It returns the exit status.
func run(ctx context.Context, args []string, e env) int {
	stack, parts := commands()
	t := commandline.New(&stack.Command, commandline.Options{Out: e.stdout, Errs: e.stderr})
	for _, c := range parts {
		stack.AddCommand(&c.Command)
	}
	for _, c := range append(parts, stack) {
		var a arguments
		t.Runs(&c.Command, func(set *flags.Set) { c.flags(set, &a) }, func(ctx context.Context, args []string, faults []flags.Fault) int {
			if c.file && len(args) == 0 && len(faults) == 0 {
				e.complain(c.Name() + ": give the path of a file, or - for stdin")
				return exitUsage
			}
			if t.Refuse(&c.Command, args, c.arguments(), faults) {
				return exitUsage
			}
			a.file = strings.Join(args, "")
			ctx, stop := interrupt.Context(ctx, e.notify, e.exit)
			defer stop()
			return c.run(ctx, &a, e)
		})
	}
	return t.Execute(ctx, args)
}

func stackFlags(f *flags.Set, a *arguments) {
	f.Bool(&a.once, "once", "play the script; its ports are free ones")
	f.Bool(&a.verbose, "verbose", "also print a line for each record that arrives and for each call")
	defaults := defaultPorts()
	portFlags(f, a, "; 0 takes a free one")
	f.IntVar(&a.ports.admin, "admin-port", defaults.admin, "port of the service's admin server; 0 takes a free one")
	f.IntVar(&a.ports.ui, "ui-port", defaults.ui, "port of the web pages; 0 takes a free one")
	offsetFlag(f, a)
	f.Float64Var(&a.rate, "rate", 2, "steps of the stream per second, most of them one change; 0 sends none")
	f.IntVar(&a.count, "count", round, "wait after so many steps; 0: never")
	failEveryFlag(f, a)
	f.StringVar(&a.mapping, "mapping", canonical, "how the service reads events: a mapping file, or a built-in mapping. The samples are "+
		"canonical events, so with another one none are sent")
	crmAPIFlag(f, a, "form of an update that the fake CRM requires and the service sends: user or object")
	f.StringVar(&a.logLevel, "log-level", "error", "of the service's own log, on stderr: debug, info, warn or error")
}

// defaultPorts are those of a stack without flags.
func defaultPorts() ports {
	return ports{kafka: 19092, redis: 16379, crm: 18090, admin: 18080, ui: 18081}
}

func portFlags(f *flags.Set, a *arguments, more string) {
	defaults := defaultPorts()
	f.IntVar(&a.ports.kafka, "kafka-port", defaults.kafka, "port of the broker"+more)
	f.IntVar(&a.ports.redis, "redis-port", defaults.redis, "port of Redis"+more)
	f.IntVar(&a.ports.crm, "crm-port", defaults.crm, "port of the fake CRM"+more)
}

func offsetFlag(f *flags.Set, a *arguments) {
	f.Count(&a.ports.offset, "port-offset", "added to each port except 0, such as 100 for a second stack")
}

func envFlags(f *flags.Set, a *arguments) {
	portFlags(f, a, "")
	offsetFlag(f, a)
	f.StringVar(&a.mapping, "mapping", canonical, "the mapping of the stack")
	crmAPIFlag(f, a, "form of an update that the stack takes: user or object")
}

func sendFlags(f *flags.Set, a *arguments) {
	f.StringVar(&a.brokers, "brokers", "", "addresses to bootstrap from, host:port, comma-separated; empty: those of "+
		brokersVariable+", or "+address(defaultPorts().kafka)+" if it is not set")
	f.StringVar(&a.topic, "topic", sampleTopic, "where the record goes")
}

func failEveryFlag(f *flags.Set, a *arguments) {
	f.IntVar(&a.failEvery, "fail-every", 25, "the fake CRM answers every so many-th call that it is busy; 0: never")
}

func crmAPIFlag(f *flags.Set, a *arguments, usage string) {
	a.crmAPI = userAPI
	f.Choice(&a.crmAPI, "crm-api", "", usage, userAPI, objectAPI)
}

// canonical is the mapping of the samples and of the script.
const canonical = "canonical"

// The forms of an update that the fake CRM can demand.
const (
	userAPI   = "user"
	objectAPI = "object"
)

func crmFlags(f *flags.Set, a *arguments) {
	f.StringVar(&a.addr, "addr", "127.0.0.1:18090", "host:port where it listens")
	f.StringVar(&a.corp, "corp-id", sampleCorp, "the company that it accepts")
	f.StringVar(&a.token, "token", sampleToken, "the token that it accepts")
	crmAPIFlag(f, a, "form of an update that it requires: user, or object for object_data of the newer object API")
	failEveryFlag(f, a)
}

func produceFlags(f *flags.Set, a *arguments) {
	f.StringVar(&a.brokers, "brokers", "localhost:9092", "addresses to bootstrap from, host:port, comma-separated")
	f.StringVar(&a.topic, "topic", sampleTopic, "where the changes go")
	f.Float64Var(&a.rate, "rate", 2, "steps of the stream per second, most of them one change")
	f.IntVar(&a.count, "count", 0, "end after so many steps; 0: never")
}

func probeFlags(f *flags.Set, a *arguments) {
	f.StringVar(&a.addr, "addr", "127.0.0.1:18090", "host:port where it should listen")
}

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
