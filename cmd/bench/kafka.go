package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"membersync/cmd/bench/internal/chaos"
	"membersync/cmd/internal/test/testbed"
	"membersync/crmapi/crmapitest"
)

// kafkaFaults holds the options of the command kafka.
type kafkaFaults struct {
	missing, down     time.Duration
	rate, rounds      int
	maxJoins, maxCall float64
}

func kafkaCommand() command {
	return command{
		name: "kafka", about: "deletes topics and restarts the broker under load: joins, readiness, and the first call afterward",
		flags: func(f *pflag.FlagSet) measure {
			var k kafkaFaults
			f.DurationVar(&k.missing, "missing", time.Minute, "how long a topic is missing")
			f.DurationVar(&k.down, "down", 5*time.Second, "how long the broker is down")
			f.IntVar(&k.rate, "rate", 50, "events a second, where the source topic exists")
			f.IntVar(&k.rounds, "rounds", 3, "restarts of the broker")
			f.Float64Var(&k.maxJoins, "max-joins", 2, "target: joins a second while a topic is missing")
			f.Float64Var(&k.maxCall, "max-call", 15, "target: seconds until the first call")
			return func(ctx context.Context, b *bench) (*report, error) { return k.measure(ctx, b) } // when k is filled
		},
	}
}

// A kafkaFault is how the service handled one fault.
type kafkaFault struct {
	joins     float64 // per second, during the fault
	notReady  int     // number of /readyz responses that were not ready
	causes    []string
	firstCall time.Duration // time from the end of the fault
}

// A kafkaInjection injects one fault in a round.
type kafkaInjection struct {
	name string
	do   func(context.Context, *kafkaRound) (kafkaFault, error)
}

func (k kafkaFaults) measure(ctx context.Context, b *bench) (*report, error) {
	if !b.Kafka().Own() {
		return nil, errors.New("bench: --kafka: the broker must be the bench's own, since it is restarted")
	}
	r := &report{about: []string{
		fmt.Sprintf("One instance, 6 partitions, %d events/s. A topic is missing for %v, or the broker is down for %v.", k.rate, k.missing, k.down),
		"joins_per_s and readyz are during the fault; first_call_s is from its end to the next call.",
	}}
	t := table{name: "kafka", columns: []string{"fault", "joins_per_s", "not_ready", "readyz", "first_call_s"}}
	faults := []kafkaInjection{{"source topic missing", k.sourceMissing}, {"redrive topic deleted", k.redrivesMissing}}
	for n := range k.rounds {
		faults = append(faults, kafkaInjection{fmt.Sprintf("broker restarted, %d", n+1), k.restart})
	}
	for _, f := range faults {
		got, err := k.round(ctx, b, f.do)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		b.say("%s: %.2f joins/s, first call after %v", f.name, got.joins, got.firstCall)
		t.add(f.name, got.joins, got.notReady, strings.Join(got.causes, "+"), got.firstCall.Seconds())
		r.atMost("joins a second, "+f.name, got.joins, k.maxJoins)
		r.atMost("first call, "+f.name+", s", got.firstCall.Seconds(), k.maxCall)
	}
	r.tables = append(r.tables, t)
	return r, nil
}

// A kafkaRound is one service under load.
type kafkaRound struct {
	*bench
	job  *testbed.Job
	i    *testbed.Instance
	crm  *fakeCRM
	load func(context.Context) error // produces until the context ends
}

func (k kafkaFaults) round(
	ctx context.Context, b *bench, inject func(context.Context, *kafkaRound) (kafkaFault, error),
) (f kafkaFault, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, k.missing+roundLimit, errSlow)
	defer cancel()
	crm, err := startCRM(ctx, crmapitest.Options{}, 0)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, crm.Close()) }()
	const partitions, employees = 6, 200
	workload := chaos.NewWorkload(chaos.Spec{Seed: 1, Employees: employees, Partitions: partitions})
	round := &kafkaRound{bench: b, crm: crm}
	if round.job, err = b.NewJob(ctx, partitions, crm.URL()); err != nil {
		return f, err
	}
	round.load = func(ctx context.Context) error { return keepProducing(ctx, round.job, workload, k.rate) }
	if round.i, err = round.job.Start(ctx, nil); err != nil {
		return f, err
	}
	if err := round.i.AwaitReady(ctx); err != nil {
		return f, err
	}
	if err := round.produceFor(ctx, 5*time.Second); err != nil {
		return f, err
	}
	if err := round.job.AwaitDrained(ctx); err != nil {
		return f, err
	}
	if f, err = inject(ctx, round); err != nil {
		return f, err
	}
	if err := round.job.AwaitDrained(ctx); err != nil {
		return f, err
	}
	return f, errors.Join(round.i.Terminate(ctx), round.job.Drop(ctx))
}

func (r *kafkaRound) produceFor(ctx context.Context, d time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, d, errEnough)
	defer cancel()
	return r.load(ctx)
}

// during checks the instance each half second until the time is over.
func (r *kafkaRound) during(ctx context.Context, d time.Duration) (f kafkaFault, err error) {
	const every = 500 * time.Millisecond
	joins := func() (float64, error) {
		m, err := r.i.Metrics(ctx)
		return m.Sum("membersync_rebalances_total"), err
	}
	before, err := joins()
	if err != nil {
		return f, err
	}
	for end := time.Now().Add(d); time.Now().Before(end); {
		ready, text, err := r.i.Ready(ctx)
		if err != nil {
			return f, err
		}
		if !ready {
			f.notReady++
		}
		if cause := strings.Join(strings.Fields(text), " "); !slices.Contains(f.causes, cause) {
			f.causes = append(f.causes, cause)
		}
		if err := sleep(ctx, every); err != nil {
			return f, err
		}
	}
	after, err := joins()
	f.joins = (after - before) / d.Seconds()
	return f, err
}

// awaitCall produces until there is one more call, and returns how long that took.
func (r *kafkaRound) awaitCall(ctx context.Context) (took time.Duration, err error) {
	calls, began := len(r.crm.Calls()), time.Now()
	producing, stop := context.WithCancelCause(ctx)
	produced := make(chan error, 1)
	go func() { produced <- r.load(producing) }()
	err = testbed.Until(ctx, 10*time.Millisecond, func(context.Context) (bool, error) {
		return len(r.crm.Calls()) > calls, nil
	})
	took = time.Since(began)
	stop(errEnough)
	return took, errors.Join(err, <-produced)
}

func (k kafkaFaults) sourceMissing(ctx context.Context, r *kafkaRound) (f kafkaFault, err error) {
	if err := r.DeleteTopics(ctx, r.job.Topic); err != nil {
		return f, err
	}
	if f, err = r.during(ctx, k.missing); err != nil {
		return f, err
	}
	if err := r.CreateTopic(ctx, r.job.Topic, r.job.Partitions, nil); err != nil {
		return f, err
	}
	f.firstCall, err = r.awaitCall(ctx)
	return f, err
}

// redrivesMissing deletes the redrive topic, which the service creates again. Events of the source
// topic are processed all the time.
func (k kafkaFaults) redrivesMissing(ctx context.Context, r *kafkaRound) (f kafkaFault, err error) {
	if err := r.DeleteTopics(ctx, r.job.Topic+".redrive"); err != nil {
		return f, err
	}
	if f.firstCall, err = r.awaitCall(ctx); err != nil {
		return f, err
	}
	first := f.firstCall
	if f, err = r.during(ctx, k.missing/4); err != nil {
		return f, err
	}
	f.firstCall = first
	return f, nil
}

func (k kafkaFaults) restart(ctx context.Context, r *kafkaRound) (f kafkaFault, err error) {
	if err := r.Kafka().Stop(ctx); err != nil {
		return f, err
	}
	if f, err = r.during(ctx, k.down); err != nil {
		return f, err
	}
	if err := r.Kafka().Start(ctx); err != nil { // returns once the broker answers
		return f, err
	}
	f.firstCall, err = r.awaitCall(ctx)
	return f, err
}
