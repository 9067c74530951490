package e2e

import (
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"membersync/cmd/internal/test/testbed/servicetest"
)

// A terminal is a pair of devices: the program's terminal, and the operator's end of it.
type terminal struct {
	person *os.File
	shown  *servicetest.Output
}

// atTerminal gives a process that is not started yet a terminal as stdin and stderr.
func atTerminal(t *testing.T, p *servicetest.Process) *terminal {
	t.Helper()
	person, device := openTerminal(t)
	p.Cmd.Stdin, p.Cmd.Stderr = device, device
	term := &terminal{person: person, shown: &p.Err}
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = person.WriteTo(term.shown) // until the last process has closed the device
	}()
	t.Cleanup(func() {
		_ = device.Close()
		<-read
		_ = person.Close()
	})
	return term
}

func openTerminal(t *testing.T) (person, device *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	raw := int(person.Fd())
	if err := unix.IoctlSetPointerInt(raw, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(raw, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	device, err = os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return person, device
}

// types sends the operator's input.
func (term *terminal) types(t *testing.T, text string) {
	t.Helper()
	if _, err := term.person.WriteString(text); err != nil {
		t.Fatal(err)
	}
}
