package servicetest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"membersync/cmd/internal/cli"
	"membersync/consumer"
)

var errStopped = errors.New("servicetest: the test stops the program")

// A Program is membersync run, or membersync ui, in this process.
type Program struct {
	Logs   *Output // stdout and stderr
	Done   chan struct{}
	tb     testing.TB
	cancel context.CancelCauseFunc
	status int // read only after Done is closed
}

// Start starts the program with the rig's variables. The pairs of names and values given replace
// them. The program ends with the test. The test fails if a secret (a text with "canary") is
// printed.
func (r *Rig) Start(observer consumer.Observer, pairs ...string) *Program {
	return r.start(observer, "run", pairs)
}

// StartUI starts membersync ui as Start starts membersync run. It listens at a free port of
// loopback, and returns its URL, without a slash at the end.
func (r *Rig) StartUI(pairs ...string) (p *Program, url string) {
	p = r.start(nil, "ui", append([]string{"UI_ADDR", "127.0.0.1:0"}, pairs...))
	return p, p.Logs.Await(r.tb, `web pages: (\S+)/\n`, p.Done)[1]
}

// StartRefusedUI starts membersync ui with settings that it should refuse.
func (r *Rig) StartRefusedUI(pairs ...string) *Program { return r.start(nil, "ui", pairs) }

func (r *Rig) start(observer consumer.Observer, command string, pairs []string) *Program {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(r.tb.Context()))
	p := &Program{tb: r.tb, cancel: cancel, Done: make(chan struct{}), Logs: &Output{}}
	env := cli.Env{
		Stdin: strings.NewReader(""), Stdout: p.Logs, Stderr: p.Logs,
		Environ: r.environ(pairs), ReadFile: r.readFile, Observer: observer,
	}
	go func() {
		defer close(p.Done)
		p.status = cli.Run(ctx, []string{command}, env)
	}()
	r.tb.Cleanup(func() {
		p.Stop()
		if text := p.Logs.String(); r.tb.Failed() {
			r.tb.Logf("%q: the end of the output:\n%s", pairs, text[max(0, len(text)-3000):])
		} else if strings.Contains(text, "canary") {
			r.tb.Errorf("%q: a secret is printed", pairs)
		}
	})
	return p
}

// Cancel makes the program stop, as SIGTERM does. It does not wait.
func (p *Program) Cancel() { p.cancel(errStopped) }

// Stop stops the program as SIGTERM does and returns its exit status.
func (p *Program) Stop() int {
	p.tb.Helper()
	p.Cancel()
	return p.Status()
}

// Status waits for the program's end and returns its exit status, or -1 after [Limit].
func (p *Program) Status() int {
	p.tb.Helper()
	select {
	case <-p.Done:
		return p.status
	case <-time.After(Limit):
		p.tb.Errorf("the program has not ended within %v", Limit)
		return -1
	}
}
