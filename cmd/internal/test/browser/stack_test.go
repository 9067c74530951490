package browser

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// limit bounds each wait.
const limit = time.Minute

// A stack is a devstack that runs, without samples.
type stack struct {
	devstack, binary                   string
	kafka, redis, crm, health, ui, dir string
	environ                            []string // of membersync commands
}

func startStack(t *testing.T) *stack {
	t.Helper()
	s := &stack{devstack: os.Getenv("MEMBERSYNC_TEST_DEVSTACK"), binary: os.Getenv("MEMBERSYNC_TEST_BINARY"), dir: t.TempDir()}
	if s.devstack == "" || s.binary == "" {
		t.Skip("MEMBERSYNC_TEST_DEVSTACK and MEMBERSYNC_TEST_BINARY are not set")
	}
	cmd := exec.Command(s.devstack, "--rate", "0", "--fail-every", "0", "--kafka-port", "0", "--redis-port", "0", "--crm-port", "0",
		"--admin-port", "0", "--ui-port", "0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGINT)
		_ = cmd.Wait()
		if t.Failed() && stderr.Len() > 0 {
			t.Logf("devstack: %s", stderr.String())
		}
	})
	flags := s.read(t, out)
	s.awaitReady(t)
	env, err := exec.Command(s.devstack, append([]string{"env"}, flags...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range regexp.MustCompile(`(?m)^export ([A-Z_]+)=(.*)$`).FindAllStringSubmatch(string(env), -1) {
		s.environ = append(s.environ, line[1]+"="+strings.Trim(line[2], `'"`))
	}
	if len(s.environ) == 0 {
		t.Fatalf("devstack env printed %q", env)
	}
	s.environ = append(s.environ, "PATH="+os.Getenv("PATH"), "USER=sample")
	return s
}

// read reads the addresses from what devstack prints, up to the flags of its command env.
func (s *stack) read(t *testing.T, out io.Reader) (flags []string) {
	t.Helper()
	place := regexp.MustCompile(`^  (Kafka|Redis|fake CRM|health|pages) +(?:http://)?([0-9.:]+)`)
	env := regexp.MustCompile(`devstack env ([^)]*)\)`)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if m := place.FindStringSubmatch(lines.Text()); m != nil {
			*map[string]*string{"Kafka": &s.kafka, "Redis": &s.redis, "fake CRM": &s.crm, "health": &s.health, "pages": &s.ui}[m[1]] = m[2]
		}
		if m := env.FindStringSubmatch(lines.Text()); m != nil {
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return strings.Fields(m[1])
		}
	}
	t.Fatal("devstack ended")
	return nil
}

// awaitReady waits until the service has created its topics and joined the group.
func (s *stack) awaitReady(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(limit); ; time.Sleep(50 * time.Millisecond) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.health+"/readyz", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		res, err := (&http.Client{Timeout: limit}).Do(req)
		if err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(end) {
			t.Fatalf("the service is not ready: %v", err)
		}
	}
}

// send sends an event about a member, which the CRM has.
func (s *stack) send(t *testing.T, number int, after string) {
	t.Helper()
	s.ask(t, http.MethodPost, "seed", fmt.Sprintf(`{"openUserId":"FSUID_TEST%04d"}`, number%1000))
	text := fmt.Sprintf(`{"eventId":"browser-%d","sequence":%d,"employeeId":"E%04d","openUserId":"FSUID_TEST%04[3]d","after":%s}`,
		number, number, number%1000, after)
	path := filepath.Join(s.dir, "event.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(s.devstack, "send", "--brokers", s.kafka, path).CombinedOutput(); err != nil {
		t.Fatalf("devstack send: %v: %s", err, out)
	}
}

// fault has the fake CRM refuse the next calls.
func (s *stack) fault(t *testing.T, body string) {
	t.Helper()
	s.ask(t, http.MethodPost, "fault", body)
}

// endFaults has the fake CRM accept calls again.
func (s *stack) endFaults(t *testing.T) {
	t.Helper()
	s.ask(t, http.MethodDelete, "fault", "")
}

func (s *stack) ask(t *testing.T, method, path, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.crm+"/_fake/"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := (&http.Client{Timeout: limit}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("the fake CRM answers %s", res.Status)
	}
}

// command runs membersync, and returns what it prints.
func (s *stack) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.binary, args...)
	cmd.Env = s.environ
	return cmd
}

// open returns the number of open dead letters.
func (s *stack) open(t *testing.T) int {
	t.Helper()
	out, err := s.command(t.Context(), "dlq", "list", "-o", "json").Output()
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Count(out, []byte("\n"))
}

// awaitOpen waits until there are so many open dead letters.
func (s *stack) awaitOpen(t *testing.T, n int) {
	t.Helper()
	for end := time.Now().Add(limit); s.open(t) != n; time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d dead letters are open, want %d", s.open(t), n)
		}
	}
}
