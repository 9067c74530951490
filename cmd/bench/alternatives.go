package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"membersync/cmd/internal/test/testbed"
	"membersync/crmapi/crmapitest"
)

// alternativesDir is a module of its own, in the source tree of this program.
const alternativesDir = "cmd/bench/internal/alternatives"

// alternatives holds the options of the comparison with what a team might write in place of
// membersync.
type alternatives struct {
	compare  bool
	binary   string // empty: it is built
	duration time.Duration
	minLead  float64
}

func (a *alternatives) addFlags(f *pflag.FlagSet) {
	f.BoolVar(&a.compare, "compare", true, "also measure a plain loop and a Watermill router; --compare=false leaves them out")
	f.StringVar(&a.binary, "alternatives", "", "`path` of their program, built already; empty: it is built")
	f.DurationVar(&a.duration, "alternatives-for", 5*time.Second, "about how long each of them runs at most: it drains only the first events then")
	f.Float64Var(&a.minLead, "min-lead", 1, "target: the service's rate over that of each of them")
}

// An alternative is one of the systems.
type alternative struct {
	name string
	// inFlight is how many calls it has in flight at most.
	inFlight int
	about    string // a line of the report
}

// systems returns all of them, in the order of the columns.
func (a alternatives) systems(partitions int) []alternative {
	if !a.compare {
		return nil
	}
	return []alternative{
		{"loop", 1, "loop = kafka-go's Reader, SETNX of the event id in Redis, one call at a time."},
		{"watermill", partitions, "watermill = a router with Deduplicator (in memory), PoisonQueue and Retry, one call at a time for each partition."},
	}
}

// events returns how many of the events a system gets, so that it takes about the given time at
// most.
func (a alternatives) events(system alternative, all int, latency time.Duration) int {
	const overhead = time.Millisecond // of a call, in addition to the latency of the CRM
	fit := int64(system.inFlight) * int64(a.duration/(latency+overhead))
	return int(max(1, min(int64(all), fit)))
}

// build builds the program in the way of the service, unless there is nothing to compare or one was
// given.
func (a *alternatives) build(ctx context.Context, root, to string, say func(string, ...any)) error {
	if !a.compare || a.binary != "" {
		return nil
	}
	say("building %s", alternativesDir)
	binary := filepath.Join(to, "alternatives")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-tags=timetzdata", "-o", binary, ".") //nolint:gosec // a module of ours
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Dir = filepath.Join(root, alternativesDir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w\n%sgive its program with --alternatives PATH, or leave it out with --compare=false",
			alternativesDir, err, out)
	}
	a.binary = binary
	return nil
}

// samples are what was measured of one system at one latency, by round.
type samples struct {
	events    int // in each round
	rate, cpu []float64
}

// alternativeRound drains the first events of the same topic with another system. The calls must be
// those of the service.
func (s speed) alternativeRound(
	ctx context.Context, b *bench, system alternative, latency time.Duration, bodies [][]byte, m *samples,
) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, roundLimit, errSlow)
	defer cancel()
	crm, err := startCRM(ctx, crmapitest.Options{Latency: latency}, m.events)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, crm.Close()) }()
	job, err := b.NewJob(ctx, s.partitions, crm.URL())
	if err != nil {
		return err
	}
	if err := job.Produce(ctx, distinct(m.events, s.partitions)); err != nil {
		return err
	}
	cpu, err := s.alternatives.drain(ctx, system, crm, job)
	if err != nil {
		return err
	}
	m.rate = append(m.rate, crm.rate())
	m.cpu = append(m.cpu, per1000(cpu, m.events))
	return errors.Join(crm.verify(m.events), sameCalls(crm, bodies), noDeadLetters(ctx, job), job.Drop(ctx))
}

// drain runs a system as a process until the topic is drained and all offsets are committed, and
// returns the CPU time that it used.
func (a alternatives) drain(ctx context.Context, system alternative, crm *fakeCRM, job *testbed.Job) (cpu time.Duration, err error) {
	cmd := exec.CommandContext(ctx, a.binary, system.name) //nolint:gosec // built here, or given by the caller
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Env = testbed.Environ(job.Variables)
	var output bytes.Buffer // read only after the process has ended
	cmd.Stdout, cmd.Stderr = &output, &output
	p, err := testbed.StartProcess(cmd)
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w\n%s", system.name, errors.Join(err, p.Kill()), output.Bytes())
		}
	}()
	if err := await(ctx, crm.ended, p.Done()); err != nil {
		return 0, err
	}
	if err := job.AwaitDrained(ctx); err != nil {
		return 0, err
	}
	status, err := p.Terminate(ctx)
	if err == nil && status != 0 {
		err = fmt.Errorf("%w: status %d", testbed.ErrEnded, status)
	}
	if err != nil {
		return 0, err
	}
	return p.State().UserTime() + p.State().SystemTime(), nil
}

var errOtherCalls = errors.New("not the calls of the service")

// sameCalls checks that each call has the body of one of the service's, up to the order of the
// fields, and that no two have the same.
func sameCalls(crm *fakeCRM, bodies [][]byte) error {
	left := make(map[string]bool, len(bodies))
	for _, body := range bodies {
		text, err := sorted(body)
		if err != nil {
			return err
		}
		left[text] = true
	}
	for _, body := range bodiesOf(crm) {
		text, err := sorted(body)
		if err != nil {
			return err
		}
		if !left[text] {
			return fmt.Errorf("%w: %s", errOtherCalls, body)
		}
		delete(left, text)
	}
	return nil
}

// sorted returns a JSON text with the fields of all objects in order.
func sorted(text []byte) (string, error) {
	var value any
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		return "", err
	}
	text, err := json.Marshal(value)
	return string(text), err
}

// compare reports what was measured at one latency.
func (m *series) compare(r *report, t *table, systems []alternative, minLead float64, ms int64) {
	service, bare := median(m.service), median(m.bare)
	row := []any{ms, service, service / bare}
	for _, system := range systems {
		other := m.alternatives[system.name]
		rate := median(other.rate)
		row = append(row, rate, rate/bare, other.events, median(other.cpu))
		r.atLeast(fmt.Sprintf("service over %s at %d ms", system.name, ms), service/rate, minLead)
	}
	t.add(row...)
}

// compareColumns returns the columns of the table that compare fills.
func compareColumns(systems []alternative) []string {
	columns := []string{"latency_ms", "service_per_s", "service_ratio"}
	for _, system := range systems {
		columns = slices.Concat(columns, []string{
			system.name + "_per_s", system.name + "_ratio", system.name + "_calls", system.name + "_cpu_s",
		})
	}
	return columns
}
