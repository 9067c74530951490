package settings_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"membersync/cmd/internal/cli"
	"membersync/consumer"
	"membersync/mapper"
)

// The exit statuses that the tests meet.
const (
	exitDone  = 0
	exitUsage = 2
)

var errOver = errors.New("the test stops the program")

// A program is membersync run, in this process.
type program struct {
	rig    *rig
	logs   *output
	seen   *witness
	cancel context.CancelCauseFunc
	done   chan struct{}
	status int // to be read once done is closed
}

// start runs the program with the rig's variables, and others in place of them, given as
// names and values in turn.
func (r *rig) start(pairs ...string) *program {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(r.t.Context()))
	p := &program{
		rig: r, cancel: cancel, done: make(chan struct{}),
		logs: &output{}, seen: &witness{ended: make(map[string][]consumer.Outcome)},
	}
	env := cli.Env{
		Stdin: strings.NewReader(""), Stdout: p.logs, Stderr: p.logs,
		Environ: r.environ(pairs), ReadFile: r.readFile, Observer: p.seen,
	}
	go func() {
		defer close(p.done)
		p.status = cli.Run(ctx, []string{"run"}, env)
	}()
	r.t.Cleanup(func() {
		p.stop()
		if text := p.logs.String(); r.t.Failed() {
			r.t.Logf("%q: the end of what it said:\n%s", pairs, text[max(0, len(text)-3000):])
		} else if strings.Contains(text, "canary") {
			r.t.Errorf("%q: a secret is printed", pairs)
		}
	})
	return p
}

// stop ends the program as SIGTERM does.
func (p *program) stop() {
	p.rig.t.Helper()
	p.cancel(errOver)
	p.end()
}

// end waits for the program's end and returns its status.
func (p *program) end() int {
	p.rig.t.Helper()
	select {
	case <-p.done:
		return p.status
	case <-time.After(patience):
		p.rig.t.Errorf("the program has not ended within %v", patience)
		return -1
	}
}

// refuses wants the program to end by itself with bad configuration, and to say why.
func (p *program) refuses(why string) {
	p.rig.t.Helper()
	if status := p.end(); status != exitUsage || !strings.Contains(p.logs.String(), why) {
		p.rig.t.Errorf("status %d, want %d and %q", status, exitUsage, why)
	}
}

// says waits for a text in what the program prints.
func (p *program) says(text string) {
	p.rig.t.Helper()
	p.rig.eventually("the program to say "+text, func() bool { return strings.Contains(p.logs.String(), text) })
}

// ends waits for the last outcome of an event.
func (p *program) ends(id string, want consumer.Outcome) {
	p.rig.t.Helper()
	p.rig.eventually(id+" to end", func() bool { return len(p.seen.outcomes(id)) > 0 })
	if got := p.seen.outcomes(id); got[len(got)-1] != want {
		p.rig.t.Errorf("%s: outcomes %v, want %s", id, got, want)
	}
}

// applies waits until each of the events is applied.
func (p *program) applies(ids ...string) {
	p.rig.t.Helper()
	for _, id := range ids {
		p.ends(id, consumer.Applied)
	}
}

// An output can be read while it is written.
type output struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buffer.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buffer.String()
}

// A witness observes the events of a program.
type witness struct {
	mu      sync.Mutex
	steps   []string // arrived and ended, as they come
	offsets []int64  // of the records that arrived
	ended   map[string][]consumer.Outcome
	calls   []error // how each call went
}

// Decoded implements consumer.Observer.
func (w *witness) Decoded(rec mapper.Record, _ []mapper.Result) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.steps = append(w.steps, "arrived")
	w.offsets = append(w.offsets, rec.Offset)
}

// Called implements consumer.Observer.
func (w *witness) Called(call consumer.CallAttempt) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, call.Err)
}

// Finished implements consumer.Observer.
func (w *witness) Finished(end consumer.EventResult) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.steps = append(w.steps, "ended")
	w.ended[end.Event.ID] = append(w.ended[end.Event.ID], end.Outcome)
}

func (w *witness) outcomes(id string) []consumer.Outcome {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.ended[id])
}

func (w *witness) way() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.steps)
}

func (w *witness) arrivals() []int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.offsets)
}

func (w *witness) answers() []error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.calls)
}
