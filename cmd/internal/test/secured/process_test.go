package secured

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"testing"

	"membersync/cmd/internal/test/testbed"
	"membersync/cmd/internal/test/testbed/servicetest"
)

var errWaitLimit = errors.New("the process takes too long")

// A process is the binary, as the service or as a command.
type process struct {
	*testbed.Process

	t        *testing.T
	args     []string
	out, err servicetest.Output
}

// launch starts the binary with just these variables.
func launch(t *testing.T, binary string, variables map[string]string, args ...string) *process {
	t.Helper()
	p := &process{t: t, args: args}
	cmd := exec.Command(binary, args...) //nolint:gosec,noctx // built here; end ends it
	cmd.Stdout, cmd.Stderr = &p.out, &p.err
	// By default a process with the race detector sleeps for a second before its end.
	cmd.Env = testbed.Environ(variables, "TMPDIR="+os.TempDir(), "USER=sample", "GORACE=atexit_sleep_ms=10")
	var err error
	if p.Process, err = testbed.StartProcess(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.end)
	return p
}

// end kills the process if it still runs, and shows its output if the test has failed.
func (p *process) end() {
	if err := p.Kill(); err != nil {
		p.t.Error(err)
	}
	if all := p.err.String(); p.t.Failed() && p.args[0] == "run" {
		p.t.Logf("the end of the service's log:\n%s", all[max(0, len(all)-6000):])
	}
}

// status waits for the end and returns the exit status.
func (p *process) status() int {
	p.t.Helper()
	return p.ended(p.Wait)
}

// terminate ends the service by SIGTERM, after which its status must be 0.
func (p *process) terminate() {
	p.t.Helper()
	if status := p.ended(p.Terminate); status != 0 {
		p.t.Errorf("status %d on SIGTERM, want 0", status)
	}
}

func (p *process) ended(wait func(context.Context) (int, error)) int {
	p.t.Helper()
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(p.t.Context()), servicetest.Limit, errWaitLimit)
	defer cancel()
	status, err := wait(ctx)
	if err != nil {
		p.t.Fatalf("%v: %s", err, p.err.String())
	}
	return status
}

// logged is how much the process has logged so far, for await.
func (p *process) logged() int { return len(p.err.String()) }

// await waits for a match in what the process logs from a place on, and returns it. The process
// must not end before.
func (p *process) await(from int, pattern string) string {
	p.t.Helper()
	return p.err.AwaitFrom(p.t, from, pattern, p.Done())[0]
}

// isPaused reports whether the service pauses for a cause.
func (p *process) isPaused(cause string) bool {
	p.t.Helper()
	admin := testbed.Admin(p.err.Await(p.t, `"addr":"([^"]*)"`, p.Done())[1])
	metrics, err := admin.Metrics(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	return metrics.Sum("membersync_paused", `cause="`+cause+`"`) > 0
}
