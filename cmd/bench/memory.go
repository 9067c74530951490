package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/spf13/pflag"

	"membersync/cmd/internal/test/testbed"
	"membersync/crmapi/crmapitest"
)

// A memory holds the options of the command memory.
type memory struct {
	large, small, few, many, partitions int
	limit                               time.Duration
	maxGrowth, maxMiB                   float64
}

func memoryCommand() command {
	return command{
		name: "memory", about: "compares the peak memory of draining a large backlog and a small one",
		flags: func(f *pflag.FlagSet) measure {
			var m memory
			f.IntVar(&m.large, "large", 1_000_000, "events of the large backlog")
			f.IntVar(&m.small, "small", 50_000, "events of the small backlog")
			f.IntVar(&m.few, "few", 1_000, "employees: their events fold, so that the large backlog drains in reasonable time")
			f.IntVar(&m.many, "many", 50_000, "employees of the variant in which hardly anything folds; 0 leaves it out")
			f.IntVar(&m.partitions, "partitions", 8, "of the topic")
			f.DurationVar(&m.limit, "limit", 30*time.Minute, "for draining one backlog")
			f.Float64Var(&m.maxGrowth, "max-growth", 1.10, "target: the large backlog's peak over the small one's")
			f.Float64Var(&m.maxMiB, "max-mib", 96, "target: peak RSS in MiB")
			return func(ctx context.Context, b *bench) (*report, error) { return m.measure(ctx, b) } // when m is filled
		},
	}
}

func (m memory) measure(ctx context.Context, b *bench) (*report, error) {
	r := &report{about: []string{
		"Peak RSS (VmHWM) of one instance that drains a prepared topic of n events, of all employees in turn; no rate limit, no API latency.",
		"The fewer the employees, the more of what is fetched (20,000 records at most) folds into one call.",
	}}
	t := table{name: "memory", columns: []string{"employees", "events", "calls", "seconds", "cpu_s_per_1000", "peak_rss_mib"}}
	for _, employees := range []int{m.few, m.many} {
		if employees == 0 {
			continue
		}
		var peaks [2]float64
		for i, events := range []int{m.small, m.large} {
			d, err := m.drain(ctx, b, events, employees)
			if err != nil {
				return nil, err
			}
			b.say("%d events of %d employees: %.1f MiB, %d calls, %.1f s", events, employees, d.peak, d.calls, d.seconds)
			t.add(employees, events, d.calls, d.seconds, d.cpu, d.peak)
			peaks[i] = d.peak
		}
		r.atMost(fmt.Sprintf("growth with %d employees", employees), peaks[1]/peaks[0], m.maxGrowth)
		r.atMost(fmt.Sprintf("peak RSS with %d employees, MiB", employees), max(peaks[0], peaks[1]), m.maxMiB)
	}
	r.tables = append(r.tables, t)
	return r, nil
}

// A drain holds the figures of draining one backlog.
type drain struct {
	calls              int
	seconds, cpu, peak float64
}

// drain produces a backlog and drains it with one instance.
func (m memory) drain(ctx context.Context, b *bench, events, employees int) (d drain, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, m.limit, errSlow)
	defer cancel()
	crm, err := startCRM(ctx, crmapitest.Options{}, 0)
	if err != nil {
		return d, err
	}
	defer func() { err = errors.Join(err, crm.Close()) }()
	job, err := b.NewJob(ctx, m.partitions, crm.URL())
	if err != nil {
		return d, err
	}
	if err := job.Produce(ctx, turns(events, employees, m.partitions)); err != nil {
		return d, err
	}
	i, err := job.Start(ctx, nil)
	if err != nil {
		return d, err
	}
	drained, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() {
		select {
		case <-i.Done():
			stop(testbed.ErrEnded)
		case <-drained.Done():
		}
	}()
	if err := job.AwaitDrained(drained); err != nil {
		return d, err
	}
	usage, err := i.Usage()
	if err != nil {
		return d, err
	}
	d = drain{crm.Stats().Requests, time.Since(i.Began()).Seconds(), per1000(usage.CPU, events), mib(usage.PeakRSS)}
	return d, errors.Join(i.Terminate(ctx), newest(crm, events, employees), noDeadLetters(ctx, job), job.Drop(ctx))
}

// turns returns changes of one field of all employees in turn.
func turns(events, employees, partitions int) iter.Seq[testbed.Record] {
	return func(yield func(testbed.Record) bool) {
		for n := range events {
			e := testbed.Event{Employee: n%employees + 1, Sequence: int64(n), Before: "{}", After: fmt.Sprintf(`{"position":%q}`, position(n))}
			if !yield(e.Record(partitions)) {
				return
			}
		}
	}
}

func position(n int) string { return fmt.Sprintf("Position %d", n) }

// newest checks that each member holds the value of its last event.
func newest(crm *fakeCRM, events, employees int) error {
	for n := max(0, events-employees); n < events; n++ {
		member := testbed.OpenUserID(n%employees + 1)
		if got, want := string(crm.State(member)["position"]), fmt.Sprintf("%q", position(n)); got != want {
			return fmt.Errorf("member %s holds %s, not %s", member, got, want)
		}
	}
	return nil
}
