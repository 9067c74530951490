package servicetest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"membersync/cmd/internal/test/testbed"
)

var errWaitLimit = errors.New("servicetest: the process takes too long")

// A Process is the binary in a process of its own, as the service or as a command.
type Process struct {
	*testbed.Process // nil before Launch

	Cmd      *exec.Cmd // may be changed before Launch
	Out, Err Output    // what it prints, unless Cmd was changed
	tb       testing.TB
}

// NewProcess returns the binary with only these settings, by their names without MEMBERSYNC_. Those
// of OpenTelemetry have their own names.
func NewProcess(tb testing.TB, binary string, settings map[string]string, args ...string) *Process {
	tb.Helper()
	p := &Process{tb: tb, Cmd: exec.Command(binary, args...)} //nolint:gosec,noctx // the test's own; end ends it
	p.Cmd.Stdout, p.Cmd.Stderr = &p.Out, &p.Err
	// By default a process with the race detector sleeps for a second before its end.
	own, others := make(map[string]string), []string{"TMPDIR=" + os.TempDir(), "USER=sample", "GORACE=atexit_sleep_ms=10"}
	for name, value := range settings {
		if strings.HasPrefix(name, "OTEL_") {
			others = append(others, name+"="+value)
		} else {
			own[name] = value
		}
	}
	p.Cmd.Env = testbed.Environ(own, others...)
	return p
}

// Launch starts the process. It ends with the test.
func (p *Process) Launch() {
	p.tb.Helper()
	var err error
	if p.Process, err = testbed.StartProcess(p.Cmd); err != nil {
		p.tb.Fatal(err)
	}
	p.tb.Cleanup(p.end)
}

// end makes sure that the process has ended, and logs the end of a service's output if the test has
// failed.
func (p *Process) end() {
	p.End()
	all := p.Err.String()
	if strings.Contains(all, "DATA RACE") {
		p.tb.Error("the race detector found a race in the process")
	}
	if p.tb.Failed() && p.Cmd.Args[1] == "run" {
		p.tb.Logf("the end of the service's log:\n%s", all[max(0, len(all)-6000):])
	}
}

// End sends SIGKILL. It does nothing if the process has ended.
func (p *Process) End() {
	p.tb.Helper()
	if err := p.Kill(); err != nil {
		p.tb.Error(err)
	}
}

// Stop sends SIGTERM, after which the status of a service must be 0.
func (p *Process) Stop() {
	p.tb.Helper()
	if status := p.ended(p.Terminate); status != 0 {
		p.tb.Errorf("status %d on SIGTERM, want 0", status)
	}
}

// Status waits for the end and returns the exit status.
func (p *Process) Status() int {
	p.tb.Helper()
	return p.ended(p.Wait)
}

func (p *Process) ended(wait func(context.Context) (int, error)) int {
	p.tb.Helper()
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(p.tb.Context()), Limit, errWaitLimit)
	defer cancel()
	status, err := wait(ctx)
	if err != nil {
		p.tb.Fatalf("%v: %s", err, &p.Err)
	}
	return status
}

// Await waits for a match in what the process prints to stderr after the first from bytes. It must
// not end before.
func (p *Process) Await(from int, pattern string) []string {
	p.tb.Helper()
	return p.Err.AwaitFrom(p.tb, from, pattern, p.Done())
}

// Admin waits until the service's admin server listens.
func (p *Process) Admin() testbed.Admin {
	p.tb.Helper()
	return testbed.Admin(p.Await(0, `"addr":"([^"]*)"`)[1])
}
