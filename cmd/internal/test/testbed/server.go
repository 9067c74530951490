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

// ErrForeign means that the server was given to the testbed, which must not stop it.
var ErrForeign = errors.New("testbed: this server was given; only a server that the testbed started can be stopped")

// A Server is the Kafka or the Redis of a testbed. It is safe for concurrent use: one method runs
// at a time.
type Server struct {
	addr string // host:port
	via  string // what the instances connect to; empty: addr
	up   string // what a proxy at via connects to

	mu    sync.Mutex
	root  string   // of the repository; empty if the server was given
	dir   string   // its folder
	name  string   // of the script
	start []string // arguments that start it
	ready []string // arguments that wait until it runs; nil if start waits
}

// Addr returns the host:port.
func (s *Server) Addr() string { return s.addr }

// Upstream returns the host:port to which a proxy at Options.KafkaVia must connect. Empty without a
// proxy.
func (s *Server) Upstream() string { return s.up }

// Own reports whether the testbed started the server.
func (s *Server) Own() bool { return s.root != "" }

// Start starts the server again after Stop or Kill, on the same port, and waits until it responds.
// Kafka keeps its data; Redis does so only with Options.AppendOnly.
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

// Stop stops the server with SIGTERM and waits for its end. It does nothing if the server is
// stopped.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.Own() {
		return ErrForeign
	}
	return s.script(ctx, "stop", s.dir)
}

// Kill sends SIGKILL and waits for the end.
func (s *Server) Kill(ctx context.Context) error { return s.signal(ctx, syscall.SIGKILL) }

// Freeze suspends the process, as when its host stalls. Thaw resumes it.
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

// Usage returns what the server has used so far. It must be running.
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

// script runs the server's script in .ci in its own process group, so that Ctrl-C reaches only this
// program, which stops what it started in order.
func (s *Server) script(ctx context.Context, args ...string) error {
	_, err := run(ctx, s.root, filepath.Join(s.root, ".ci", s.name), args...)
	return err
}

// run runs a command to its end and returns its output.
func run(ctx context.Context, dir, name string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, commandLimit, errLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // a script of the repository, or go
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // with its child processes
	cmd.WaitDelay = opLimit
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), strings.Join(args, " "), err, out)
	}
	return out, nil
}
