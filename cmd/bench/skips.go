package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"membersync/cmd/internal/test/testbed"
	"membersync/crmapi/crmapitest"
)

// skips holds the options of the command skips.
type skips struct {
	events, partitions, rounds int
	members                    string
	limit                      time.Duration
	minFew, minMany, maxMiB    float64
}

func skipsCommand() command {
	return command{
		name: "skips", about: "rate and peak memory of a topic of which every event is done already, for the service and for a replay",
		flags: func(f *pflag.FlagSet) measure {
			var s skips
			f.IntVar(&s.events, "events", 300_000, "events in the topic")
			f.StringVar(&s.members, "members", "2000,50000", "members whom they are of, in turn; comma-separated")
			f.IntVar(&s.partitions, "partitions", 8, "of the topic")
			f.IntVar(&s.rounds, "rounds", 3, "of the service and of the replay, in turn")
			f.DurationVar(&s.limit, "limit", 10*time.Minute, "for each number of members")
			f.Float64Var(&s.minFew, "min-few", 100_000, "target: events a second with fewer than 10,000 members")
			f.Float64Var(&s.minMany, "min-many", 60_000, "target: events a second with more members")
			f.Float64Var(&s.maxMiB, "max-mib", 96, "target: peak RSS in MiB")
			return func(ctx context.Context, b *bench) (*report, error) { return s.measure(ctx, b) } // when s is filled
		},
	}
}

// A skipped holds what was measured of the service or of the replay, by round.
type skipped struct{ rates, cpu, peaks []float64 }

func (s skips) measure(ctx context.Context, b *bench) (*report, error) {
	r := &report{about: []string{
		fmt.Sprintf("%d events, %d partitions, all done before; medians of %d rounds, the worst peak.", s.events, s.partitions, s.rounds),
		"service: a new group of one instance, from the first metrics with a duplicate to those with all. replay: the command, less",
		"the time that it takes for a single event.",
		"peak_rss = VmHWM. cpu = CPU seconds of the process for 1,000 events, with its start.",
	}}
	t := table{name: "skips", columns: []string{"members", "path", "events_per_s", "cpu_s_per_1000", "peak_rss_mib"}}
	for text := range strings.SplitSeq(s.members, ",") {
		members, err := strconv.Atoi(text)
		if err != nil || members < 1 {
			return nil, fmt.Errorf("invalid --members %q: want numbers above 0", s.members)
		}
		live, replay, err := s.series(ctx, b, members)
		if err != nil {
			return nil, err
		}
		wanted := s.minMany
		if members < 10_000 {
			wanted = s.minFew
		}
		for _, m := range []struct {
			path string
			skipped
		}{{"service", live}, {"replay", replay}} {
			rate, peak := median(m.rates), quantile(m.peaks, 1)
			t.add(members, m.path, rate, median(m.cpu), peak)
			r.atLeast(fmt.Sprintf("events a second, %s, %d members", m.path, members), rate, wanted)
			r.atMost(fmt.Sprintf("peak RSS, %s, %d members, MiB", m.path, members), peak, s.maxMiB)
		}
	}
	r.tables = append(r.tables, t)
	return r, nil
}

func (s skips) series(ctx context.Context, b *bench, members int) (live, replay skipped, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.limit, errSlow)
	defer cancel()
	crm, err := startCRM(ctx, crmapitest.Options{}, 0)
	if err != nil {
		return live, replay, err
	}
	defer func() { err = errors.Join(err, crm.Close()) }()
	job, err := b.NewJob(ctx, s.partitions, crm.URL())
	if err != nil {
		return live, replay, err
	}
	if err := s.prepare(ctx, job, members); err != nil {
		return live, replay, err
	}
	b.say("%d members: every event is done", members)
	calls := len(crm.Calls())
	for round := range s.rounds {
		if err := s.live(ctx, job, round, &live); err != nil {
			return live, replay, err
		}
		start, _, err := runReplay(ctx, job, "0:0", "--to", "0:1")
		if err != nil {
			return live, replay, err
		}
		took, usage, err := runReplay(ctx, job, "earliest")
		if err != nil {
			return live, replay, err
		}
		replay.rates = append(replay.rates, float64(s.events)/max(took-start, time.Millisecond).Seconds())
		replay.cpu, replay.peaks = append(replay.cpu, per1000(usage.CPU, s.events)), append(replay.peaks, mib(usage.PeakRSS))
		b.say("%d members, round %d: service %.0f/s, replay %.0f/s", members, round+1, live.rates[round], replay.rates[round])
	}
	if n := len(crm.Calls()) - calls; n != 0 {
		return live, replay, fmt.Errorf("%d calls for events that are done; there should be none", n)
	}
	return live, replay, errors.Join(newest(crm, s.events, members), job.Drop(ctx))
}

// prepare produces the events and lets an instance process them.
func (s skips) prepare(ctx context.Context, job *testbed.Job, members int) error {
	if err := job.Produce(ctx, turns(s.events, members, s.partitions)); err != nil {
		return err
	}
	i, err := job.Start(ctx, nil)
	if err != nil {
		return err
	}
	return errors.Join(job.AwaitDrained(ctx), i.Terminate(ctx))
}

// live lets an instance of a new group read the topic.
func (s skips) live(ctx context.Context, job *testbed.Job, round int, m *skipped) error {
	i, err := job.Start(ctx, map[string]string{"KAFKA_GROUP": fmt.Sprint(job.Group, "-", round+1)})
	if err != nil {
		return err
	}
	var first, last time.Time
	var before float64
	err = testbed.Until(ctx, 10*time.Millisecond, func(ctx context.Context) (bool, error) {
		metrics, err := i.Metrics(ctx)
		if err != nil {
			return false, err
		}
		n := metrics.Sum("membersync_events_total", `outcome="duplicate"`)
		last = time.Now()
		if first.IsZero() && n > 0 {
			first, before = last, n
		}
		return n >= float64(s.events), nil
	})
	if err != nil {
		return err
	}
	usage, err := i.Usage()
	if err != nil {
		return err
	}
	m.rates = append(m.rates, (float64(s.events)-before)/last.Sub(first).Seconds())
	m.cpu, m.peaks = append(m.cpu, per1000(usage.CPU, s.events)), append(m.peaks, mib(usage.PeakRSS))
	return i.Terminate(ctx)
}

// runReplay runs the command from a position on.
func runReplay(ctx context.Context, job *testbed.Job, from string, args ...string) (took time.Duration, usage testbed.Usage, err error) {
	began := time.Now()
	p, err := job.Command(append([]string{"replay", "--yes", "--from", from}, args...)...)
	if err != nil {
		return 0, usage, err
	}
	for running := true; running; {
		if u, err := p.Usage(); err == nil && u.PeakRSS > 0 {
			usage = u
		}
		select {
		case <-p.Done():
			running = false
		case <-ctx.Done():
			return 0, usage, errors.Join(context.Cause(ctx), p.Kill())
		case <-time.After(10 * time.Millisecond):
		}
	}
	if status := p.State().ExitCode(); status != 0 {
		return 0, usage, fmt.Errorf("membersync replay: exit status %d", status)
	}
	return time.Since(began), usage, nil
}
