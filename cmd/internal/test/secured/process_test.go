package secured

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// limit bounds each wait. What is waited for comes within seconds.
const limit = 30 * time.Second

// A process is the binary, as the service or as a command.
type process struct {
	t        *testing.T
	cmd      *exec.Cmd
	out, err output
	done     chan struct{}
}

// launch starts the binary with just these variables.
func launch(t *testing.T, binary string, environ []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, done: make(chan struct{})}
	p.cmd = exec.Command(binary, args...) //nolint:gosec,noctx // built here; end ends it
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Env = &p.out, &p.err, environ
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait()
	}()
	t.Cleanup(p.end)
	return p
}

// end kills the process if it still runs, and shows its output if the test has failed.
func (p *process) end() {
	_ = p.cmd.Process.Kill()
	<-p.done
	if all := p.err.String(); p.t.Failed() && p.isService() {
		p.t.Logf("the end of the service's log:\n%s", all[max(0, len(all)-6000):])
	}
}

func (p *process) isService() bool { return p.cmd.Args[1] == "run" }

// status waits for the end and returns the exit status.
func (p *process) status() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(limit):
		p.t.Fatalf("%q has not ended after %v: %s", p.cmd.Args[1:], limit, p.err.String())
	}
	return p.cmd.ProcessState.ExitCode()
}

// terminate ends the service by SIGTERM, after which its status must be 0.
func (p *process) terminate() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	if status := p.status(); status != 0 {
		p.t.Errorf("status %d on SIGTERM, want 0", status)
	}
}

// await waits for a match in what the process logs from a place on, and returns it. The process must
// not end.
func (p *process) await(from int, pattern string) string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	var found string
	eventually(p.t, pattern+" in the log", func() bool {
		select {
		case <-p.done:
			p.t.Fatalf("the process has ended with status %d: %s", p.cmd.ProcessState.ExitCode(), p.err.String())
		default:
		}
		found = re.FindString(p.err.String()[from:])
		return found != ""
	})
	return found
}

// metrics returns what /metrics shows.
func (p *process) metrics() string {
	p.t.Helper()
	addr := regexp.MustCompile(`"addr":"([^"]*)"`).FindStringSubmatch(p.err.String())
	if addr == nil {
		return ""
	}
	request, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, "http://"+addr[1]+"/metrics", http.NoBody)
	if err != nil {
		p.t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(text)
}

// isPaused reports whether the service pauses for a cause.
func (p *process) isPaused(cause string) bool {
	return strings.Contains(p.metrics(), `membersync_paused{cause="`+cause+`"} 1`)
}

// eventually asks until the answer is yes.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	timeout := time.After(limit)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("waited %v for %s", limit, what)
		}
	}
}

// An output can be read while it is written.
type output struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

// Write implements [io.Writer].
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buffer.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buffer.String()
}

// environment is that of a process: nothing of the test's own but what programs need.
func environment(variables map[string]string) []string {
	environ := []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir(), "USER=sample", "GORACE=atexit_sleep_ms=10"}
	for name, value := range variables {
		environ = append(environ, name+"="+value)
	}
	return environ
}
