package e2e

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"membersync/cmd/internal/test/testbed"
	"membersync/cmd/internal/test/testbed/servicetest"
)

var errWaitLimit = errors.New("the process takes too long")

// A process is a running program: an instance of the service, or a command.
type process struct {
	*testbed.Process // nil before launch
	testbed.Admin    // of the service's admin server

	t       *testing.T
	cmd     *exec.Cmd
	out     *servicetest.Output // stderr, and of the service stdout too
	results *servicetest.Output // stdout
}

// start starts the service with only these variables and waits until its admin server listens.
func start(t *testing.T, variables map[string]string) *process {
	t.Helper()
	p := newProcess(t, variables, "run")
	p.results = p.out
	p.launch()
	p.Admin = testbed.Admin(p.await(`"addr":"([^"]*)"`)[1])
	return p
}

// newProcess returns the binary with only these variables. It is not started.
func newProcess(t *testing.T, variables map[string]string, args ...string) *process {
	t.Helper()
	p := &process{t: t, out: &servicetest.Output{}, results: &servicetest.Output{}}
	p.cmd = exec.Command(binary("membersync"), args...) //nolint:gosec,noctx // our own; it is ended by signals, which is what is tested
	// By default a process with the race detector sleeps for a second before its end.
	p.cmd.Env = testbed.Environ(variables, "TMPDIR="+os.TempDir(), "GORACE=atexit_sleep_ms=10")
	return p
}

func (p *process) launch() {
	p.t.Helper()
	p.cmd.Stdout = p.results
	if p.cmd.Stderr == nil {
		p.cmd.Stderr = p.out
	}
	var err error
	if p.Process, err = testbed.StartProcess(p.cmd); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(p.end)
}

// end makes sure that the process has ended, and logs its output if the test failed.
func (p *process) end() {
	p.kill()
	all := p.out.String()
	if strings.Contains(all, "DATA RACE") {
		p.t.Error("the race detector found a race in the process")
	}
	if p.t.Failed() && p.results == p.out {
		p.t.Logf("the end of the output of process %d:\n%s", p.cmd.Process.Pid, all[max(0, len(all)-4000):])
	}
}

// await waits until the output matches.
func (p *process) await(pattern string) []string {
	p.t.Helper()
	return p.out.Await(p.t, pattern, p.Done())
}

// awaitReady waits until the process has joined the group.
func (p *process) awaitReady() {
	p.t.Helper()
	servicetest.Eventually(p.t, "the process to be ready", func() bool {
		status, _ := p.get("/readyz")
		return status == http.StatusOK
	})
}

// get sends a GET request to the admin server.
func (p *process) get(path string) (int, string) {
	p.t.Helper()
	status, body, err := p.Get(p.t.Context(), path)
	if err != nil {
		p.t.Fatal(err)
	}
	return status, body
}

// kill sends SIGKILL. It does nothing if the process has ended.
func (p *process) kill() {
	p.t.Helper()
	if err := p.Kill(); err != nil {
		p.t.Error(err)
	}
}

// terminate sends SIGTERM and checks for a clean stop.
func (p *process) terminate() {
	p.t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeoutCause(p.t.Context(), servicetest.Limit, errWaitLimit)
	defer cancel()
	status, err := p.Terminate(ctx)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Logf("ended %.1f s after SIGTERM", time.Since(began).Seconds())
	if status != 0 {
		p.t.Errorf("status %d on SIGTERM, want 0", status)
	}
}
