package e2e

import (
	"encoding/json"
	"strings"
	"testing"

	"membersync/cmd/internal/test/testbed/servicetest"
)

// A cli runs the on-call commands with the settings of the service.
type cli struct {
	t         *testing.T
	variables map[string]string // without MEMBERSYNC_
}

// command returns a command that is not started.
func (c *cli) command(args ...string) *servicetest.Process {
	c.t.Helper()
	return servicetest.NewProcess(c.t, binary("membersync"), c.variables, args...)
}

// begin starts a command.
func (c *cli) begin(args ...string) *servicetest.Process {
	c.t.Helper()
	p := c.command(args...)
	p.Launch()
	return p
}

// do runs a command and returns its exit status and output.
func (c *cli) do(args ...string) (status int, stdout, stderr string) {
	c.t.Helper()
	p := c.begin(args...)
	status = p.Status()
	return status, p.Out.String(), p.Err.String()
}

// must runs a command that must succeed, and returns the objects that it prints.
func (c *cli) must(args ...string) []map[string]any {
	c.t.Helper()
	status, stdout, stderr := c.do(append(args, "-o", "json")...)
	if status != 0 {
		c.t.Errorf("%q: status %d: %s", args, status, stderr)
	}
	return objects(c.t, stdout)
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
