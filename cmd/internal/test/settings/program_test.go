package settings_test

import (
	"slices"
	"strings"
	"sync"

	"membersync/cmd/internal/test/testbed/servicetest"
	"membersync/consumer"
	"membersync/mapper"
)

// The exit statuses that the tests expect.
const (
	exitDone  = 0
	exitUsage = 2
)

// A program is membersync run in this process, with its recorder.
type program struct {
	*servicetest.Program
	rig  *rig
	seen *recorder
}

// start runs the program with the rig's variables. The pairs of names and values given replace
// them.
func (r *rig) start(pairs ...string) *program {
	seen := &recorder{ended: make(map[string][]consumer.Outcome)}
	return &program{Program: r.Start(seen, pairs...), rig: r, seen: seen}
}

// refuses checks that the program ends with invalid configuration and reports the reason.
func (p *program) refuses(why string) {
	p.rig.t.Helper()
	if status := p.Status(); status != exitUsage || !strings.Contains(p.Logs.String(), why) {
		p.rig.t.Errorf("status %d, want %d and %q", status, exitUsage, why)
	}
}

// says waits for a text in the program's output.
func (p *program) says(text string) {
	p.rig.t.Helper()
	p.rig.eventually("the program to say "+text, func() bool { return strings.Contains(p.Logs.String(), text) })
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
