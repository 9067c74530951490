package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"membersync/cmd/internal/test/testbed"
	"membersync/crmapi/crmapitest"
)

// A memory holds the options of the command memory.
type memory struct {
	large, small, few, many, partitions int
	limit                               time.Duration
	maxGrowth, maxMiB, minSteady        float64
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
			f.Float64Var(&m.minSteady, "min-steady", 0.9, "target: the rate of the last fifth of the large backlog's calls over that of the first")
			return func(ctx context.Context, b *bench) (*report, error) { return m.measure(ctx, b) } // when m is filled
		},
	}
}

func (m memory) measure(ctx context.Context, b *bench) (*report, error) {
	r := &report{about: []string{
		"Peak RSS (VmHWM) of one instance that drains a prepared topic of n events, of all employees in turn; no rate limit, no API latency.",
		"The fewer the employees, the more of what is fetched (20,000 records at most) folds into one call.",
		"fifths: of the large backlog's calls, each with its rate and with the peak at its end.",
	}}
	t := table{name: "memory", columns: []string{"employees", "events", "calls", "seconds", "cpu_s_per_1000", "peak_rss_mib"}}
	over := table{name: "fifths", columns: []string{"employees", "fifth", "calls_per_s", "peak_rss_mib"}}
	for _, employees := range []int{m.few, m.many} {
		if employees == 0 {
			continue
		}
		var peaks [2]float64
		var fifths []fifth
		for i, events := range []int{m.small, m.large} {
			d, err := m.drain(ctx, b, events, employees)
			if err != nil {
				return nil, err
			}
			b.say("%d events of %d employees: %.1f MiB, %d calls, %.1f s", events, employees, d.peak, d.calls, d.seconds)
			t.add(employees, events, d.calls, d.seconds, d.cpu, d.peak)
			peaks[i], fifths = d.peak, d.fifths
		}
		for i, f := range fifths {
			over.add(employees, i+1, f.rate, f.peak)
		}
		if first := fifths[0].rate; first > 0 { // otherwise the drain was too short for a rate
			r.atLeast(fmt.Sprintf("the last fifth's rate over the first's, %d employees", employees), fifths[4].rate/first, m.minSteady)
		}
		r.atMost(fmt.Sprintf("growth with %d employees", employees), peaks[1]/peaks[0], m.maxGrowth)
		r.atMost(fmt.Sprintf("peak RSS with %d employees, MiB", employees), max(peaks[0], peaks[1]), m.maxMiB)
	}
	r.tables = append(r.tables, t, over)
	return r, nil
}

// A drain holds the figures of draining one backlog.
type drain struct {
	calls              int
	seconds, cpu, peak float64
	fifths             []fifth // of the calls, five
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
	readings := watched(drained, func() reading {
		usage, _ := i.Usage() // it fails when the instance has ended, which ends the drain
		return reading{time.Now(), crm.Stats().Requests, mib(usage.PeakRSS)}
	})
	if err := job.AwaitDrained(drained); err != nil {
		return d, err
	}
	usage, err := i.Usage()
	if err != nil {
		return d, err
	}
	d = drain{crm.Stats().Requests, time.Since(i.Began()).Seconds(), per1000(usage.CPU, events), mib(usage.PeakRSS), nil}
	stop(nil)
	d.fifths = inFifths(<-readings)
	return d, errors.Join(i.Terminate(ctx), newest(crm, events, employees), noDeadLetters(ctx, job), job.Drop(ctx))
}

// A reading says how far a drain is.
type reading struct {
	at    time.Time
	calls int
	peak  float64 // MiB
}

// watched takes readings until the context ends, and then returns those since the first call.
func watched(ctx context.Context, take func() reading) <-chan []reading {
	done := make(chan []reading, 1)
	go func() {
		var all []reading
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			if s := take(); s.calls > 0 {
				all = append(all, s)
			}
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
		done <- all
	}()
	return done
}

// A fifth of a drain's calls has a rate, and the peak at its end.
type fifth struct{ rate, peak float64 }

// inFifths divides the readings at the fifths of the calls between the first and the last of them.
func inFifths(all []reading) []fifth {
	fifths := make([]fifth, 5)
	if len(all) == 0 {
		return fifths
	}
	first, last := all[0], all[len(all)-1]
	from := first
	for i := range fifths {
		want := first.calls + (last.calls-first.calls)*(i+1)/5
		to := all[slices.IndexFunc(all, func(r reading) bool { return r.calls >= want })]
		fifths[i] = fifth{float64(to.calls-from.calls) / max(to.at.Sub(from.at), time.Millisecond).Seconds(), to.peak}
		from = to
	}
	return fifths
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
