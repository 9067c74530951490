package e2e

import (
	"net/http"
	"testing"

	"membersync/cmd/internal/test/testbed"
	"membersync/cmd/internal/test/testbed/servicetest"
)

// A process is an instance of the service.
type process struct {
	*servicetest.Process
	testbed.Admin

	t *testing.T
}

// start starts the service with only these variables and waits until its admin server listens.
func start(t *testing.T, variables map[string]string) *process {
	t.Helper()
	p := &process{Process: servicetest.NewProcess(t, binary("membersync"), variables, "run"), t: t}
	p.Cmd.Stdout = &p.Err
	p.Launch()
	p.Admin = p.Process.Admin()
	return p
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
