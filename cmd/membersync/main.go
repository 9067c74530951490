// Command membersync takes employee changes from a Kafka topic to the CRM. See
// membersync --help.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"membersync/cmd/internal/cli"
	"membersync/cmd/internal/terminal"
)

// version and revision are set by the linker.
var (
	version  string
	revision string //nolint:gochecknoglobals // as version, which the linter knows
)

func main() {
	os.Exit(cli.Run(context.Background(), os.Args[1:], cli.Env{
		Stdin:          os.Stdin,
		Stdout:         os.Stdout,
		Stderr:         os.Stderr,
		Environ:        os.Environ(),
		ReadFile:       os.ReadFile,
		Version:        version,
		Revision:       revision,
		Terminal:       terminal.Is(os.Stdin) && terminal.Is(os.Stderr),
		StdoutTerminal: terminal.Is(os.Stdout),
		StartPager: func(command string) (io.WriteCloser, error) {
			return terminal.StartPager(command, os.Stdout, os.Stderr)
		},
		Notify: func(c chan<- os.Signal) { signal.Notify(c, os.Interrupt, syscall.SIGTERM) },
		Exit:   os.Exit,

		SetMemoryLimit: debug.SetMemoryLimit,
		SetGCPercent:   debug.SetGCPercent,
	}))
}
