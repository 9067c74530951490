package main

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"membersync/cmd/internal/test/goldentest"
)

func TestHelp(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"devstack": {"--help"}, "fakecrm": {"fakecrm", "--help"}, "produce": {"produce", "-h"}, "probe": {"probe", "--help"},
		"env": {"env", "--help"}, "send": {"send", "--help"},
	} {
		status, out, errs := call(t, args...)
		if status != exitDone || errs != "" {
			t.Errorf("%s: status %d, stderr %q", name, status, errs)
		}
		goldentest.Compare(t, "testdata/"+name+".txt", out)
	}
}

func TestBadUsage(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"redis"}, `unknown command "redis"`},
		{[]string{"produce", "now"}, "1 argument given, none allowed"},
		{[]string{"--port", "1"}, "--port: unknown flag"},
		{[]string{"--rate", "x"}, "--rate: should be a number"},
		{[]string{"--rate", "-1"}, "--rate"},
		{[]string{"--count", "-1"}, "--count"},
		{[]string{"send"}, "give the path of a file"},
		{[]string{"send", "a", "b"}, "2 arguments given"},
		{[]string{"produce", "--rate", "0"}, "--rate"},
		{[]string{"produce", "--count", "-1"}, "--count"},
		{[]string{"fakecrm", "--addr", "nowhere"}, "nowhere"},
		{[]string{"--crm-api", "graph"}, "--crm-api: should be user or object"},
		{[]string{"fakecrm", "--crm-api", ""}, "--crm-api: should be user or object"},
	} {
		status, out, errs := call(t, tt.args...)
		if status != exitUsage || out != "" || !strings.HasPrefix(errs, "devstack") || !strings.Contains(errs, tt.want) {
			t.Errorf("%v: status %d, stdout %q, stderr %q", tt.args, status, out, errs)
		}
	}
}

func TestABadLogLevelIsTheServicesToRefuse(t *testing.T) {
	t.Parallel()
	status, _, errs := call(t, "--once", "--log-level", "loud")
	if status != exitUsage || !strings.Contains(errs, "MEMBERSYNC_LOG_LEVEL") {
		t.Errorf("status %d, stderr %q", status, errs)
	}
}

func TestSignals(t *testing.T) {
	t.Parallel()
	for signal, want := range map[os.Signal]int{os.Interrupt: exitInterrupted, syscall.SIGTERM: exitDone} {
		p := start(t, "fakecrm", "--addr", "127.0.0.1:0")
		p.await(t, "/_fake/members")
		p.signals <- signal
		if got := <-p.status; got != want {
			t.Errorf("%s: status %d, want %d", signal, got, want)
		}
	}
}
