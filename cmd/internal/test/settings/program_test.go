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

// The exit statuses that the tests expect.
const (
	exitDone  = 0
	exitUsage = 2
)

var errOver = errors.New("the test stops the program")

// A program is membersync run in this process.
type program struct {
	rig    *rig
	logs   *output
	seen   *recorder
	cancel context.CancelCauseFunc
	done   chan struct{}
	status int // read only after done is closed
}

// start runs the program with the rig's variables. The pairs of names and values given replace
// them.
func (r *rig) start(pairs ...string) *program {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(r.t.Context()))
	p := &program{
		rig: r, cancel: cancel, done: make(chan struct{}),
		logs: &output{}, seen: &recorder{ended: make(map[string][]consumer.Outcome)},
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
	case <-time.After(waitLimit):
		p.rig.t.Errorf("the program has not ended within %v", waitLimit)
		return -1
	}
}

// refuses checks that the program ends with invalid configuration and reports the reason.
func (p *program) refuses(why string) {
	p.rig.t.Helper()
	if status := p.end(); status != exitUsage || !strings.Contains(p.logs.String(), why) {
		p.rig.t.Errorf("status %d, want %d and %q", status, exitUsage, why)
	}
}

// says waits for a text in the program's output.
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

// applies waits until every given event is applied.
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

// A recorder observes the events of a program.
type recorder struct {
	mu      sync.Mutex
	steps   []string // arrivals and outcomes in their order
	offsets []int64  // of the records that arrived
	ended   map[string][]consumer.Outcome
	calls   []error // the result of each call
}

// Decoded implements consumer.Observer.
func (r *recorder) Decoded(rec mapper.Record, _ []mapper.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.steps = append(r.steps, "arrived")
	r.offsets = append(r.offsets, rec.Offset)
}

// Called implements consumer.Observer.
func (r *recorder) Called(call consumer.CallAttempt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, call.Err)
}

// Finished implements consumer.Observer.
func (r *recorder) Finished(end consumer.EventResult) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.steps = append(r.steps, "ended")
	r.ended[end.Event.ID] = append(r.ended[end.Event.ID], end.Outcome)
}

func (r *recorder) outcomes(id string) []consumer.Outcome {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.ended[id])
}

func (r *recorder) way() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.steps)
}

func (r *recorder) arrivals() []int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.offsets)
}

func (r *recorder) answers() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.calls)
}
