package e2e

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// command is a command of the program for whoever is on call, with the settings of the service.
func (r *rig) command(args ...string) *process {
	r.t.Helper()
	return newProcess(r.t, r.variables, args...)
}

// begin starts a command.
func (r *rig) begin(args ...string) *process {
	r.t.Helper()
	p := r.command(args...)
	p.launch()
	return p
}

// do runs a command and returns its exit status.
func (r *rig) do(args ...string) (status int, stdout, stderr string) {
	r.t.Helper()
	p := r.begin(args...)
	status = p.status()
	return status, p.results.String(), p.out.String()
}

// status waits for the end and returns the exit status.
func (p *process) status() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatalf("%q has not ended after %v: %s", p.cmd.Args[1:], patience, p.out)
	}
	return p.cmd.ProcessState.ExitCode()
}

// must runs a command that has to end well, and returns the objects that it prints.
func (r *rig) must(args ...string) []map[string]any {
	r.t.Helper()
	status, stdout, stderr := r.do(append(args, "-o", "json")...)
	if status != 0 {
		r.t.Errorf("%q: status %d: %s", args, status, stderr)
	}
	return objects(r.t, stdout)
}

// objects parses json output.
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

// text is a member of an object; its numbers are written as numbers.
func text(object map[string]any, name string) string {
	switch value := object[name].(type) {
	case nil:
		return ""
	case string:
		return value
	default:
		raw, _ := json.Marshal(value) //nolint:errchkjson // it was parsed from JSON
		return string(raw)
	}
}
