// Package terminal is what the programs need of the terminal that they run on.
package terminal

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/term"
)

// Is reports whether a file is a terminal. Other character devices, such as /dev/null, are not.
func Is(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// StartPager starts a shell command that reads what is written, and shows it on stdout. Close ends
// the input and waits until the command has ended. An error of Write means that the command has
// ended early.
func StartPager(command string, stdout, stderr io.Writer) (io.WriteCloser, error) {
	program, _, _ := strings.Cut(strings.TrimSpace(command), " ")
	if _, err := exec.LookPath(program); err != nil && !strings.Contains(program, "=") {
		return nil, fmt.Errorf("pager: %w", err)
	}
	// Ctrl-C is for the pager: it ends when its input has ended and the user has seen enough.
	cmd := exec.CommandContext(context.Background(), "sh", "-c", command) //nolint:gosec // the user's own
	cmd.Stdout, cmd.Stderr = stdout, stderr
	input, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("pager: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("pager: %w", err)
	}
	return &pager{input, cmd}, nil
}

type pager struct {
	io.WriteCloser

	cmd *exec.Cmd
}

// Close implements [io.Closer].
func (p *pager) Close() error {
	_ = p.WriteCloser.Close() // it fails if the command has ended already
	return p.cmd.Wait()
}
