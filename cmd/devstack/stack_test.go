package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"membersync/dedupe"
)

// freePorts lets several stacks run at once.
func freePorts(more ...string) []string {
	return append([]string{"--kafka-port", "0", "--redis-port", "0", "--crm-port", "0", "--admin-port", "0", "--ui-port", "0"}, more...)
}

// After its samples, the stack prints a summary and what to try, and runs until it is ended.
func TestOpenRun(t *testing.T) {
	t.Parallel()
	p := start(t, freePorts("--rate", "50", "--count", "60", "--fail-every", "4")...)
	p.await(t,
		"topic hris.employee.changed", "Redis     127.0.0.1:", "http://127.0.0.1:",
		"[a change]", "applied        sent ", "duplicate ", "superseded ", "unchanged ", "ignored ",
		"dead lettered  invalid_field", "dead lettered  malformed", "dead lettered  invalid_event", "dead lettered  crm_not_found",
		"repeated after errorCode -1 (system busy)", "\nSummary\n", "go run ./cmd/membersync dlq redrive --employee E0009",
	)
	p.signals <- os.Interrupt
	if got := <-p.status; got != exitInterrupted {
		t.Errorf("status %d, stderr %s", got, p.errs)
	}
	if out := p.out.String(); strings.Count(out, "\nSummary\n") != 1 || strings.Contains(out, "arrived") {
		t.Errorf("not one summary, or more than one line for an event: %s", out)
	}
	if p.errs.String() != "" {
		t.Errorf("stderr: %s", p.errs)
	}
}

func TestWithoutRateNothingIsSent(t *testing.T) {
	t.Parallel()
	p := start(t, freePorts("--rate", "0")...)
	p.await(t, "What to try next")
	p.signals <- syscall.SIGTERM
	if got := <-p.status; got != exitDone {
		t.Errorf("status %d, stderr %s", got, p.errs)
	}
	if out := p.out.String(); !strings.Contains(out, "  events             0\n") {
		t.Errorf("stdout: %s", out)
	}
}

func TestAnotherMapping(t *testing.T) {
	t.Parallel()
	p := start(t, freePorts("--mapping", "debezium")...)
	p.await(t, " --mapping debezium)", "FSUID_TEST0001 to FSUID_TEST0009", "departments 1 to 20", "membersync map --explain event.json")
	p.signals <- syscall.SIGTERM
	if got := <-p.status; got != exitDone || !strings.Contains(p.out.String(), "  events             0\n") {
		t.Errorf("status %d, stdout %s, stderr %s", got, p.out, p.errs)
	}
	p = start(t, freePorts("--crm-api", "object", "--rate", "0")...)
	p.await(t, " --crm-api object)")
	p.signals <- syscall.SIGTERM
	<-p.status
	status, _, errs := call(t, freePorts("--mapping", "gone.yaml")...)
	if status != exitUsage || !strings.Contains(errs, `mapping "gone.yaml" is not built in`) {
		t.Errorf("status %d, stderr %s", status, errs)
	}
}

// The settings that devstack env prints are those of the stack, and a shell reads them.
func TestEnv(t *testing.T) {
	t.Parallel()
	_, text, _ := call(t, "env", "--crm-port", "1", "--mapping", "it's.yaml", "--crm-api", "object")
	out, err := exec.CommandContext(t.Context(), "sh", "-c", text+"env").Output() //nolint:gosec // the text is devstack's own
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "MEMBERSYNC_") && !strings.HasPrefix(line, "MEMBERSYNC_TEST_") {
			got = append(got, strings.TrimSuffix(line, "\n"))
		}
	}
	want := append(settingsOf("127.0.0.1:19092", "127.0.0.1:16379", "127.0.0.1:1", objectAPI), "MEMBERSYNC_MAPPING=it's.yaml")
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// All ports that are taken are reported at once, and one flag moves all of them.
func TestTakenPortsAreNamed(t *testing.T) {
	t.Parallel()
	taken := func() string {
		listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a test
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = listener.Close() })
		_, port, _ := net.SplitHostPort(listener.Addr().String())
		return port
	}
	parts := [][2]string{
		{"kafka-port", "Kafka"}, {"redis-port", "Redis"}, {"crm-port", "the fake CRM"}, {"admin-port", "the admin server"}, {"ui-port", "the web pages"},
	}
	var names, args []string
	for _, part := range parts {
		port := taken()
		args = append(args, "--"+part[0], port)
		names = append(names, fmt.Sprintf("%s for %s (--%s)", port, part[1], part[0]))
		refused(t, names[len(names)-1:], 100, freePorts("--"+part[0], port)...)
	}
	refused(t, names, 100, args...)
	moved, err := strconv.Atoi(args[1])
	if err != nil {
		t.Fatal(err)
	}
	refused(t, names[:1], 300, freePorts("--kafka-port", strconv.Itoa(moved-200), "--port-offset", "200")...)
}

// refused runs a stack that names these ports and the next offset.
func refused(t *testing.T, names []string, offset int, args ...string) {
	t.Helper()
	want := fmt.Sprintf("devstack: ports that are taken, perhaps by another devstack: %s. "+
		"--port-offset %d moves all ports, a flag in parentheses one of them, or to a free one with 0\n", strings.Join(names, ", "), offset)
	status, out, errs := call(t, args...)
	if status != exitUsage || out != "" || errs != want {
		t.Errorf("%v: status %d, stdout %q, stderr %q, want %q", args, status, out, errs, want)
	}
}

// The flags that devstack prints for devstack env lead to the stack, whether its ports are free
// ones or were all moved.
func TestPortFlags(t *testing.T) {
	t.Parallel()
	free, err := startStack(t.Context(), ports{offset: 7}, 0, userAPI)
	if err != nil {
		t.Fatal(err)
	}
	defer free.close()
	moved, offset := startMoved(t)
	defer moved.close()
	if got, want := moved.portFlags(offset), fmt.Sprintf(" --port-offset %d", offset); got != want {
		t.Errorf("flags %q, want %q", got, want)
	}
	for flags, s := range map[string]*stack{free.portFlags(7): free, moved.portFlags(offset): moved, moved.portFlags(0): moved} {
		_, out, errs := call(t, append([]string{"env"}, strings.Fields(flags)...)...)
		for _, setting := range s.settings()[:3] { // where Kafka, Redis and the CRM are
			if _, address, _ := strings.Cut(setting, "="); !strings.Contains(out, "='"+address+"'\n") {
				t.Errorf("%s: no %s in %s%s", flags, address, out, errs)
			}
		}
	}
}

// startMoved starts a stack with the usual ports and the first offset at which all are free.
func startMoved(t *testing.T) (s *stack, offset int) {
	t.Helper()
	for offset = 1000; offset < 10000; offset += offsetStep {
		p := defaultPorts()
		p.offset = offset
		s, err := startStack(t.Context(), p, 0, userAPI)
		if err == nil {
			return s, offset
		}
		if _, taken := errors.AsType[*portsError](err); !taken {
			t.Fatal(err)
		}
	}
	t.Fatal("no offset is free")
	return nil, 0
}

func TestAPortErrorKeepsItsCause(t *testing.T) {
	t.Parallel()
	_, err := startStack(t.Context(), ports{kafka: 1 << 17, redis: 1 << 17}, 0, userAPI)
	port, ok := errors.AsType[*portError](err)
	if text := fmt.Sprintf("port %d (--", 1<<17); !ok || port.Unwrap() == nil || strings.Count(err.Error(), text) != 2 || strings.Contains(err.Error(), "taken") {
		t.Errorf("error %v", err)
	}
}

func TestEmbeddedRedisNeverEvicts(t *testing.T) {
	t.Parallel()
	s := &stack{}
	if err := s.startRedis(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	defer s.close()
	client, err := dedupe.Open(dedupe.ClientConfig{URL: "redis://" + s.redis.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	store, err := dedupe.New(client, dedupe.Options{Prefix: "ms", Scope: "test", DoneTTL: 1e12, Lease: 1e10})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := client.Info(t.Context(), "clients").Result(); err != nil {
		t.Errorf("the other sections: %v", err)
	}
}

func TestTheAdminPortIsHeldFromTheStart(t *testing.T) {
	t.Parallel()
	s, err := startStack(t.Context(), ports{}, 0, userAPI)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "tcp", s.admin.Addr().String())
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("another could listen there too: %v", err)
	}
	if err == nil {
		_ = l.Close()
	}
}
