package e2e

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"membersync/cmd/internal/test/testbed/servicetest"
)

// command returns an on-call command with the settings of the service.
func (r *rig) command(args ...string) *process {
	r.t.Helper()
	return newProcess(r.t, r.Variables, args...)
}

// begin starts a command.
func (r *rig) begin(args ...string) *process {
	r.t.Helper()
	p := r.command(args...)
	p.launch()
	return p
}

// do runs a command and returns its exit status and output.
func (r *rig) do(args ...string) (status int, stdout, stderr string) {
	r.t.Helper()
	p := r.begin(args...)
	status = p.status()
	return status, p.results.String(), p.out.String()
}

// status waits for the end and returns the exit status.
func (p *process) status() int {
	p.t.Helper()
	ctx, cancel := context.WithTimeoutCause(p.t.Context(), servicetest.Limit, errWaitLimit)
	defer cancel()
	status, err := p.Wait(ctx)
	if err != nil {
		p.t.Fatalf("%v: %s", err, p.out)
	}
	return status
}

// must runs a command that must succeed, and returns the objects that it prints.
func (r *rig) must(args ...string) []map[string]any {
	r.t.Helper()
	status, stdout, stderr := r.do(append(args, "-o", "json")...)
	if status != 0 {
		r.t.Errorf("%q: status %d: %s", args, status, stderr)
	}
	return objects(r.t, stdout)
}

// objects parses JSON output.
func objects(t *testing.T, text string) []map[string]any {
	t.Helper()
	var all []map[string]any
	for line := range strings.Lines(text) {
		var one map[string]any
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		all = append(all, one)
	}
	return all
}

// text returns a member of an object. Numbers are returned in decimal.
func text(object map[string]any, name string) string {
	switch value := object[name].(type) {
	case nil:
		return ""
	case string:
		return value
	default:
		raw, _ := json.Marshal(value) //nolint:errchkjson // parsed from JSON
		return string(raw)
	}
}
