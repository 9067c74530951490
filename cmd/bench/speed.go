package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// A speed holds the options of the command speed.
type speed struct {
	events, rounds, partitions, concurrency int
	latencies                               string
	minRatio0, minRatio, maxFirst           float64
	alternatives                            alternatives
}

func speedCommand() command {
	return command{
		name: "speed", about: "drains a prepared topic and compares the rate with those of a bare Go HTTP client, a plain loop and a Watermill router",
		flags: func(f *pflag.FlagSet) measure {
			var s speed
			f.IntVar(&s.events, "events", 6000, "events in the topic, of as many employees")
			f.IntVar(&s.rounds, "rounds", 5, "rounds for each latency, of all in turn")
			f.IntVar(&s.partitions, "partitions", 8, "of the topic")
			f.IntVar(&s.concurrency, "concurrency", 64, "calls in flight")
			f.StringVar(&s.latencies, "latencies", "0s,20ms,50ms", "of the fake CRM, comma-separated")
			f.Float64Var(&s.minRatio0, "min-ratio-0", 0.35, "target: share of the bare client's rate without latency")
			f.Float64Var(&s.minRatio, "min-ratio", 0.97, "target: share of the bare client's rate with latency")
			f.Float64Var(&s.maxFirst, "max-first", 1, "target: seconds from the assignment to the first call")
			s.alternatives.addFlags(f)
			return func(ctx context.Context, b *bench) (*report, error) { return s.measure(ctx, b) } // when s is filled
		},
	}
}

func (s speed) measure(ctx context.Context, b *bench) (*report, error) {
	latencies, err := durations(s.latencies)
	if err != nil {
		return nil, err
	}
	if err := s.alternatives.build(ctx, b.Root(), b.Dir(), b.say); err != nil {
		return nil, err
	}
	systems := s.alternatives.systems(s.partitions)
	r := &report{about: s.about(systems)}
	t := table{name: "speed", columns: []string{
		"latency_ms", "service_per_s", "bare_per_s", "ratio", "calls",
		"service_cpu_s", "redis_cpu_s", "crm_cpu_s", "bare_cpu_s", "peak_rss_mib", "first_call_s",
	}}
	compared := table{name: "alternatives", columns: compareColumns(systems)}
	for _, latency := range latencies {
		m, err := s.series(ctx, b, latency)
		if err != nil {
			return nil, err
		}
		m.report(r, &t, s, latency)
		m.compare(r, &compared, systems, s.alternatives.minLead, latency.Milliseconds())
	}
	r.tables = append(r.tables, t)
	if len(systems) > 0 {
		r.tables = append(r.tables, compared)
	}
	return r, nil
}

func durations(list string) (all []time.Duration, err error) {
	for text := range strings.SplitSeq(list, ",") {
		d, err := time.ParseDuration(text)
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, nil
}

func (s speed) about(systems []alternative) []string {
	lines := []string{
		fmt.Sprintf("%d events of distinct employees, %d partitions, %d calls in flight, no rate limit; medians of %d rounds of all in turn.",
			s.events, s.partitions, s.concurrency, s.rounds),
		"rate = events / (last response at the CRM - first request at the CRM). All run as processes of their own.",
		"cpu = CPU seconds for 1,000 events: the service's, Redis' and the fake CRM's (with the rest of this program) from the first request to the",
		"last response of the service, those of all others from their start to their end.",
		"first_call = from the assignment of the partitions to the first request, the worst of all rounds.",
	}
	for _, system := range systems {
		lines = append(lines, system.about)
	}
	if len(systems) > 0 {
		lines = append(lines, fmt.Sprintf("Both drain the first events only, as many as take about %v. Their ratio is that to the bare client.", s.alternatives.duration))
	}
	return lines
}

// A series holds what was measured at one latency, by round.
type series struct {
	service, bare, cpu, redisCPU, crmCPU, bareCPU, rss, first []float64
	calls                                                     int
	alternatives                                              map[string]*samples // by the name of the system
}

func (m *series) report(r *report, t *table, s speed, latency time.Duration) {
	ratio, first := median(m.service)/median(m.bare), quantile(m.first, 1)
	ms := latency.Milliseconds()
	t.add(ms, median(m.service), median(m.bare), ratio, m.calls,
		median(m.cpu), median(m.redisCPU), median(m.crmCPU), median(m.bareCPU), quantile(m.rss, 1), first)
	limit := s.minRatio
	if latency == 0 {
		limit = s.minRatio0
	}
	r.atLeast(fmt.Sprintf("ratio at %d ms", ms), ratio, limit)
	r.atMost(fmt.Sprintf("first call at %d ms, s", ms), first, s.maxFirst)
}
