package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"membersync/cmd/bench/internal/chaos"
)

// An outage holds the options of the command outage.
type outage struct {
	length, before, latency, settle time.Duration
	employees, partitions, rate     int
	seed                            uint64
	maxReturn                       float64
}

func outageCommand() command {
	return command{
		name: "outage", about: "makes the CRM fail under load, in four ways at once, each with its own service",
		flags: func(f *pflag.FlagSet) measure {
			var o outage
			f.DurationVar(&o.length, "for", 5*time.Minute, "how long the CRM is away")
			f.DurationVar(&o.before, "before", 20*time.Second, "of load before that")
			f.DurationVar(&o.settle, "settle", 2*time.Minute, "how long the rest of the work may take after its return")
			f.IntVar(&o.rate, "rate", 30, "records a second, for each service")
			f.IntVar(&o.employees, "employees", 400, "who change")
			f.IntVar(&o.partitions, "partitions", 6, "of each topic")
			f.DurationVar(&o.latency, "latency", 20*time.Millisecond, "of the fake CRM")
			f.Uint64Var(&o.seed, "seed", 1, "of the changes")
			f.Float64Var(&o.maxReturn, "max-return", 5, "target: seconds from the return to the first call that took effect for a member that had failed")
			return func(ctx context.Context, b *bench) (*report, error) { return o.measure(ctx, b) } // when o is filled
		},
	}
}

// A mode is how the CRM fails.
type mode string

// The modes.
const (
	modeRefused mode = "refused" // connections are refused
	modeHangs   mode = "hangs"   // no response until the client gives up
	modeBusy    mode = "busy"    // HTTP 200 with errorCode -1
	modeHalf    mode = "half"    // modeBusy for half of the members
)

func modes() []mode { return []mode{modeRefused, modeHangs, modeBusy, modeHalf} }

func (o outage) measure(ctx context.Context, b *bench) (*report, error) {
	results := make([]outageResult, len(modes()))
	faults := make([]error, len(modes()))
	var group sync.WaitGroup
	for n, m := range modes() {
		group.Go(func() { results[n], faults[n] = o.trial(ctx, b, m) })
	}
	group.Wait()
	for n, err := range faults {
		if err != nil {
			return nil, fmt.Errorf("outage %s: %w", modes()[n], err)
		}
	}
	return o.report(results), nil
}

func (o outage) report(results []outageResult) *report {
	r := &report{about: []string{
		fmt.Sprintf("%d records a second for %d employees of each service, API latency %v; the CRM was away for %v. Four services at once.",
			o.rate, o.employees, o.latency, o.length),
		"return = from the return to the first call that took effect, of all members and of those that had failed; all_back = of the last of those that had.",
		"calls_per_s, delay = of the members that do not fail in the partial outage: calls that took effect, and how long records waited for the next one.",
	}}
	t := table{name: "outage", columns: []string{
		"mode", "calls", "failed_calls", "failed_members", "return_s", "return_failed_s", "all_back_s", "dead_letters", "lag", "lost", "back", "overlap", "readyz",
	}}
	half := table{name: "outage, the other half of the members", columns: []string{
		"when", "calls_per_s", "delay_p50_s", "delay_p95_s", "delay_max_s",
	}}
	for _, a := range results {
		t.add(string(a.mode), a.result.Calls, a.failedCalls, a.failedMembers, a.first.Seconds(), a.firstFailed.Seconds(), a.allBack.Seconds(),
			a.deadLetters, int(a.unfinished), len(a.result.Lost), len(a.result.Back), len(a.result.Overlap), strings.Join(a.causes, "+"))
		name := string(a.mode) + ": "
		r.atMost(name+"dead letters", float64(a.deadLetters), 0)
		r.atMost(name+"seconds until a member that failed was served", a.firstFailed.Seconds(), o.maxReturn)
		r.atMost(name+"lag at the end", float64(a.unfinished), 0)
		r.atMost(name+"lost or gone back", float64(len(a.result.Lost)+len(a.result.Back)), 0)
		r.atMost(name+"overlapping calls, not excused", float64(len(a.result.Overlap)), 0)
		r.atLeast(name+"members that failed", float64(a.failedMembers), 1)
		if a.mode == modeHalf {
			half.others("before", a.othersBefore, a.delayBefore)
			half.others("during", a.othersDuring, a.delayDuring)
		} else {
			r.atLeast(name+"/readyz named the outage", flagOf(strings.Contains(strings.Join(a.causes, " "), "crm_outage")), 1)
		}
		r.addCases(a.result, string(a.mode))
	}
	r.tables = append(r.tables, t, half)
	return r
}

func (t *table) others(when string, rate float64, delays []time.Duration) {
	t.add(when, rate, quantile(delays, 0.5).Seconds(), quantile(delays, 0.95).Seconds(), quantile(delays, 1).Seconds())
}

// addCases adds some cases of each kind.
func (r *report) addCases(v chaos.Result, name string) {
	const some = 10
	for _, list := range [][]string{v.Lost, v.Back, v.Overlap, v.Unexplained, v.ExcusedOverlap} {
		for _, text := range list[:min(len(list), some)] {
			r.cases = append(r.cases, name+": "+text)
		}
	}
}

func flagOf(b bool) float64 { return float64(index(b)) }
