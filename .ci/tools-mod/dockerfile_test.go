package deploycheck

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

func TestDockerfileIsRight(t *testing.T) {
	t.Parallel()
	d := readDockerfile(t)
	for _, fault := range d.Faults("membersync", "devstack") {
		t.Error(fault)
	}
	if last := d.stages[len(d.stages)-1].Name; last != "membersync" {
		t.Errorf("without a target the build makes %s", last)
	}
}

const rightDockerfile = `FROM golang:1 AS build
ENV CGO_ENABLED=0
WORKDIR /src
COPY go.mod ./
RUN go build -trimpath -o out/app .

FROM scratch AS app
COPY --from=build /src/out/app /app
USER 65532:65532
ENTRYPOINT ["/app"]
`

func TestDockerfileFaultsAreFound(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, old, changed, want string }{
		{"none", "", "", ""},
		{"root", "USER 65532:65532\n", "", "not a number other than 0"},
		{"user 0", "USER 65532", "USER 0", "not a number other than 0"},
		{"named user", "USER 65532:65532", "USER nobody", "not a number other than 0"},
		{"large image", "FROM scratch", "FROM debian:12", "neither scratch nor distroless"},
		{"shell form", `["/app"]`, "/app", "no entrypoint in exec form"},
		{"cgo", "CGO_ENABLED=0", "CGO_ENABLED=1", "not static"},
		{"paths", "-trimpath ", "", "no -trimpath"},
		{"no stage", "--from=build", "--from=built", "no stage"},
		{"no version", "golang:1 ", "golang ", "without a version"},
		{"latest", "golang:1 ", "golang:latest ", "without a version"},
		{"other target", "AS app", "AS apple", "unknown stage"},
		{"linter", "FROM scratch AS app", "FROM scratch as app", "FromAsCasing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d, err := ParseDockerfile([]byte(strings.Replace(rightDockerfile, c.old, c.changed, 1)))
			if err != nil {
				t.Fatal(err)
			}
			faults := strings.Join(d.Faults("app"), "\n")
			if (c.want == "") != (faults == "") || !strings.Contains(faults, c.want) {
				t.Errorf("faults %q, want %q", faults, c.want)
			}
		})
	}
}

func TestBrokenDockerfileIsRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "RUN true", "FROM scratch\nRUNS true", "FROM scratch\nCOPY one"} {
		if _, err := ParseDockerfile([]byte(text)); err == nil {
			t.Errorf("accepted: %q", text)
		}
	}
}

func TestImagesAreBuiltByTheToolchainOfTheModule(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	toolchain := regexp.MustCompile(`(?m)^toolchain go(\S+)$`).FindSubmatch(text)
	if toolchain == nil {
		t.Fatal("go.mod names no toolchain")
	}
	if _, image := readDockerfile(t).chain("source"); image != "golang:"+string(toolchain[1])+"-bookworm" {
		t.Errorf("image %s, toolchain %s", image, toolchain[1])
	}
}

func TestImagesAreBuiltStatic(t *testing.T) {
	t.Parallel()
	d := readDockerfile(t)
	d.setArg("build-membersync", "REVISION", "0123abc")
	for _, target := range []string{"membersync", "devstack"} {
		t.Run(target, func(t *testing.T) {
			t.Parallel()
			image, err := d.Build(t.Context(), root, target, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(image.Entrypoint, []string{"/" + target}) {
				t.Errorf("entrypoint %q", image.Entrypoint)
			}
			assertStatic(t, image.Files["/"+target])
			if target == "membersync" {
				assertManPages(t, image.Files["/usr/share/man/man1"])
				assertHealthAndRevision(t, image)
			}
		})
	}
}

// setArg sets a build argument.
func (d *Dockerfile) setArg(stage, name, value string) {
	stages, _ := d.chain(stage)
	for c := range commands(stages) {
		if arg, ok := c.(*instructions.ArgCommand); ok && arg.Args[0].Key == name {
			arg.Args[0].Value = &value
		}
	}
}

// assertHealthAndRevision checks what the service's image has in addition.
func assertHealthAndRevision(t *testing.T, image *Image) {
	t.Helper()
	if !slices.Equal(image.HealthCheck, []string{"/membersync", "healthcheck"}) || !slices.Equal(image.Env, []string{"MEMBERSYNC_ADMIN_ADDR=:8080"}) {
		t.Errorf("health check %q, variables %q", image.HealthCheck, image.Env)
	}
	out, err := exec.CommandContext(t.Context(), image.Files["/membersync"], "version").Output()
	if err != nil || !strings.Contains(string(out), "membersync dev, revision 0123abc, go") {
		t.Errorf("%s %v", out, err)
	}
}

func assertManPages(t *testing.T, folder string) {
	t.Helper()
	for _, name := range []string{"membersync.1", "membersync-run.1", "membersync-dlq-list.1"} {
		if info, err := os.Stat(filepath.Join(folder, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func assertStatic(t *testing.T, file string) {
	t.Helper()
	binary, err := elf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = binary.Close() }()
	for _, p := range binary.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("%s is linked dynamically", file)
		}
	}
}

func readDockerfile(t *testing.T) *Dockerfile {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "deploy", "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := ParseDockerfile(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
