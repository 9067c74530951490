package testbed

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Usage is what a process has used so far.
type Usage struct {
	PeakRSS int64         // bytes: VmHWM
	CPU     time.Duration // user and system, in steps of 10 ms
}

// OwnUsage returns what this program has used so far, including a fake CRM that it serves.
func OwnUsage() (Usage, error) { return usageOf(os.Getpid()) }

var errProc = errors.New("testbed: /proc does not look as expected")

// usageOf reads /proc of a running process.
func usageOf(pid int) (Usage, error) {
	dir := "/proc/" + strconv.Itoa(pid)
	status, err := os.ReadFile(dir + "/status") //nolint:gosec // a number
	if err != nil {
		return Usage{}, err
	}
	stat, err := os.ReadFile(dir + "/stat") //nolint:gosec // a number
	if err != nil {
		return Usage{}, err
	}
	rss, err1 := parsePeakRSS(string(status))
	cpu, err2 := parseCPU(string(stat))
	return Usage{PeakRSS: rss, CPU: cpu}, errors.Join(err1, err2)
}

// parsePeakRSS finds VmHWM in /proc/PID/status.
func parsePeakRSS(status string) (int64, error) {
	for line := range strings.Lines(status) {
		name, value, _ := strings.Cut(line, ":")
		if name != "VmHWM" {
			continue
		}
		kB, ok := strings.CutSuffix(strings.TrimSpace(value), " kB")
		n, err := strconv.ParseInt(kB, 10, 64)
		if !ok || err != nil {
			return 0, fmt.Errorf("%w: VmHWM", errProc)
		}
		return n << 10, nil
	}
	return 0, fmt.Errorf("%w: no VmHWM", errProc)
}

// tick is the unit of times in /proc: Linux reports 100 Hz to programs on every machine.
const tick = 10 * time.Millisecond

// parseCPU adds utime and stime of /proc/PID/stat. The name, in parentheses, may hold any
// character.
func parseCPU(stat string) (time.Duration, error) {
	const utime, stime = 11, 12 // counted from the state, after the name
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) <= stime {
		return 0, fmt.Errorf("%w: stat", errProc)
	}
	user, err1 := strconv.ParseInt(fields[utime], 10, 64)
	system, err2 := strconv.ParseInt(fields[stime], 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return 0, fmt.Errorf("%w: stat: %w", errProc, err)
	}
	return time.Duration(user+system) * tick, nil
}

// isGone reports whether a process has ended. A zombie counts as ended.
func isGone(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return true
	}
	after := strings.TrimSpace(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	return strings.HasPrefix(after, "Z") || strings.HasPrefix(after, "X")
}
