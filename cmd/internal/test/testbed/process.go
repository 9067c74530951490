package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// A Process is a started program. It is safe for concurrent use.
type Process struct {
	cmd   *exec.Cmd
	began time.Time
	done  chan struct{} // closed when it has ended and was waited for
}

// StartProcess starts a command. It belongs to the process from then on.
func StartProcess(cmd *exec.Cmd) (*Process, error) {
	p := &Process{cmd: cmd, began: time.Now(), done: make(chan struct{})}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.done)
		_ = cmd.Wait()
	}()
	return p, nil
}

// Environ returns the environment of a membersync process: PATH, the settings by their names
// without MEMBERSYNC_, and further variables.
func Environ(settings map[string]string, more ...string) []string {
	environ := append([]string{"PATH=" + os.Getenv("PATH")}, more...)
	for name, value := range settings {
		environ = append(environ, "MEMBERSYNC_"+name+"="+value)
	}
	return environ
}

// Began returns when the process was started.
func (p *Process) Began() time.Time { return p.began }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// State returns the exit status and the resource usage. The process must have ended, see Done.
func (p *Process) State() *os.ProcessState { return p.cmd.ProcessState }

// Usage returns what the process has used so far. It works only while the process runs.
func (p *Process) Usage() (Usage, error) { return usageOf(p.cmd.Process.Pid) }

// Signal sends a signal, such as SIGSTOP and SIGCONT for a process that stalls.
func (p *Process) Signal(sig os.Signal) error { return p.cmd.Process.Signal(sig) }

// Kill sends SIGKILL and waits for the end. It does nothing if the process has ended.
func (p *Process) Kill() error {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-p.done
	return nil
}

// Wait waits for the end and returns the exit status.
func (p *Process) Wait(ctx context.Context) (status int, err error) {
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-ctx.Done():
		return 0, fmt.Errorf("waiting for the end of %q: %w", p.cmd.Args[1:], context.Cause(ctx))
	}
}

// Terminate sends SIGTERM, waits for the end and returns the exit status.
func (p *Process) Terminate(ctx context.Context) (status int, err error) {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return 0, err
	}
	return p.Wait(ctx)
}
