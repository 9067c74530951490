package deploycheck

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const root = "../.."

func TestComposeFileIsRight(t *testing.T) {
	t.Parallel()
	p, err := LoadCompose(t.Context(), filepath.Join(root, "docker-compose.yml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range ComposeFaults(p) {
		t.Error(fault)
	}
	for _, fault := range HardeningFaults(p, "apache/kafka", "kafbat/kafka-ui") {
		t.Error(fault)
	}
	d := readDockerfile(t)
	for name, s := range p.Services {
		if s.Build == nil {
			continue
		}
		if got, want := filepath.Join(s.Build.Context, s.Build.Dockerfile), absolute(t, filepath.Join(root, "deploy", "Dockerfile")); got != want {
			t.Errorf("%s: built from %s", name, got)
		}
		if d.stage(s.Build.Target) == nil {
			t.Errorf("%s: no stage %q in the Dockerfile", name, s.Build.Target)
		}
	}
}

const rightCompose = `
name: sample
services:
  store:
    image: store:1
    ports: ["127.0.0.1:6000:6000"]
    healthcheck: {test: [CMD, ping]}
  init:
    image: store:1
    command: [init, "store:6000"]
    restart: "no"
    depends_on: {store: {condition: service_healthy}}
  app:
    image: app:1
    environment: {STORE: "store:6000"}
    healthcheck: {test: [CMD, app, check]}
    depends_on: {init: {condition: service_completed_successfully}}
`

func TestComposeFaultsAreFound(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, old, changed, want string }{
		{"none", "", "", ""},
		{"no health check", "healthcheck: {test: [CMD, app, check]}", "restart: always", "neither a health check"},
		{"health check off", "{test: [CMD, app, check]}", "{disable: true}", "neither a health check"},
		{"no version", "image: app:1", "image: app", "without a version"},
		{"latest", "image: app:1", "image: app:latest", "without a version"},
		{"published to all", "127.0.0.1:6000:6000", "6000:6000", "beyond loopback"},
		{"health of a one-shot", "service_completed_successfully", "service_healthy", "has no health check"},
		{"end of a service", "service_healthy", "service_completed_successfully", "is no one-shot"},
		{"only started", "service_healthy", "service_started", "without waiting"},
		{"no order", "depends_on: {init: {condition: service_completed_successfully}}", "", "uses store without waiting"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			file := writeCompose(t, strings.Replace(rightCompose, c.old, c.changed, 1))
			p, err := LoadCompose(t.Context(), file)
			if err != nil {
				t.Fatal(err)
			}
			faults := strings.Join(ComposeFaults(p), "\n")
			if (c.want == "") != (faults == "") || !strings.Contains(faults, c.want) {
				t.Errorf("faults %q, want %q", faults, c.want)
			}
		})
	}
}

const hardenedCompose = `
name: sample
services:
  app:
    image: app:1
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    read_only: true
    mem_limit: 64m
    healthcheck: {test: [CMD, app, check]}
`

func TestHardeningFaultsAreFound(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ old, changed, want string }{
		{"", "", ""},
		{"cap_drop: [ALL]", "", "app: has capabilities"},
		{"cap_drop: [ALL]", "cap_drop: [ALL]\n    cap_add: [CHOWN]", "app: has capabilities"},
		{"no-new-privileges:true", "no-new-privileges:false", "app: may gain privileges"},
		{"read_only: true", "", "app: can write to its root"},
		{"mem_limit: 64m", "", "app: has no bound on memory"},
	} {
		p, err := LoadCompose(t.Context(), writeCompose(t, strings.Replace(hardenedCompose, c.old, c.changed, 1)))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(HardeningFaults(p, "other"), "\n"); got != c.want {
			t.Errorf("%q: faults %q, want %q", c.changed, got, c.want)
		}
		if got := HardeningFaults(p, "app"); c.old == "read_only: true" && len(got) > 0 {
			t.Errorf("faults of an image that may write: %q", got)
		}
	}
}

func TestComposeFileOutsideTheSchemaIsRefused(t *testing.T) {
	t.Parallel()
	file := writeCompose(t, strings.Replace(rightCompose, "restart:", "restarts:", 1))
	if _, err := LoadCompose(t.Context(), file); err == nil {
		t.Error("a key that the specification does not know was accepted")
	}
}

func TestUnknownVariables(t *testing.T) {
	t.Parallel()
	file := writeCompose(t, strings.Replace(rightCompose, "STORE:", "MEMBERSYNC_STORE_ADDR:", 1))
	p, err := LoadCompose(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	for help, known := range map[string]bool{
		"--store-addr  host:port":            true,
		"--store-addr=STRING":                true,
		"  MEMBERSYNC_STORE_ADDR(_FILE)":     true,
		"--store-address  host:port":         false,
		"--no-store-addr":                    false,
		"see MEMBERSYNC_STORE_ADDRESS there": false,
	} {
		if got := len(UnknownVariables(p, help)) == 0; got != known {
			t.Errorf("known from %q: %v", help, got)
		}
	}
}

func writeCompose(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "compose.yml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}
