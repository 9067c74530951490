package cli

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"membersync/dlq"
)

// A fakePager takes so many writes, and is then closed by its user.
type fakePager struct {
	strings.Builder
	most  int
	ended bool
}

func (p *fakePager) Write(text []byte) (int, error) {
	if p.most--; p.most < 0 {
		return 0, io.ErrClosedPipe
	}
	return p.Builder.Write(text)
}

func (p *fakePager) Close() error {
	p.ended = true
	return nil
}

// onTerminal has the program on a terminal with a pager, and returns what starts it got.
func (r *rig) onTerminal(p *fakePager) *[]string {
	var commands []string
	r.app.StdoutTerminal = true
	r.app.StartPager = func(command string) (io.WriteCloser, error) {
		if commands = append(commands, command); p == nil {
			return nil, errors.New("no pager")
		}
		return p, nil
	}
	return &commands
}

// hasOpen writes so many open dead letters.
func hasOpen(t *testing.T, o *opsRig, n int) {
	t.Helper()
	for i := range n {
		o.topics.write(t, o.topics.deadLetter(int64(i+1), dlq.ReasonCRMInvalid, i+1, 0))
	}
}

func TestAListIsPaged(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	hasOpen(t, o, 2)
	want := o.must(t, "dlq", "list", "--no-color")
	for name, tc := range map[string]struct {
		environ []string
		args    []string
		command string // empty: none is started
	}{
		"the default":   {nil, nil, "less -FRX"},
		"another":       {[]string{"PAGER=more -s"}, nil, "more -s"},
		"empty":         {[]string{"PAGER="}, nil, ""},
		"cat":           {[]string{"PAGER=cat"}, nil, ""},
		"JSON":          {nil, []string{"-o", "json"}, ""},
		"a wrong flag":  {nil, []string{"--reason=x"}, ""},
		"another table": {nil, []string{"--group-by=reason"}, "less -FRX"},
	} {
		o.app.Environ = append(tc.environ, o.app.Environ...)
		pager := &fakePager{most: 1000}
		started := o.onTerminal(pager)
		_, stdout, _ := o.do(t, append([]string{"dlq", "list", "--no-color"}, tc.args...)...)
		o.app.Environ = o.app.Environ[len(tc.environ):]
		if got := strings.Join(*started, ";"); got != tc.command || pager.ended != (tc.command != "") {
			t.Errorf("%s: started %q, ended %v", name, got, pager.ended)
		}
		if tc.command != "" && stdout != "" || tc.args == nil && stdout+pager.String() != want {
			t.Errorf("%s: stdout %q, pager %q", name, stdout, pager)
		}
	}
	o.app.StdoutTerminal = false
	if got := o.must(t, "dlq", "list"); got != want {
		t.Error(cmp.Diff(want, got))
	}
}

func TestWithoutThePagerTheListIsPrinted(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	hasOpen(t, o, 1)
	want := o.must(t, "dlq", "list")
	o.onTerminal(nil)
	if got := o.must(t, "dlq", "list", "--no-color"); got != want {
		t.Error(cmp.Diff(want, got))
	}
}

// The rest of a long list is not read when the user has seen enough.
func TestAPagerThatIsClosedEndsTheCommand(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	hasOpen(t, o, 2)
	o.onTerminal(&fakePager{most: 1})
	status, stdout, _ := o.do(t, "dlq", "list")
	if status != exitDone || stdout != "" {
		t.Errorf("status %d, stdout %q", status, stdout)
	}
	in := &invocation{app: &app{plain: io.Discard}, output: outputTable, command: command{
		pages: func() bool { return true },
		run: func(ctx context.Context, in *invocation) int {
			in.print("a line")
			<-ctx.Done()
			return exitFailed
		},
	}}
	in.StdoutTerminal = true
	in.StartPager = func(string) (io.WriteCloser, error) { return &fakePager{}, nil }
	if status := in.runShown(t.Context()); status != exitDone {
		t.Errorf("status %d", status)
	}
}

func TestStatesHaveColors(t *testing.T) {
	t.Parallel()
	o := newOpsRig(t)
	hasOpen(t, o, 1)
	plain := o.must(t, "dlq", "list")
	colored := strings.Replace(plain, "open", "\x1b[33mopen\x1b[0m", 1)
	o.app.StdoutTerminal = true
	for name, tc := range map[string]struct {
		environ []string
		args    []string
		want    string
	}{
		"a terminal":     {nil, nil, colored},
		"not wanted":     {nil, []string{"--no-color"}, plain},
		"not at all":     {[]string{"NO_COLOR=1"}, nil, plain},
		"empty NO_COLOR": {[]string{"NO_COLOR="}, nil, colored},
		"no colors":      {[]string{"TERM=dumb"}, nil, plain},
	} {
		o.app.Environ = append(tc.environ, o.app.Environ...)
		if got := o.must(t, append([]string{"dlq", "list"}, tc.args...)...); got != tc.want {
			t.Errorf("%s: %s", name, cmp.Diff(tc.want, got))
		}
		o.app.Environ = o.app.Environ[len(tc.environ):]
	}
	if got := o.must(t, "dlq", "list", "-o", "json"); strings.Contains(got, "\x1b") {
		t.Errorf("colors in JSON: %s", got)
	}
}

// Text from outside is escaped before colors are added.
func TestColored(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"0:1  open  x\n0:2  failed\n0:3   discarded  open\n": "0:1  \x1b[33mopen\x1b[0m  x\n0:2  \x1b[31mfailed\x1b[0m\n0:3   discarded  open\n",
		"\x1b[31m  opener\n": "\\u001b[31m  opener\n",
		"":                   "",
	} {
		var b strings.Builder
		if _, err := (coloring{&b}).Write([]byte(text)); err != nil || b.String() != want {
			t.Errorf("%q is %q, want %q (%v)", text, b.String(), want, err)
		}
	}
	if _, err := (coloring{failingWriter{}}).Write([]byte("x")); !errors.Is(err, errWrite) {
		t.Error(err)
	}
}
