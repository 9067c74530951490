package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/pflag"
)

// A rolling holds the options of the command rolling.
type rolling struct {
	instances, partitions, employees, rate int
	latency, before, after, settle         time.Duration
	probe, deadline                        time.Duration
	surge                                  bool
	previous                               string
	maxGap, maxStop                        float64
}

func rollingCommand() command {
	return command{
		name: "rolling", about: "replaces all instances under load, one after the other, as a rolling update does, and checks the result",
		flags: func(f *pflag.FlagSet) measure {
			var o rolling
			f.IntVar(&o.instances, "instances", 5, "of the service")
			f.IntVar(&o.partitions, "partitions", 12, "of the topic")
			f.IntVar(&o.employees, "employees", 500, "who change, in turn")
			f.IntVar(&o.rate, "rate", 300, "events a second")
			f.DurationVar(&o.latency, "latency", 20*time.Millisecond, "of the fake CRM")
			f.DurationVar(&o.before, "before", 20*time.Second, "of load before the first restart, after as long for the first joins")
			f.DurationVar(&o.after, "after", 10*time.Second, "of load after the last restart; it counts as part of the update")
			f.DurationVar(&o.settle, "settle", time.Minute, "how long the rest of the work may take at the end")
			f.DurationVar(&o.probe, "probe", 5*time.Second, "between requests of /readyz, as in the chart")
			f.DurationVar(&o.deadline, "deadline", time.Minute, "until when a new instance must be ready; otherwise the update is undone")
			f.BoolVar(&o.surge, "surge", true, "start the new instance before the old one is stopped, as in the chart; otherwise stop first")
			f.StringVar(&o.previous, "previous", "", "`path` of an earlier binary, to update from and to roll back to; empty: the same one is restarted")
			f.Float64Var(&o.maxGap, "max-gap", 3, "target: longest gap of any partition during the restarts, in seconds")
			f.Float64Var(&o.maxStop, "max-stop", 2, "target: seconds from SIGTERM to the end of an instance")
			return func(ctx context.Context, b *bench) (*report, error) { return o.measure(ctx, b) } // when o is filled
		},
	}
}

func (o rolling) report(r *rollingResult) *report {
	order := "stopped before a new one is started"
	if o.surge {
		order = "stopped once a new one is ready (maxSurge 1, maxUnavailable 0)"
	}
	out := &report{about: []string{
		fmt.Sprintf("%d instances, %d partitions, %d events/s of %d employees in turn, API latency %v; each instance is %s.",
			o.instances, o.partitions, o.rate, o.employees, o.latency, order),
		"gap = of a partition, the longest time from producing one of its events to the response of the call that brought its value or a newer one to the CRM.",
		"An event belongs to the phase and the restart in which it was produced. A rebalance is a new generation of the group, a join that of one instance.",
		"A restart ends when its old instance has ended, or its new one is ready if that is later; the rebalance that follows is in the next row.",
	}}
	phases := table{name: "rolling, phases", columns: []string{
		"phase", "seconds", "events", "p50_ms", "p99_ms", "gap_min_s", "gap_median_s", "gap_max_s", "worst_partition", "rebalances", "joins",
	}}
	parts := table{name: "rolling, gap of each partition", columns: []string{"partition"}, rows: make([][]any, o.partitions)}
	for p := range parts.rows {
		parts.rows[p] = []any{p}
	}
	for _, p := range r.phases {
		took, gaps := tookIn(r.delays, p.span), gapsIn(r.delays, p.span, o.partitions)
		rebalances, joins := joinsIn(r.joins, p.span)
		longest := slices.Max(gaps)
		phases.add(p.name, p.span.To.Sub(p.span.From).Seconds(), len(took), ms(quantile(took, 0.5)), ms(quantile(took, 0.99)),
			slices.Min(gaps).Seconds(), quantile(gaps, 0.5).Seconds(), longest.Seconds(), slices.Index(gaps, longest), rebalances, joins)
		parts.columns = append(parts.columns, p.name+"_s")
		for n, gap := range gaps {
			parts.rows[n] = append(parts.rows[n], gap.Seconds())
		}
		if p.restarts {
			out.atMost("longest gap of a partition, "+p.name+", s", longest.Seconds(), o.maxGap)
		}
	}
	restarts := table{name: "rolling, restarts", columns: []string{"phase", "instance", "ready_s", "stop_s", "gap_max_s", "rebalances", "joins"}}
	var stop time.Duration
	for n, s := range r.restarts {
		rebalances, joins := joinsIn(r.joins, s.span)
		restarts.add(s.phase, n%o.instances+1, s.ready.Seconds(), s.stop.Seconds(),
			slices.Max(gapsIn(r.delays, s.span, o.partitions)).Seconds(), rebalances, joins)
		stop = max(stop, s.stop)
	}
	result := table{name: "rolling, result", columns: []string{
		"events", "calls", "failed_calls", "lost", "duplicates", "back", "overlaps", "dead_letters", "lag", "refused",
	}}
	result.add(r.events, r.calls, r.failed, r.lost, r.repeated, r.back, r.overlaps, int(r.deadLetters), int(r.lag), yesNo(r.refused != ""))
	out.tables = []table{phases, parts, restarts, result}
	out.atMost("events whose value or a newer one is not at the CRM", float64(r.lost), 0)
	out.atMost("values sent more than once", float64(r.repeated), 0)
	out.atMost("values sent after a newer one", float64(r.back), 0)
	out.atMost("calls at once for one member, and breaches of the protocol", float64(r.overlaps), 0)
	out.atMost("calls that failed", float64(r.failed), 0)
	out.atMost("dead letters", float64(r.deadLetters), 0)
	out.atMost("lag at the end", float64(r.lag), 0)
	out.atMost("new instances that did not become ready", flagOf(r.refused != ""), 0)
	out.atMost("from SIGTERM to the end of an instance, s", stop.Seconds(), o.maxStop)
	return out
}
