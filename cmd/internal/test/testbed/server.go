package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// ErrForeign means that a server was given, so that it is not ours to stop.
var ErrForeign = errors.New("testbed: this server was given; only one that the stand has started can be stopped")

// A Server is the Kafka or the Redis of a stand. Its methods may be called from several goroutines; they act one
// after the other.
type Server struct {
	addr string // host:port
	via  string // what the instances are told instead; empty: addr
	up   string // what a proxy at via connects to

	mu    sync.Mutex
	root  string   // of the repository; empty: the server was given
	dir   string   // its folder
	name  string   // of the script
	start []string // its arguments to start
	ready []string // and, where starting does not wait, to wait
}

// Addr is where it listens.
func (s *Server) Addr() string { return s.addr }

// Upstream is what a proxy at Options.KafkaVia has to connect to; empty without one.
func (s *Server) Upstream() string { return s.up }

// Own reports whether the stand has started it.
func (s *Server) Own() bool { return s.root != "" }

// Start starts it again after Stop or Kill, on the same port, and waits until it answers. Kafka comes back with
// its data, Redis only with Options.AppendOnly.
func (s *Server) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.Own() {
		return ErrForeign
	}
	if err := s.script(ctx, s.start...); err != nil || len(s.ready) == 0 {
		return err
	}
	return s.script(ctx, s.ready...)
}

// Stop ends it gently and waits for its end. To stop what is stopped is no error.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.Own() {
		return ErrForeign
	}
	return s.script(ctx, "stop", s.dir)
}

// Kill is kill -9, and waits for its end.
func (s *Server) Kill(ctx context.Context) error { return s.signal(ctx, syscall.SIGKILL) }

// Freeze stops it where it is, as a host that stalls; Thaw lets it go on.
func (s *Server) Freeze(ctx context.Context) error { return s.signal(ctx, syscall.SIGSTOP) }

// Thaw ends Freeze.
func (s *Server) Thaw(ctx context.Context) error { return s.signal(ctx, syscall.SIGCONT) }

func (s *Server) signal(ctx context.Context, sig syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.Own() {
		return ErrForeign
	}
	pid, err := s.pid()
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, sig); err != nil || sig != syscall.SIGKILL {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, opLimit, errLimit)
	defer cancel()
	return Until(ctx, poll, func(context.Context) (bool, error) { return isGone(pid), nil })
}

// Usage is what the server has used so far, while it runs.
func (s *Server) Usage() (Usage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.Own() {
		return Usage{}, ErrForeign
	}
	pid, err := s.pid()
	if err != nil {
		return Usage{}, err
	}
	return usageOf(pid)
}

func (s *Server) pid() (int, error) {
	text, err := os.ReadFile(filepath.Join(s.dir, "pid"))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// script runs the server's script in .ci with a process group of its own: Ctrl-C is for this program, which ends
// what it has started in its own order.
func (s *Server) script(ctx context.Context, args ...string) error {
	_, err := run(ctx, s.root, filepath.Join(s.root, ".ci", s.name), args...)
	return err
}

// run runs a command to its end and returns what it printed.
func run(ctx context.Context, dir, name string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, commandLimit, errLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // a script of the repository, or go
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // with what it has started
	cmd.WaitDelay = opLimit
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), strings.Join(args, " "), err, out)
	}
	return out, nil
}
