package testbed

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFlags(t *testing.T) {
	t.Parallel()
	var o Options
	f := flag.NewFlagSet("x", flag.ContinueOnError)
	o.AddFlags(f)
	if err := f.Parse([]string{"--kafka", "a:1", "--redis", "redis://b:2/0", "--membersync", "/bin/x", "--keep"}); err != nil {
		t.Fatal(err)
	}
	if want := (Options{Kafka: "a:1", Redis: "redis://b:2/0", Binary: "/bin/x", Keep: true}); o != want {
		t.Errorf("%+v", o)
	}
	var said strings.Builder
	o.progress("not written")
	o.Progress = &said
	o.progress("line %d", 1)
	if said.String() != "line 1\n" {
		t.Errorf("%q", said.String())
	}
}

// It changes the working directory, so it does not run in parallel.
func TestModuleRoot(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, ".ci", "kafka")); err != nil {
		t.Error(err)
	}
	t.Chdir(t.TempDir())
	if dir, err := moduleRoot(); err == nil {
		t.Errorf("outside of the module: %s", dir)
	}
}
