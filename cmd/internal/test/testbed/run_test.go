package testbed

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestRunTellsWhatWasSaid(t *testing.T) {
	t.Parallel()
	out, err := run(t.Context(), t.TempDir(), "bash", "-c", "echo out; pwd")
	if lines := strings.Fields(string(out)); err != nil || len(lines) != 2 || lines[0] != "out" {
		t.Errorf("%q, %v", out, err)
	}
	_, err = run(t.Context(), "", "bash", "-c", "echo what is wrong >&2; exit 3")
	if err == nil || !strings.Contains(err.Error(), "what is wrong") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("%v", err)
	}
}

// An interrupted script leaves no process that it started.
func TestRunEndsWholeGroups(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	ended := make(chan error, 1)
	go func() {
		_, err := run(ctx, "", "bash", "-c", "sleep 600 & echo $! >"+file+".new; mv "+file+".new "+file+"; wait")
		ended <- err
	}()
	eventually(t, "the script", func() bool { _, err := os.Stat(file); return err == nil })
	text, err := os.ReadFile(file) //nolint:gosec // the test's own file
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || isGone(child) {
		t.Fatalf("process %d: %v", child, err)
	}
	cancel(errors.New("interrupted"))
	if err := <-ended; err == nil {
		t.Error("the script has ended well")
	}
	eventually(t, "the end of its child", func() bool { return isGone(child) })
}
