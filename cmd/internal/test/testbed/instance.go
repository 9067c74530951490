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
	"time"
)

// ErrEnded means that an instance ended by itself.
var ErrEnded = errors.New("testbed: the instance has ended")

// An Instance is one process of the service. It is safe for concurrent use.
type Instance struct {
	cmd   *exec.Cmd
	log   string
	admin string
	began time.Time
	done  chan struct{} // closed when it has ended and was waited for
}

// start starts the binary with only these variables. Its log goes to a file.
func (s *Testbed) start(ctx context.Context, variables map[string]string) (*Instance, error) {
	i, err := s.launch(variables)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, opLimit, errLimit)
	defer cancel()
	line, err := i.AwaitLog(ctx, "admin server listens")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting an instance: %w\n%s", err, i.tail()), i.Kill())
	}
	i.admin = "http://" + line.Addr
	return i, nil
}

func (s *Testbed) launch(variables map[string]string) (*Instance, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	log, err := os.Create(filepath.Join(s.dir, "instance-"+strconv.Itoa(len(s.instances)+1)+".log"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the process has a descriptor of its own
	i := &Instance{log: log.Name(), began: time.Now(), done: make(chan struct{})}
	i.cmd = exec.Command(s.binary, "run") //nolint:gosec,noctx // built here; it is ended by signals, at the latest by Close
	i.cmd.Stdout, i.cmd.Stderr = log, log
	i.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + s.dir}
	for name, value := range variables {
		i.cmd.Env = append(i.cmd.Env, "MEMBERSYNC_"+name+"="+value)
	}
	i.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C reaches only this program
	if err := i.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(i.done)
		_ = i.cmd.Wait()
	}()
	s.instances = append(s.instances, i)
	return i, nil
}

// PID returns the process id.
func (i *Instance) PID() int { return i.cmd.Process.Pid }

// Began returns when the process was started.
func (i *Instance) Began() time.Time { return i.began }

// LogFile returns the path of the log.
func (i *Instance) LogFile() string { return i.log }

// Done is closed when the process has ended.
func (i *Instance) Done() <-chan struct{} { return i.done }

// Usage returns what the process has used so far. It works only while the process runs.
func (i *Instance) Usage() (Usage, error) { return usageOf(i.PID()) }

// Signal sends a signal, such as SIGSTOP and SIGCONT for a process that stalls.
func (i *Instance) Signal(sig os.Signal) error { return i.cmd.Process.Signal(sig) }

// Kill sends SIGKILL and waits for the end. It does nothing if the process has ended.
func (i *Instance) Kill() error {
	if err := i.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-i.done
	return nil
}

// Terminate sends SIGTERM and waits for a clean stop, which is exit status 0.
func (i *Instance) Terminate(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, opLimit, errLimit)
	defer cancel()
	if err := i.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-i.done:
	case <-ctx.Done():
		return fmt.Errorf("waiting for the end of an instance: %w", context.Cause(ctx))
	}
	if status := i.cmd.ProcessState.ExitCode(); status != 0 {
		return fmt.Errorf("%w: status %d\n%s", ErrEnded, status, i.tail())
	}
	return nil
}
