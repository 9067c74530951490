// Command manpages writes the man pages of membersync, one per command, into the folder that its
// argument names. The date of the pages is that of SOURCE_DATE_EPOCH in the environment (seconds
// since 1970), or else today.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"

	"membersync/cmd/internal/cli"
)

func main() {
	if err := write(os.Args[1:], os.Getenv("SOURCE_DATE_EPOCH")); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "manpages:", err)
		os.Exit(1)
	}
}

var errUsage = errors.New("want one argument, the folder to write to")

func write(args []string, epoch string) error {
	if len(args) != 1 {
		return errUsage
	}
	date := time.Now()
	if epoch != "" {
		seconds, err := strconv.ParseInt(epoch, 10, 64)
		if err != nil {
			return fmt.Errorf("invalid SOURCE_DATE_EPOCH: %w", err)
		}
		date = time.Unix(seconds, 0).UTC()
	}
	if err := os.MkdirAll(args[0], 0o755); err != nil { //nolint:gosec // everyone may read man pages
		return err
	}
	return page(cli.Root(), args[0], date)
}

// page writes the page of a command, and those of the commands below it. Pages are made from
// Markdown, to which <topic> is a tag and *** a line, so these characters are hidden from it.
func page(c *cobra.Command, dir string, date time.Time) error {
	hide := strings.NewReplacer("<", "&lt;", ">", "&gt;", "*", `\*`).Replace
	c.Short, c.Long, c.DisableAutoGenTag = hide(c.Short), hide(c.Long), true
	c.Flags().VisitAll(func(f *pflag.Flag) { f.Usage, f.DefValue = hide(f.Usage), hide(f.DefValue) })
	var text strings.Builder
	header := &doc.GenManHeader{Section: "1", Source: "membersync", Manual: "membersync", Date: &date}
	if err := doc.GenMan(c, header, &text); err != nil {
		return err
	}
	show := strings.NewReplacer("&lt;", "<", "&gt;", ">").Replace
	name := strings.ReplaceAll(c.CommandPath(), " ", "-") + "." + header.Section
	if err := os.WriteFile(filepath.Join(dir, name), []byte(show(text.String())), 0o644); err != nil { //nolint:gosec // everyone may read man pages
		return err
	}
	for _, sub := range c.Commands() {
		if err := page(sub, dir, date); err != nil {
			return err
		}
	}
	return nil
}
