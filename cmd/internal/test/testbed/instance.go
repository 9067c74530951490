package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
)

// ErrEnded means that an instance ended by itself.
var ErrEnded = errors.New("testbed: the instance has ended")

// An Instance is one process of the service. It is safe for concurrent use.
type Instance struct {
	*Process
	Admin
	log string // path
}

// start starts a binary with only these variables. Its log goes to a file.
func (s *Testbed) start(ctx context.Context, binary string, variables map[string]string) (*Instance, error) {
	i, err := s.launch(binary, variables)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, opLimit, errLimit)
	defer cancel()
	line, err := i.AwaitLog(ctx, "admin server listens")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting an instance: %w\n%s", err, i.Tail()), i.Kill())
	}
	i.Admin = Admin(line.Addr)
	return i, nil
}

func (s *Testbed) launch(binary string, variables map[string]string) (*Instance, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	log, err := os.Create(filepath.Join(s.dir, "instance-"+strconv.Itoa(len(s.instances)+1)+".log"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the process has a descriptor of its own
	cmd := exec.Command(binary, "run") //nolint:noctx // it is ended by signals, at the latest by Close
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = Environ(variables, "TMPDIR="+s.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C reaches only this program
	process, err := StartProcess(cmd)
	if err != nil {
		return nil, err
	}
	i := &Instance{Process: process, log: log.Name()}
	s.instances = append(s.instances, i)
	return i, nil
}

// command starts a binary with other arguments than run. Its output is not kept.
func (s *Testbed) command(binary string, variables map[string]string, args ...string) (*Process, error) {
	cmd := exec.Command(binary, args...) //nolint:gosec,noctx // built here or given; the caller ends it
	cmd.Env = Environ(variables, "TMPDIR="+s.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return StartProcess(cmd)
}

// Terminate sends SIGTERM and waits for a clean stop, which is exit status 0.
func (i *Instance) Terminate(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, opLimit, errLimit)
	defer cancel()
	status, err := i.Process.Terminate(ctx)
	if err == nil && status != 0 {
		err = fmt.Errorf("%w: status %d\n%s", ErrEnded, status, i.Tail())
	}
	return err
}
