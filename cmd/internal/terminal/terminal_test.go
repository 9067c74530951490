package terminal_test

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"membersync/cmd/internal/terminal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A device that is not a terminal can be asked nothing and shows nothing.
func TestADeviceIsNotATerminal(t *testing.T) {
	t.Parallel()
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if terminal.Is(f) {
		t.Errorf("%s is a terminal", os.DevNull)
	}
}

func TestPager(t *testing.T) {
	t.Parallel()
	var shown bytes.Buffer
	p, err := terminal.StartPager("tr a-z A-Z", &shown, &shown)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(p, "a line\n"); err != nil {
		t.Error(err)
	}
	if err := p.Close(); err != nil || shown.String() != "A LINE\n" {
		t.Errorf("%v, %q", err, shown.String())
	}
}

func TestAPagerThatEndsEarly(t *testing.T) {
	t.Parallel()
	p, err := terminal.StartPager("MODE=none true", io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil { // until the pipe is full or broken
		_, err = io.WriteString(p, strings.Repeat("line\n", 1000))
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

func TestAPagerThatIsNotThere(t *testing.T) {
	t.Parallel()
	if _, err := terminal.StartPager("not-a-pager -x", io.Discard, io.Discard); err == nil {
		t.Error("no error")
	}
}
