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

// A full holds the options of the command full.
type full struct {
	events, members, small, rounds, partitions, concurrency int
	latencies                                               string
	minSmall, minBare, maxMiB, maxGC                        float64
}

func fullCommand() command {
	return command{
		name: "full", about: "drains a backlog that keeps the buffer full, and compares it with a small one and with a bare Go HTTP client",
		flags: func(f *pflag.FlagSet) measure {
			var l full
			f.IntVar(&l.events, "events", 100_000, "events of the backlog that fills the buffer")
			f.IntVar(&l.members, "members", 50_000, "employees that these events are of, in turn")
			f.IntVar(&l.small, "small", 6000, "events of the small backlog, of as many employees")
			f.IntVar(&l.rounds, "rounds", 3, "rounds for each latency, of all three in turn")
			f.IntVar(&l.partitions, "partitions", 8, "of the topic")
			f.IntVar(&l.concurrency, "concurrency", 64, "calls in flight")
			f.StringVar(&l.latencies, "latencies", "0s,20ms", "of the fake CRM, comma-separated")
			f.Float64Var(&l.minSmall, "min-small", 0.9, "target: share of the small backlog's rate without latency")
			f.Float64Var(&l.minBare, "min-bare", 0.97, "target: share of the bare client's rate with latency")
			f.Float64Var(&l.maxMiB, "max-mib", 96, "target: peak RSS in MiB")
			f.Float64Var(&l.maxGC, "max-gc", 0.1, "target: the garbage collector's share of the CPU time")
			return func(ctx context.Context, b *bench) (*report, error) { return l.measure(ctx, b) } // when l is filled
		},
	}
}

func (l full) measure(ctx context.Context, b *bench) (*report, error) {
	r := &report{about: []string{
		fmt.Sprintf("%d events of %d employees in turn, next to %d events of as many; %d partitions, %d calls in flight, no rate limit; medians of %d rounds.",
			l.events, l.members, l.small, l.partitions, l.concurrency, l.rounds),
		"rate = calls / (last response at the CRM - first request at the CRM). The bare client sends the calls of the large backlog again.",
		"cpu = CPU seconds of the service for 1,000 calls, its start included. gc = the collector's share of it, by the runtime's own estimate.",
		"peak_rss = VmHWM, the worst of all rounds. alloc = what the service has allocated for a call.",
	}}
	t := table{name: "full", columns: []string{
		"latency_ms", "small_per_s", "full_per_s", "bare_per_s", "of_small", "of_bare",
		"small_cpu_s", "full_cpu_s", "small_gc", "full_gc", "small_rss_mib", "full_rss_mib", "full_alloc_kib",
	}}
	for text := range strings.SplitSeq(l.latencies, ",") {
		latency, err := time.ParseDuration(text)
		if err != nil {
			return nil, err
		}
		var m backlogs
		for round := range l.rounds {
			if err := l.round(ctx, b, latency, &m, round); err != nil {
				return nil, err
			}
		}
		m.report(r, &t, l, latency)
	}
	r.tables = append(r.tables, t)
	return r, nil
}

// backlogs are the figures of all rounds at one latency.
type backlogs struct {
	small, full figures
	bare        []float64
	bodies      [][]byte // of the calls of the large backlog
}

// figures are those of one backlog, by round.
type figures struct{ rate, cpu, gc, rss, alloc []float64 }

// round measures all three once. The order is reversed in every second round; the bare client needs
// the calls of a first one.
func (l full) round(ctx context.Context, b *bench, latency time.Duration, m *backlogs, round int) error {
	turns := []func() error{
		func() error { return l.drain(ctx, b, latency, l.small, l.small, &m.small, nil) },
		func() error { return l.drain(ctx, b, latency, l.events, l.members, &m.full, &m.bodies) },
		func() error { return l.bare(ctx, latency, m) },
	}
	if round%2 == 1 {
		turns[0], turns[2] = turns[2], turns[0]
	}
	for _, turn := range turns {
		if err := turn(); err != nil {
			return err
		}
	}
	b.say("latency %v, round %d: small %.0f/s, full %.0f/s, bare client %.0f/s; GC %.3f and %.3f, %.1f and %.1f MiB", latency, round+1,
		m.small.rate[round], m.full.rate[round], m.bare[round], m.small.gc[round], m.full.gc[round], m.small.rss[round], m.full.rss[round])
	return nil
}

// drain drains one backlog with one instance. It keeps the bodies of the calls, unless they are not
// wanted.
func (l full) drain(
	ctx context.Context, b *bench, latency time.Duration, events, members int, to *figures, bodies *[][]byte,
) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, roundLimit, errSlow)
	defer cancel()
	crm, err := startCRM(ctx, crmapitest.Options{Latency: latency}, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, crm.Close()) }()
	job, err := b.NewJob(ctx, l.partitions, crm.URL())
	if err != nil {
		return err
	}
	if err := job.Produce(ctx, turns(events, members, l.partitions)); err != nil {
		return err
	}
	i, err := job.Start(ctx, map[string]string{"CRM_CONCURRENCY": strconv.Itoa(l.concurrency)})
	if err != nil {
		return err
	}
	if err := await(ctx, crm.began, i.Done()); err != nil {
		return err
	}
	if err := job.AwaitDrained(ctx); err != nil {
		return err
	}
	if err := to.add(ctx, crm, i); err != nil {
		return err
	}
	if bodies != nil {
		*bodies = bodiesOf(crm)
	}
	return errors.Join(i.Terminate(ctx), crm.wellFormed(), newest(crm, events, members), noDeadLetters(ctx, job), job.Drop(ctx))
}

// add reads the figures of an instance that has drained its backlog.
func (f *figures) add(ctx context.Context, crm *fakeCRM, i *testbed.Instance) error {
	usage, err := i.Usage()
	if err != nil {
		return err
	}
	metrics, err := i.Metrics(ctx)
	if err != nil {
		return err
	}
	f.rate = append(f.rate, crm.rateSoFar())
	f.cpu = append(f.cpu, per1000(usage.CPU, crm.Stats().Requests))
	f.gc = append(f.gc, metrics.Sum("go_cpu_classes_gc_total_cpu_seconds_total")/metrics.Sum("process_cpu_seconds_total"))
	f.rss = append(f.rss, mib(usage.PeakRSS))
	f.alloc = append(f.alloc, metrics.Sum("go_memstats_alloc_bytes_total")/float64(crm.Stats().Requests)/(1<<10))
	return nil
}

func (l full) bare(ctx context.Context, latency time.Duration, m *backlogs) error {
	one := series{}
	s := speed{events: len(m.bodies), concurrency: l.concurrency}
	err := s.bareRound(ctx, latency, m.bodies, &one)
	m.bare = append(m.bare, one.bare...)
	return err
}

func (m *backlogs) report(r *report, t *table, l full, latency time.Duration) {
	small, large, bare := median(m.small.rate), median(m.full.rate), median(m.bare)
	smallGC, fullGC := median(m.small.gc), median(m.full.gc)
	smallRSS, fullRSS := quantile(m.small.rss, 1), quantile(m.full.rss, 1)
	ms := latency.Milliseconds()
	t.add(ms, small, large, bare, large/small, large/bare,
		median(m.small.cpu), median(m.full.cpu), smallGC, fullGC, smallRSS, fullRSS, median(m.full.alloc))
	if latency == 0 {
		r.atLeast("share of the small backlog's rate at 0 ms", large/small, l.minSmall)
	} else {
		r.atLeast(fmt.Sprintf("share of the bare client's rate at %d ms", ms), large/bare, l.minBare)
	}
	r.atMost(fmt.Sprintf("peak RSS at %d ms, MiB", ms), max(smallRSS, fullRSS), l.maxMiB)
	r.atMost(fmt.Sprintf("the collector's share at %d ms", ms), max(smallGC, fullGC), l.maxGC)
}
