package monitoring

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"membersync/cmd/internal/test/testbed/servicetest"
)

// build compiles the binary.
func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "membersync")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "membersync/cmd/membersync") //nolint:gosec // fixed words
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	return binary
}

// launch starts the binary with just the state's settings. The pairs of names and values given
// replace them.
func (s *state) launch(pairs []string, args ...string) *servicetest.Process {
	s.t.Helper()
	settings := maps.Clone(s.Variables)
	for i := 0; i+1 < len(pairs); i += 2 {
		settings[pairs[i]] = pairs[i+1]
	}
	p := servicetest.NewProcess(s.t, s.binary, settings, args...)
	p.Launch()
	return p
}

// run starts the service and waits until Prometheus has scraped it: later events raise counters.
func (s *state) run(pairs ...string) {
	s.t.Helper()
	p := s.launch(pairs, "run")
	s.prometheus.scrapes(s.t, s.name, string(p.Admin()))
}

// ui starts the web pages.
func (s *state) ui() {
	s.t.Helper()
	p := s.launch([]string{"UI_ADDR", "127.0.0.1:0"}, "ui")
	s.prometheus.scrapes(s.t, s.name+"-ui", p.Out.Await(s.t, `http://([^/]*)/`, p.Done())[1])
}

var errCommand = errors.New("the command takes too long")

// command runs a command to its end, and returns its output.
func (s *state) command(args ...string) (status int, out string) {
	s.t.Helper()
	p := s.launch(nil, args...)
	ctx, cancel := context.WithTimeoutCause(s.t.Context(), time.Minute, errCommand)
	defer cancel()
	status, err := p.Wait(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	return status, p.Out.String()
}

// must runs a command that has to end with status 0.
func (s *state) must(args ...string) {
	s.t.Helper()
	if status, out := s.command(args...); status != 0 {
		s.t.Fatalf("%q: status %d: %s", args, status, out)
	}
}

// cause is what membersync status reports.
func (s *state) cause() string {
	s.t.Helper()
	_, out := s.command("status", "-o", "json")
	var answer struct {
		Cause string `json:"cause"`
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		s.t.Fatalf("%v: %s", err, out)
	}
	return answer.Cause
}
