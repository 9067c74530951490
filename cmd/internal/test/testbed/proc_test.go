package testbed

import (
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"
)

func TestPeakRSS(t *testing.T) {
	t.Parallel()
	for status, want := range map[string]int64{
		"Name:\tx\nVmPeak:\t  999 kB\nVmHWM:\t   43210 kB\nVmRSS:\t 1 kB\n": 43210 << 10,
		"VmHWM:\t0 kB\n":        0,
		"VmHWM:\t12 MB\n":       -1,
		"VmHWM:\tmany kB\n":     -1,
		"VmRSS:\t   43210 kB\n": -1,
		"":                      -1,
	} {
		got, err := parsePeakRSS(status)
		if want < 0 && !errors.Is(err, errProc) || want >= 0 && (err != nil || got != want) {
			t.Errorf("%q: %d, %v", status, got, err)
		}
	}
}

func TestCPU(t *testing.T) {
	t.Parallel()
	const rest = " S 1 2 3 4 5 6 7 8 9 10 123 45 999 999 20 0"
	for stat, want := range map[string]time.Duration{
		"17 (membersync)" + rest:            1680 * time.Millisecond,
		"17 (a name) S 8 8 8 (x)" + rest:    1680 * time.Millisecond,
		"17 (x) S 1 2 3":                    -1,
		"":                                  -1,
		"17 (x) S 1 2 3 4 5 6 7 8 9 10 a b": -1,
	} {
		got, err := parseCPU(stat)
		if want < 0 && !errors.Is(err, errProc) || want >= 0 && (err != nil || got != want) {
			t.Errorf("%q: %v, %v", stat, got, err)
		}
	}
}

func TestOwnUsage(t *testing.T) {
	t.Parallel()
	u, err := OwnUsage()
	if err != nil || u.PeakRSS < 1<<20 {
		t.Errorf("%+v, %v", u, err)
	}
	if _, err := usageOf(1 << 30); err == nil {
		t.Error("a process that cannot exist has a usage")
	}
}

func TestIsGone(t *testing.T) {
	t.Parallel()
	if isGone(os.Getpid()) {
		t.Error("this process is gone")
	}
	cmd := exec.CommandContext(t.Context(), "cat") // it ends with its input
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if isGone(cmd.Process.Pid) {
		t.Error("it still runs")
	}
	_ = in.Close()
	// No process has waited for it, so it is a zombie. A zombie counts as ended.
	gone := func() bool { return isGone(cmd.Process.Pid) }
	eventually(t, "the end of the process", gone)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if !gone() {
		t.Error("it was waited for, and is not gone")
	}
}
