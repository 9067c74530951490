package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"membersync/cmd/bench/internal/chaos"
	"membersync/cmd/internal/test/testbed"
	"membersync/crmapi/crmapitest"
)

// A backlog holds the options of the command backlog.
type backlog struct {
	events, employees, partitions, buffer int
	seed                                  uint64
	rate                                  string
	latency                               time.Duration
	maxRatio                              float64
}

// mostFolded is how many events the service folds into one call at most.
const mostFolded = 500

func backlogCommand() command {
	return command{
		name: "backlog", about: "counts the calls that a backlog needs, and compares them with the fewest that the buffer allows",
		flags: func(f *pflag.FlagSet) measure {
			var g backlog
			f.IntVar(&g.events, "events", 100_000, "that wait when the service starts")
			f.IntVar(&g.employees, "employees", 1000, "whom they are of")
			f.IntVar(&g.partitions, "partitions", 6, "of the topic")
			f.IntVar(&g.buffer, "buffer", 20_000, "MEMBERSYNC_KAFKA_BUFFER_RECORDS of the first round; the second has room for all")
			f.Uint64Var(&g.seed, "seed", 1, "of the order of the events")
			f.StringVar(&g.rate, "rate", "100/1s", "MEMBERSYNC_CRM_RATE")
			f.DurationVar(&g.latency, "latency", 20*time.Millisecond, "of the fake CRM")
			f.Float64Var(&g.maxRatio, "max-ratio", 1.05, "target: calls over the computed minimum")
			return func(ctx context.Context, b *bench) (*report, error) { return g.measure(ctx, b) } // when g is filled
		},
	}
}

func (g backlog) measure(ctx context.Context, b *bench) (*report, error) {
	r := &report{about: []string{
		fmt.Sprintf("%d events of %d employees in random order, produced before the service starts; %s calls, API latency %v.",
			g.events, g.employees, g.rate, g.latency),
		"minimum = calls of an ideal service with this buffer, always full, in the order of producing, that calls for the",
		fmt.Sprintf("member with the most events in the buffer, at most %d events a call. one_by_one = the same, reading one partition after the other", mostFolded),
		"while the others wait. naive = one call for each employee.",
	}}
	t := table{name: "backlog", columns: []string{"buffer_records", "calls", "minimum", "ratio", "one_by_one", "naive", "seconds", "events_per_call"}}
	order := g.order()
	for _, buffer := range []int{g.buffer, g.events} {
		calls, took, err := g.round(ctx, b, order, buffer)
		if err != nil {
			return nil, err
		}
		ideal := chaos.Scheduler{Buffer: buffer, Fold: mostFolded}
		least := ideal.Least(order)
		ratio := float64(calls) / float64(least)
		t.add(buffer, calls, least, ratio, ideal.Least(oneByOne(order, g.partitions)), g.employees, took.Seconds(), float64(g.events)/float64(calls))
		b.say("backlog: buffer %d: %d calls, minimum %d", buffer, calls, least)
		r.atMost(fmt.Sprintf("calls over the minimum, buffer of %d records", buffer), ratio, g.maxRatio)
	}
	r.tables = append(r.tables, t)
	return r, nil
}

// order draws the employee of each event. Each employee has the same number of events.
func (g backlog) order() []int {
	rng := rand.New(rand.NewPCG(g.seed, 3))
	order := make([]int, g.events)
	for i := range order {
		order[i] = i % g.employees
	}
	rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	return order
}

// oneByOne returns the order when the partitions are read one after the other.
func oneByOne(order []int, partitions int) []int {
	parts := make([][]int, partitions)
	for _, employee := range order {
		p := testbed.Event{Employee: employee}.Record(partitions).Partition
		parts[p] = append(parts[p], employee)
	}
	return slices.Concat(parts...)
}

// round starts an instance on a new backlog and returns the number of its calls and their duration.
func (g backlog) round(ctx context.Context, b *bench, order []int, buffer int) (calls int, took time.Duration, err error) {
	crm, err := startCRM(ctx, crmapitest.Options{Latency: g.latency}, 0)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, crm.Close()) }()
	job, err := b.NewJob(ctx, g.partitions, crm.URL())
	if err != nil {
		return 0, 0, err
	}
	if err := job.Produce(ctx, inOrder(order, g.partitions)); err != nil {
		return 0, 0, err
	}
	i, err := job.Start(ctx, map[string]string{
		"CRM_RATE": g.rate, "KAFKA_BUFFER_RECORDS": strconv.Itoa(buffer), "KAFKA_BUFFER_BYTES": "256MiB",
	})
	if err != nil {
		return 0, 0, err
	}
	if err := job.AwaitDrained(ctx); err != nil {
		return 0, 0, err
	}
	all := crm.Calls()
	if err := crm.verify(len(all)); err != nil {
		return 0, 0, err
	}
	if err := g.newest(crm, order); err != nil {
		return 0, 0, err
	}
	return len(all), all[len(all)-1].Finished.Sub(all[0].Arrived), errors.Join(i.Terminate(ctx), noDeadLetters(ctx, job), job.Drop(ctx))
}

// inOrder returns the events in the order given. Each states one field of its employee.
func inOrder(order []int, partitions int) iter.Seq[testbed.Record] {
	return func(yield func(testbed.Record) bool) {
		for n, employee := range order {
			e := testbed.Event{Employee: employee, Sequence: int64(n), Before: "{}", After: fmt.Sprintf(`{"position":%q}`, position(n))}
			if !yield(e.Record(partitions)) {
				return
			}
		}
	}
}

// newest checks that each employee ends with the value of the newest event.
func (g backlog) newest(crm *fakeCRM, order []int) error {
	last := make(map[int]int)
	for n, employee := range order {
		last[employee] = n
	}
	for employee, n := range last {
		if got := string(crm.State(testbed.OpenUserID(employee))["position"]); got != strconv.Quote(position(n)) {
			return fmt.Errorf("backlog: the position of %s is not the newest", testbed.OpenUserID(employee))
		}
	}
	return nil
}
