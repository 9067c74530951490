package cli

import (
	"context"
	"flag"
	"fmt"
	"strings"

	"membersync/cmd/internal/config"
)

type loadFunc func(args, environ []string, readFile func(string) ([]byte, error)) (config.Config, config.Report, error)

// A command is one of the program's commands. To add one is to add it to commands.
type command struct {
	name, args, summary string
	details             string // more lines of its help
	settingsHelp        func() string
	maxArgs             int
	settings            func(*flag.FlagSet, *[]string) // which flags of config it has; nil: none
	flags               func(*invocation, *flag.FlagSet)
	check               func(*invocation) // of flags that do not go together; nil: all do
	run                 func(context.Context, *invocation) int
}

func commands() []command {
	return []command{
		runCommand(), checkCommand(), mapCommand(),
		dlqListCommand(), dlqShowCommand(), dlqExportCommand(), dlqRedriveCommand(), dlqDiscardCommand(),
		pauseCommand(), resumeCommand(), stateShowCommand(), stateForgetCommand(), stateRebuildCommand(),
		offsetsShowCommand(), offsetsResetCommand(), replayCommand(), explainCommand(),
		versionCommand(),
	}
}

func usage() string {
	var b strings.Builder
	b.WriteString("membersync takes employee changes from a Kafka topic to the CRM.\n\nUsage: membersync COMMAND [flags]\n\nCommands\n")
	for _, c := range commands() {
		fmt.Fprintf(&b, "  %-14s %s\n", c.name, c.summary)
	}
	b.WriteString("\nmembersync COMMAND --help describes a command and its flags.\n")
	b.WriteString("Results go to stdout, all else to stderr.\n")
	b.WriteString("Exit status: 0 done, 1 failed, 2 bad usage or configuration, 3 done in part, 130 interrupted.\n")
	return b.String()
}

// usageOf lists the commands whose first of two words is the given one; empty: there are none.
func usageOf(word string) string {
	var b strings.Builder
	for _, c := range commands() {
		if strings.HasPrefix(c.name, word+" ") {
			fmt.Fprintf(&b, "  %-14s %s\n", c.name, c.summary)
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return "Usage: membersync " + word + " COMMAND [flags]\n\nCommands\n" + b.String() +
		"\nmembersync " + word + " COMMAND --help describes a command and its flags.\n"
}

func (c command) help() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: membersync %s [flags]\n\n%s.\n", strings.TrimSpace(c.name+" "+c.args), capital(c.summary))
	if c.details != "" {
		b.WriteString("\n" + c.details)
	}
	if c.settingsHelp != nil {
		b.WriteString("\n" + c.settingsHelp())
	}
	return b.String()
}

func capital(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

// The forms of output.
const (
	outputTable = "table"
	outputJSON  = "json"
)

const outputHelp = "Flags\n" +
	"  -o  table or json\n        form of the result; json is one object a line (default table)\n"

func outputFlag(in *invocation, flags *flag.FlagSet) {
	flags.Func("o", "", func(text string) error {
		if text != outputTable && text != outputJSON {
			in.faults = append(in.faults, config.Fault{Name: "-o", Text: "should be table or json"})
		}
		in.output = text
		return nil
	})
}

// prefixed puts a prefix before each line.
func prefixed(prefix, text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return prefix + strings.Join(lines, "\n"+prefix) + "\n"
}
