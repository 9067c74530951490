package commandline

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"membersync/cmd/internal/flags"
)

// shells are those for which there is completion, with what writes the script.
func shells(root *cobra.Command) map[string]func(io.Writer) error {
	return map[string]func(io.Writer) error{
		"bash":       func(w io.Writer) error { return root.GenBashCompletionV2(w, true) },
		"zsh":        root.GenZshCompletion,
		"fish":       func(w io.Writer) error { return root.GenFishCompletion(w, true) },
		"powershell": root.GenPowerShellCompletionWithDesc,
	}
}

func (t *Tree) completionCommand() *cobra.Command {
	name := t.root.Name()
	known := []string{"bash", "zsh", "fish", "powershell"}
	c := &cobra.Command{
		Use:   "completion SHELL",
		Short: "print the completion script for a shell",
		Long: "Print the completion script for a shell: " + flags.Alternatives(known) + ".\n" +
			"The script completes commands, flags, and the values of flags that take one of several words.\n" +
			"Bash needs the package bash-completion.",
		Example: fmt.Sprintf("  # bash: for this session, and for all\n"+
			"  source <(%[1]s completion bash)\n"+
			"  %[1]s completion bash > /etc/bash_completion.d/%[1]s\n\n"+
			"  # zsh: for all sessions\n"+
			"  %[1]s completion zsh > \"${fpath[1]}/_%[1]s\"", name),
		ValidArgs: known,
	}
	t.Runs(c, nil, func(_ context.Context, args []string, faults []flags.Fault) int {
		if len(faults) == 0 && (len(args) != 1 || !slices.Contains(known, args[0])) {
			faults = []flags.Fault{{Text: "give one shell: " + flags.Alternatives(known)}}
		}
		if t.Refuse(c, nil, 0, faults) {
			return ExitUsage
		}
		if err := shells(t.root)[args[0]](t.Out); err != nil {
			t.complain(c, "stdout: "+err.Error())
			return 1
		}
		return 0
	})
	return c
}

// completeFlags has the words of flags completed, and files only for flags that name one: for c and
// the commands below it. Cobra keeps that for as long as the process runs, so it is left for when
// something is to be completed.
func completeFlags(c *cobra.Command) {
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Value.Type() == flags.Path {
			return // files are the default
		}
		_ = c.RegisterFlagCompletionFunc(f.Name, completion(f)) // it fails only for a flag that is not there
	})
	for _, sub := range c.Commands() {
		completeFlags(sub)
	}
}

func completion(f *pflag.Flag) cobra.CompletionFunc {
	words := flags.Words(f)
	if f.Value.Type() == "bool" {
		words = []string{"true", "false"}
	}
	return func(_ *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		before := ""
		if f.Value.Type() == "strings" {
			before = begun[:strings.LastIndex(begun, ",")+1]
		}
		var found []string
		for _, word := range words {
			given := slices.Contains(strings.Split(before, ","), word)
			if all := before + word; !given && strings.HasPrefix(all, begun) {
				found = append(found, all)
			}
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}
