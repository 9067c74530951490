package cli

import (
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"membersync/cmd/internal/commandline"
	"membersync/cmd/internal/config"
	"membersync/cmd/internal/flags"
	"membersync/cmd/internal/interrupt"
	"membersync/cmd/internal/ops"
)

type loadFunc func(args, environ []string, readFile func(string) ([]byte, error)) (config.Config, config.Report, error)

// A command is one of the program's commands. To add one is to add it to commands.
type command struct {
	name    string // without the program's: one word, or two for a command of a group
	args    string // form of its arguments
	short   string // one line, without a full stop
	long    string // in full
	example string // lines as a shell takes them
	maxArgs int
	files   bool // its arguments are files
	states  bool // the second column of its table is a state

	settings func(*flags.Set, *[]string) // which flags of config it has; nil: none
	define   func(*invocation, *flags.Set)
	check    func(*invocation) // of flags that exclude each other; nil: none do
	pages    func() bool       // whether its table can be long and ends by itself; nil: it is short
	run      func(context.Context, *invocation) int
}

// commands are those that do something. Each call returns new ones: their flags are of one run.
func commands() []command {
	return []command{
		runCommand(), statusCommand(), checkCommand(), mapCommand(),
		dlqListCommand(), dlqShowCommand(), dlqExportCommand(), dlqRedriveCommand(), dlqDiscardCommand(),
		pauseCommand(), resumeCommand(), stateShowCommand(), stateForgetCommand(), stateRebuildCommand(),
		offsetsShowCommand(), offsetsResetCommand(), replayCommand(), replayListCommand(), replayCancelCommand(), explainCommand(),
		auditCommand(), uiCommand(),
		configCommand(), healthcheckCommand(), versionCommand(),
	}
}

// groups are the commands with others below them.
func groups() []*cobra.Command {
	return []*cobra.Command{
		{
			Use: "dlq COMMAND", Short: "inspect, redrive and discard dead letters",
			Long: "Inspect, redrive and discard dead letters.",
			Example: "  # how many there are, and how old the oldest is\n" +
				"  membersync dlq list --group-by reason",
		},
		{
			Use: "state COMMAND", Short: "show, forget and rebuild the state in Redis",
			Long:    "Show, forget and rebuild the state in Redis.",
			Example: "  membersync state show E1001",
		},
		{
			Use: "offsets COMMAND", Short: "show and reset the offsets of the consumer group",
			Long:    "Show and reset the offsets of the consumer group.",
			Example: "  membersync offsets show",
		},
	}
}

// Root returns the program's commands, for their documentation. They cannot be run.
func Root() *cobra.Command {
	return (&app{plain: io.Discard, Env: Env{Stderr: io.Discard}}).tree().Root()
}

// tree builds all commands.
func (a *app) tree() *commandline.Tree {
	root := &cobra.Command{
		Use: "membersync COMMAND", Short: "send employee changes from a Kafka topic to the CRM",
		Long: "Send employee changes from a Kafka topic to the CRM.\n\n" +
			"Results go to stdout, all else to stderr. Exit status: 0 done, 1 failed, 2 bad usage or\n" +
			"configuration, 3 done in part, 130 interrupted.",
		Example: "  # is everything in place? Then run the service\n" +
			"  membersync check && membersync run",
	}
	t := commandline.New(root, commandline.Options{
		Out: a.plain, Errs: a.Stderr, Version: buildOf(a.Env).String(), Common: a.defineCommon,
	})
	for _, c := range groups() {
		root.AddCommand(c)
		t.Group(c)
	}
	for _, c := range commands() {
		a.add(t, root, c)
	}
	return t
}

func (a *app) add(t *commandline.Tree, root *cobra.Command, c command) {
	in := &invocation{app: a, command: c, output: outputTable}
	words := strings.Fields(c.name)
	parent, _, _ := root.Find(words[:len(words)-1]) // the root, or a group
	added := &cobra.Command{
		Use: strings.TrimSpace(words[len(words)-1] + " " + c.args), Short: c.short, Long: c.long, Example: c.example,
	}
	if c.files {
		added.ValidArgsFunction = cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault)
	}
	parent.AddCommand(added)
	define := func(set *flags.Set) {
		if c.define != nil {
			c.define(in, set)
		}
		if c.settings != nil {
			c.settings(set, &in.settings)
		}
	}
	t.Runs(added, define, func(ctx context.Context, args []string, faults []flags.Fault) int {
		if len(faults) == 0 && added.HasSubCommands() && t.Refuse(added, args, c.maxArgs, nil) {
			return exitUsage
		}
		return in.begin(ctx, args, faults)
	})
}

// onCallCommand is a command that works on the topics and the state of a running service.
func onCallCommand(c command, run func(context.Context, *invocation, *ops.Session) int) command {
	c.settings = config.Define
	c.run = func(ctx context.Context, in *invocation) int {
		ctx, stop := interrupt.Context(ctx, in.Notify, in.Exit)
		defer stop()
		return in.withSession(ctx, run)
	}
	return c
}

// The forms of output.
const (
	outputTable = "table"
	outputJSON  = "json"
)

// prefixed puts a prefix before each line.
func prefixed(prefix, text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return prefix + strings.Join(lines, "\n"+prefix) + "\n"
}
