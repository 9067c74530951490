package deploycheck

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
)

// A stack runs the services of a compose file as processes.
type stack struct {
	t       *testing.T
	dir     string
	project *types.Project
	images  map[string]*Image // by build target
	ports   map[string]string // by service:port
	running map[string]*exec.Cmd
}

func newStack(t *testing.T) *stack {
	t.Helper()
	p, err := LoadCompose(t.Context(), filepath.Join(root, "docker-compose.yml"))
	if err != nil {
		t.Fatal(err)
	}
	st := &stack{
		t: t, dir: t.TempDir(), project: p,
		images: map[string]*Image{}, ports: map[string]string{}, running: map[string]*exec.Cmd{},
	}
	d := readDockerfile(t)
	for _, s := range p.Services {
		if s.Build == nil || st.images[s.Build.Target] != nil {
			continue
		}
		image, err := d.Build(t.Context(), root, s.Build.Target, filepath.Join(st.dir, "build", s.Build.Target))
		if err != nil {
			t.Fatal(err)
		}
		st.images[s.Build.Target] = image
	}
	t.Cleanup(st.stopAll)
	return st
}

// address is where a service's port is on this machine.
func (st *stack) address(service, port string) string {
	key := service + ":" + port
	if st.ports[key] == "" {
		listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			st.t.Fatal(err)
		}
		st.ports[key] = listener.Addr().String()
		if err := listener.Close(); err != nil {
			st.t.Fatal(err)
		}
	}
	return st.ports[key]
}

// local replaces the addresses in a text of a service: those of other services by name, and those
// that the service itself listens on.
func (st *stack) local(service, text string) string {
	names := strings.Join(st.project.ServiceNames(), "|")
	addresses := regexp.MustCompile(`\b(?:` + names + `|localhost|0\.0\.0\.0|127\.0\.0\.1):\d+|://:\d+|^:\d+$`)
	return addresses.ReplaceAllStringFunc(text, func(match string) string {
		i := strings.LastIndex(match, ":")
		host, port := match[:i], match[i+1:]
		if _, other := st.project.Services[host]; other {
			return st.address(host, port)
		}
		if host == "://" {
			return host + st.address(service, port)
		}
		return st.address(service, port)
	})
}

func (st *stack) localAll(service string, texts []string) []string {
	all := make([]string, len(texts))
	for i, text := range texts {
		all[i] = st.local(service, text)
	}
	return all
}

// start starts a service, and waits for its health or, of a one-shot that others wait for, its end.
func (st *stack) start(ctx context.Context, name string) {
	st.t.Helper()
	s := st.project.Services[name]
	st.t.Logf("starting %s", name)
	switch {
	case strings.HasPrefix(s.Image, "kafbat/kafka-ui:"):
		st.t.Logf("%s needs a container", name)
		return
	case strings.HasPrefix(s.Image, "apache/kafka:") && len(s.Entrypoint) == 0:
		st.startBroker(ctx, s)
	case st.isAwaited(name):
		if err := run(st.command(ctx, s)); err != nil {
			st.t.Fatalf("%s: %v\n%s", name, err, st.log(name))
		}
	default:
		cmd := st.command(ctx, s)
		if err := begin(cmd); err != nil {
			st.t.Fatal(err)
		}
		st.running[name] = cmd
	}
	if hasHealthCheck(s) {
		st.waitFor(ctx, name+" is healthy", func() bool { return run(st.healthCheck(ctx, s)) == nil })
	}
}

func run(cmd *exec.Cmd) error {
	if err := begin(cmd); err != nil {
		return err
	}
	return cmd.Wait()
}

// begin starts a process, which then has its log open for itself.
func begin(cmd *exec.Cmd) error {
	if log, ok := cmd.Stdout.(*os.File); ok {
		defer func() { _ = log.Close() }()
	}
	return cmd.Start()
}

func (st *stack) isAwaited(name string) bool {
	for _, s := range st.project.Services {
		if d, ok := s.DependsOn[name]; ok && d.Condition == types.ServiceConditionCompletedSuccessfully {
			return true
		}
	}
	return false
}

func (st *stack) command(ctx context.Context, s types.ServiceConfig) *exec.Cmd {
	args := slices.Concat(s.Entrypoint, s.Command)
	if s.Build != nil {
		image := st.images[s.Build.Target]
		args = s.Command
		if len(args) == 0 {
			args = image.Cmd
		}
		args = slices.Concat(image.Entrypoint, args)
	}
	if program := map[string]string{"prom/prometheus": "prometheus", "prom/alertmanager": "prometheus-alertmanager"}[imageName(s)]; program != "" {
		args = append([]string{program}, args...)
	}
	if args[0] == "redis-server" {
		_, port, _ := strings.Cut(st.address(s.Name, "6379"), ":")
		args = append(args, "--bind", "127.0.0.1", "--port", port, "--dir", st.t.TempDir())
	}
	return st.process(ctx, s, args)
}

func imageName(s types.ServiceConfig) string {
	name, _, _ := strings.Cut(s.Image, ":")
	return name
}

// mounted replaces the paths of a service's volumes in a text: those of a file by that of a copy, in
// which addresses and paths are replaced likewise, and those of a folder by a folder of the test.
func (st *stack) mounted(s types.ServiceConfig, text string) string {
	for _, v := range s.Volumes {
		local := filepath.Join(st.dir, s.Name, v.Target)
		path := regexp.MustCompile(`(^|[=\s])` + regexp.QuoteMeta(v.Target) + `(/|\s|$)`)
		if !path.MatchString(text) {
			continue
		}
		text = path.ReplaceAllString(text, "${1}"+local+"${2}")
		if v.Type == types.VolumeTypeBind {
			st.copyMounted(s, v, local)
		} else if err := os.MkdirAll(local, 0o750); err != nil {
			st.t.Fatal(err)
		}
	}
	return text
}

func (st *stack) copyMounted(s types.ServiceConfig, v types.ServiceVolumeConfig, local string) {
	if _, err := os.Stat(local); err == nil {
		return
	}
	original, err := os.ReadFile(v.Source)
	if err != nil {
		st.t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(local), 0o750); err != nil {
		st.t.Fatal(err)
	}
	text := st.local(s.Name, st.mounted(s, string(original)))
	if err := os.WriteFile(local, []byte(text), 0o600); err != nil {
		st.t.Fatal(err)
	}
}

func (st *stack) healthCheck(ctx context.Context, s types.ServiceConfig) *exec.Cmd {
	args := slices.Clone(s.HealthCheck.Test[1:])
	if s.HealthCheck.Test[0] == "CMD-SHELL" {
		args = append([]string{"/bin/sh", "-c"}, args...)
	}
	if args[0] == "redis-cli" {
		_, port, _ := strings.Cut(st.address(s.Name, "6379"), ":")
		args = slices.Insert(args, 1, "-p", port)
	}
	return st.process(ctx, s, args)
}

// process is a command of a service's container: a binary of its image, a tool of Kafka, or a
// program of this machine.
func (st *stack) process(ctx context.Context, s types.ServiceConfig, args []string) *exec.Cmd {
	args = st.localAll(s.Name, args)
	if s.Build == nil {
		for i := range args {
			args[i] = st.mounted(s, args[i])
		}
	}
	if tool, ok := strings.CutPrefix(args[0], "/opt/kafka/bin/"); ok {
		args = append([]string{ci("kafka"), "tool", tool}, args[1:]...)
	} else if s.Build != nil {
		args[0] = st.images[s.Build.Target].Files[args[0]]
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), st.environment(s)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	log, err := os.OpenFile(st.logFile(s.Name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		st.t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	return cmd
}

func (st *stack) environment(s types.ServiceConfig) []string {
	var env []string
	if s.Build != nil {
		for _, variable := range st.images[s.Build.Target].Env {
			name, value, _ := strings.Cut(variable, "=")
			env = append(env, name+"="+st.local(s.Name, value))
		}
	}
	for name, value := range s.Environment {
		env = append(env, name+"="+st.local(s.Name, *value))
	}
	return env
}

// startBroker starts Kafka with the properties that its image makes of the variables.
func (st *stack) startBroker(ctx context.Context, s types.ServiceConfig) {
	st.t.Helper()
	dir := filepath.Join(st.dir, s.Name)
	var properties strings.Builder
	for name, value := range s.Environment {
		key := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, "KAFKA_")), "_", ".")
		text := st.local(s.Name, *value)
		if key == "log.dirs" {
			text = filepath.Join(dir, "data")
		}
		fmt.Fprintf(&properties, "%s=%s\n", key, text)
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		st.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "server.properties"), []byte(properties.String()), 0o600); err != nil {
		st.t.Fatal(err)
	}
	_, port, _ := strings.Cut(st.address(s.Name, "9092"), ":")
	_, controller, _ := strings.Cut(st.address(s.Name, "9093"), ":")
	st.t.Cleanup(func() { _ = exec.CommandContext(context.WithoutCancel(ctx), ci("kafka"), "stop", dir).Run() })
	if output, err := exec.CommandContext(ctx, ci("kafka"), "start", dir, port, controller).CombinedOutput(); err != nil {
		st.t.Fatalf("%v\n%s", err, output)
	}
}

func (st *stack) waitFor(ctx context.Context, what string, holds func() bool) {
	st.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	for !holds() {
		select {
		case <-again.C:
		case <-ctx.Done():
			st.t.Fatalf("never: %s\n%s", what, st.logs())
		}
	}
}

func (st *stack) stop(name string) error {
	cmd := st.running[name]
	if cmd == nil {
		return nil
	}
	delete(st.running, name)
	_ = cmd.Process.Signal(syscall.SIGTERM)
	return cmd.Wait()
}

func (st *stack) stopAll() {
	for _, name := range slices.Sorted(maps.Keys(st.running)) {
		_ = st.stop(name)
	}
}

func (st *stack) logFile(name string) string { return filepath.Join(st.dir, name+".log") }

func (st *stack) log(name string) string {
	text, _ := os.ReadFile(st.logFile(name))
	return string(text[max(0, len(text)-4000):])
}

func (st *stack) logs() string {
	var all strings.Builder
	for _, name := range st.project.ServiceNames() {
		fmt.Fprintf(&all, "--- %s\n%s\n", name, st.log(name))
	}
	return all.String()
}
