package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"go.uber.org/goleak"
)

// version is the version of the binary.
const version = "0.0.0-e2e"

// These tests mostly wait, so some run in parallel even on few processors.
func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "4") // a flag of the command line has precedence
	dir, err := os.MkdirTemp("", "membersync-e2e-")
	if err == nil {
		err = os.Setenv(dirEnv, dir)
	}
	if err == nil {
		err = build()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) //nolint:forbidigo // no test can run without it
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(status int) {
		_ = os.RemoveAll(dir) // the folder that MkdirTemp created
		os.Exit(status)       //nolint:forbidigo // as goleak does by default
	}))
}

// dirEnv passes the folder of the binaries from TestMain to the tests.
const dirEnv = "E2E_BINARIES"

// binary returns the path of a binary of this test process.
func binary(name string) string { return filepath.Join(os.Getenv(dirEnv), name) }

func build() error {
	service := []string{"-ldflags", "-X main.version=" + version}
	if raced {
		service = append(service, "-race")
	}
	err := compile("membersync", append(service, "membersync/cmd/membersync")...)
	if err == nil && os.Getenv(redisEnv) == "" {
		err = compile("miniredis", "-trimpath", "-tags=timetzdata", "membersync/cmd/internal/test/e2e/testdata/miniredis")
	}
	return err
}

func compile(name string, args ...string) error {
	args = append([]string{"build", "-o", binary(name)}, args...)
	cmd := exec.CommandContext(context.Background(), "go", args...) //nolint:gosec // fixed words
	if !slices.Contains(args, "-race") {                            // which needs cgo
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("building %s: %w\n%s", name, err, out)
	}
	return nil
}
