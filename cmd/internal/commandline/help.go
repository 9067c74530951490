package commandline

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"membersync/cmd/internal/flags"
)

// columns is the width of the help.
const columns = 100

// Help returns the help of a command: what it does, its form, examples, the commands below it, its
// own flags, and then each group of other flags.
func Help(c *cobra.Command) string {
	var b strings.Builder
	text := c.Long
	if text == "" {
		text = c.Short
	}
	b.WriteString(strings.TrimRight(text, "\n") + "\n\nUsage:\n  " + c.UseLine() + "\n")
	if c.Example != "" {
		b.WriteString("\nExamples:\n" + strings.TrimRight(c.Example, "\n") + "\n")
	}
	if c.HasAvailableSubCommands() {
		b.WriteString("\nCommands:\n" + list(c))
	}
	for _, group := range groups(c.Flags()) {
		b.WriteString("\n" + title(group) + ":\n" + usages(c.Flags(), group))
	}
	if c.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "\nUse \"%s COMMAND --help\" for the help of a command.\n", c.CommandPath())
	}
	return b.String()
}

// list returns a line for each command below c. To cobra, help itself is not available.
func list(c *cobra.Command) string {
	var b strings.Builder
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() || sub.Name() == "help" {
			fmt.Fprintf(&b, "  %-*s   %s\n", sub.NamePadding(), sub.Name(), sub.Short)
		}
	}
	return b.String()
}

// groups returns the groups of the flags, the command's own first.
func groups(all *pflag.FlagSet) []string {
	found := []string{""}
	all.VisitAll(func(f *pflag.Flag) {
		if group := flags.Group(f); !slices.Contains(found, group) {
			found = append(found, group)
		}
	})
	return found
}

func title(group string) string {
	if group == "" {
		return "Flags"
	}
	return group
}

func usages(all *pflag.FlagSet, group string) string {
	some := pflag.NewFlagSet("", pflag.ContinueOnError)
	some.SortFlags = false
	all.VisitAll(func(f *pflag.Flag) {
		if flags.Group(f) == group {
			some.AddFlag(f)
		}
	})
	return some.FlagUsagesWrapped(columns)
}

// quote shows a word of the command line without control characters.
func quote(text string) string { return strconv.Quote(text) }
