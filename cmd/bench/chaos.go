package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"membersync/cmd/bench/internal/chaos"
	"membersync/cmd/internal/test/testbed"
)

// A chaosTrial holds the options of the command chaos.
type chaosTrial struct {
	length, latency, session, settle                         time.Duration
	seed                                                     uint64
	instances, concurrency, employees, partitions, rate, min int
	maxRepeats                                               float64
}

// tenMinutes is the duration to which the numbers of faults refer.
const tenMinutes = 10 * time.Minute

func chaosCommand() command {
	return command{
		name:    "chaos",
		about:   "kills instances, Kafka and Redis and cuts connections under load, and checks the result",
		options: chaosOptions,
		flags: func(f *pflag.FlagSet) measure {
			var c chaosTrial
			f.DurationVar(&c.length, "for", tenMinutes, "how long faults are injected")
			f.Uint64Var(&c.seed, "seed", 1, "of the faults and the changes")
			f.IntVar(&c.instances, "instances", 3, "of the service")
			f.IntVar(&c.concurrency, "concurrency", 8, "calls in flight of each instance")
			f.IntVar(&c.employees, "employees", 500, "who change")
			f.IntVar(&c.partitions, "partitions", 6, "of the topic")
			f.IntVar(&c.rate, "rate", 700, "records a second, more than the calls allow, so that waiting records fold")
			f.DurationVar(&c.latency, "latency", 50*time.Millisecond, "of the fake CRM")
			f.DurationVar(&c.session, "session", 6*time.Second, "time-out of the group's members")
			f.DurationVar(&c.settle, "settle", 2*time.Minute, "how long the rest of the work may take after the last fault")
			f.IntVar(&c.min, "min-kills", 60, "target: kills in ten minutes, in proportion; and a third of it as rebalances by SIGTERM and join")
			f.Float64Var(&c.maxRepeats, "max-repeats", 0.02, "target: share of calls that repeat an earlier one")
			return func(ctx context.Context, b *bench) (*report, error) { return c.measure(ctx, b) } // when c is filled
		},
	}
}

// chaosOptions makes the servers keep their data and the instances connect to Kafka through a
// proxy.
func chaosOptions(o *testbed.Options) {
	o.AppendOnly = true
	o.KafkaVia = freeAddress()
}

// freeAddress returns an address below the ports of outgoing connections. If another process has
// taken it since, opening the proxy fails.
func freeAddress() string {
	const first, last, tries = 15000, 20000, 100
	var config net.ListenConfig
	for range tries {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(first+rand.IntN(last-first)))
		if l, err := config.Listen(context.Background(), "tcp", addr); err == nil && l.Close() == nil {
			return addr
		}
	}
	return ""
}

var errOwnServers = errors.New("chaos: it restarts Kafka and Redis, so it needs servers of its own: go without --kafka and --redis")

func (c chaosTrial) measure(ctx context.Context, b *bench) (_ *report, err error) {
	if !b.Kafka().Own() || !b.Redis().Own() {
		return nil, errOwnServers
	}
	a, err := c.open(ctx, b)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	if err := a.injectFaults(ctx); err != nil {
		return nil, err
	}
	b.say("chaos: the faults are over; waiting for the remaining records")
	unfinished, err := a.settle(ctx)
	if err != nil {
		return nil, err
	}
	evidence, err := a.evidence(ctx, unfinished)
	if err != nil {
		return nil, err
	}
	return c.report(a, evidence, chaos.Judge(evidence)), nil
}

func (c chaosTrial) report(a *chaosRun, e chaos.Evidence, v chaos.Result) *report {
	r := &report{about: []string{
		fmt.Sprintf("%d instances, %d records a second for %d employees, API latency %v, faults of seed %d for %v; member sessions of %v.",
			c.instances, c.rate, c.employees, c.latency, c.seed, c.length, c.session),
		"checked by the source topic, the fake CRM's log, the dead-letter topic and the committed offsets alone.",
		"excused_overlap: the client of the first call was gone (killed, cut off, or as the CRM noticed), and the second is the very same update.",
	}}
	faults := table{name: "chaos, faults", columns: []string{"kind", "times"}}
	for _, kind := range chaos.Kinds() {
		faults.add(string(kind), a.injected[kind])
	}
	work := table{name: "chaos, work", columns: []string{
		"records", "copies", "poison", "calls", "applied", "cut_off", "kills_in_calls", "longest_pause_s", "settled_s", "dead_letter_copies",
	}}
	hits := killsInCalls(e)
	work.add(v.Records, v.Duplicates, v.Poison, v.Calls, v.Applied, cutOff(e.Calls), hits, longestPause(e.Calls).Seconds(), a.settled.Seconds(), v.DeadLetterCopies)
	result := table{name: "chaos, result", columns: []string{
		"lost", "back", "overlap", "excused_overlap", "unexplained", "repeated", "surprises",
	}}
	result.add(len(v.Lost), len(v.Back), len(v.Overlap), len(v.ExcusedOverlap), len(v.Unexplained), v.Repeated, len(a.surprises))
	r.tables = append(r.tables, faults, work, result)
	share := float64(c.length) / float64(tenMinutes)
	r.atLeast("kills", float64(a.injected[chaos.Kill]), float64(c.min)*share)
	r.atLeast("kills that hit calls in flight", float64(hits), float64(c.min)*minHits*share)
	r.atLeast("rebalances by SIGTERM and join", float64(a.injected[chaos.Leave]), float64(c.min)/3*share)
	for _, kind := range chaos.Kinds()[2:] {
		r.atLeast(string(kind), float64(a.injected[kind]), 1)
	}
	r.atMost("lost", float64(len(v.Lost)), 0)
	r.atMost("gone back", float64(len(v.Back)), 0)
	r.atMost("overlapping calls, not excused", float64(len(v.Overlap)), 0)
	r.atMost("values and dead letters without a reason", float64(len(v.Unexplained)), 0)
	r.atMost("instances that ended otherwise than asked", float64(len(a.surprises)), 0)
	r.atMost("share of repeated calls", v.Repeats(), c.maxRepeats)
	r.addCases(v, "chaos")
	for _, text := range slices.Concat(a.surprises, a.slow) {
		r.cases = append(r.cases, "chaos: "+text)
	}
	return r
}

// minHits is the share of the kills that must hit calls in flight. Other kills prove little.
const minHits = 0.2

// killsInCalls counts the kills of an instance that was waiting for a response.
func killsInCalls(e chaos.Evidence) (n int) {
	for _, d := range e.Crashes {
		if slices.ContainsFunc(e.Calls, func(c chaos.Call) bool {
			return c.Instance == d.Instance && c.Arrived.Before(d.Signal) && c.Finished.After(d.Signal)
		}) {
			n++
		}
	}
	return n
}

// cutOff counts the calls whose client did not wait for the response.
func cutOff(calls []chaos.Call) (n int) {
	for _, c := range calls {
		if c.Gone {
			n++
		}
	}
	return n
}

// longestPause returns the longest time without a call.
func longestPause(calls []chaos.Call) (longest time.Duration) {
	for i := 1; i < len(calls); i++ {
		longest = max(longest, calls[i].Arrived.Sub(calls[i-1].Arrived))
	}
	return longest
}
