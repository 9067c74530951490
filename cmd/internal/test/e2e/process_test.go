package e2e

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

// waitLimit bounds how long a test waits for an event.
const waitLimit = 90 * time.Second

// A process is a running program: an instance of the service, or a command.
type process struct {
	t       *testing.T
	cmd     *exec.Cmd
	out     *output // stderr, and of the service stdout too
	results *output // stdout
	done    chan struct{}
	addr    string // of the service's admin server
}

// start starts the service with only these variables and waits until its admin server listens.
func start(t *testing.T, variables map[string]string) *process {
	t.Helper()
	p := newProcess(t, variables, "run")
	p.results = p.out
	p.launch()
	p.addr = p.await(`"addr":"([^"]*)"`)[1]
	return p
}

// newProcess returns the binary with only these variables. It is not started.
func newProcess(t *testing.T, variables map[string]string, args ...string) *process {
	t.Helper()
	p := &process{t: t, out: newOutput(), results: newOutput(), done: make(chan struct{})}
	p.cmd = exec.Command(binary("membersync"), args...) //nolint:gosec,noctx // our own; it is ended by signals, which is what is tested
	// By default a process with the race detector sleeps for a second before its end.
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir(), "GORACE=atexit_sleep_ms=10"}
	for name, value := range variables {
		p.cmd.Env = append(p.cmd.Env, "MEMBERSYNC_"+name+"="+value)
	}
	return p
}

func (p *process) launch() {
	p.t.Helper()
	p.cmd.Stdout = p.results
	if p.cmd.Stderr == nil {
		p.cmd.Stderr = p.out
	}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait()
	}()
	p.t.Cleanup(p.end)
}

// end makes sure that the process has ended, and logs its output if the test failed.
func (p *process) end() {
	_ = p.cmd.Process.Kill()
	<-p.done
	all := p.out.String()
	if strings.Contains(all, "DATA RACE") {
		p.t.Error("the race detector found a race in the process")
	}
	if p.t.Failed() && p.results == p.out {
		p.t.Logf("the end of what process %d said:\n%s", p.cmd.Process.Pid, all[max(0, len(all)-4000):])
	}
}

// await waits until the output matches.
func (p *process) await(pattern string) []string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	limit := time.After(waitLimit)
	for {
		news := p.out.news()
		if match := re.FindStringSubmatch(p.out.String()); match != nil {
			return match
		}
		select {
		case <-news:
		case <-p.done:
			p.t.Fatalf("the process has ended with status %d", p.cmd.ProcessState.ExitCode())
		case <-limit:
			p.t.Fatalf("waited %v for %s in the output", waitLimit, pattern)
		}
	}
}

// awaitReady waits until the process has joined the group.
func (p *process) awaitReady() {
	p.t.Helper()
	eventually(p.t, "the process to be ready", func() bool {
		status, _ := p.get("/readyz")
		return status == http.StatusOK
	})
}

// get sends a GET request to the admin server.
func (p *process) get(path string) (int, string) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, "http://"+p.addr+path, http.NoBody)
	if err != nil {
		p.t.Fatal(err)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	res, err := transport.RoundTrip(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// kill sends SIGKILL.
func (p *process) kill() {
	p.t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		p.t.Fatal(err)
	}
	<-p.done
}

// terminate sends SIGTERM and checks for a clean stop.
func (p *process) terminate() {
	p.t.Helper()
	began := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	select {
	case <-p.done:
	case <-time.After(waitLimit):
		p.t.Fatalf("the process has not ended %v after SIGTERM", waitLimit)
	}
	p.t.Logf("ended %.1f s after SIGTERM", time.Since(began).Seconds())
	if status := p.cmd.ProcessState.ExitCode(); status != 0 {
		p.t.Errorf("status %d on SIGTERM, want 0", status)
	}
}

// eventually polls until the condition holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	limit := time.After(waitLimit)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("waited %v for %s", waitLimit, what)
		}
	}
}

// An output can be read while it is written.
type output struct {
	mu      sync.Mutex
	buffer  bytes.Buffer
	changed chan struct{} // closed at the next write
}

func newOutput() *output { return &output{changed: make(chan struct{})} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.changed)
	o.changed = make(chan struct{})
	return o.buffer.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buffer.String()
}

func (o *output) news() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.changed
}
