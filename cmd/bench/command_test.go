package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"membersync/cmd/internal/test/goldentest"
)

// runHere runs the program without servers.
func runHere(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	status = run(t.Context(), args, env{stdin: strings.NewReader(""), stdout: &out, stderr: &err})
	return status, out.String(), err.String()
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--help"}, {"-h"}, {"help"}} {
		status, out, stderr := runHere(t, args...)
		if status != exitDone || stderr != "" {
			t.Errorf("%v: status %d, stderr %q", args, status, stderr)
		}
		goldentest.Compare(t, "testdata/bench.txt", out)
		for _, c := range commands() {
			if !strings.Contains(out, "  "+c.name) || c.about == "" {
				t.Errorf("%v: no line about %s", args, c.name)
			}
		}
	}
}

func TestHelpOfEachCommand(t *testing.T) {
	t.Parallel()
	for _, c := range commands() {
		status, out, _ := runHere(t, c.name, "--help")
		if status != exitDone || !strings.Contains(out, "--kafka host:port") || !strings.Contains(out, "-o, --output") {
			t.Errorf("%s: status %d, %s", c.name, status, out)
		}
		goldentest.Compare(t, "testdata/"+c.name+".txt", out)
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		nil,
		{"nothing"},
		{"speed", "--nothing"},
		{"speed", "more"},
		{"speed", "-o", "yaml"},
		{"memory", "--large", "many"},
		{bareName, "--nothing"},
	} {
		status, out, stderr := runHere(t, args...)
		if status != exitUsage || stderr == "" || out != "" {
			t.Errorf("%v: status %d, stdout %q, stderr %q", args, status, out, stderr)
		}
	}
}

// The function that a command runs is bound before its flags are parsed, but must see them. With
// the default options, each of these commands would try to start servers.
func TestFlagsComeAsFarAsTheMeasurement(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"speed":  {"--latencies", "soon"},
		"memory": {"--few", "0", "--many", "0"},
		"hang":   {"--rounds", "0"},
	} {
		for _, c := range commands() {
			if c.name != name {
				continue
			}
			flags := pflag.NewFlagSet(name, pflag.ContinueOnError)
			do := c.flags(flags)
			if err := flags.Parse(args); err != nil {
				t.Fatal(err)
			}
			_, err := do(t.Context(), nil)
			if wantError := name == "speed"; (err != nil) != wantError {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestExitStatus(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	missed := &report{}
	missed.atLeast("x", 1, 2)
	for name, tt := range map[string]struct {
		ctx    context.Context //nolint:containedctx // a table
		report *report
		err    error
		want   int
	}{
		"met":         {t.Context(), &report{}, nil, exitDone},
		"missed":      {t.Context(), missed, nil, exitFailed},
		"failed":      {t.Context(), nil, errors.New("broken"), exitFailed},
		"interrupted": {ended, nil, context.Canceled, exitInterrupted},
	} {
		var out, stderr bytes.Buffer
		if got := conclude(tt.ctx, tt.report, tt.err, "table", env{stdout: &out, stderr: &stderr}); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
		if (stderr.Len() > 0) != (tt.err != nil) {
			t.Errorf("%s: stderr %q", name, stderr.String())
		}
	}
}
