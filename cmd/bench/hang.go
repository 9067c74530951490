package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"membersync/cmd/internal/test/testbed"
	"membersync/crmapi/crmapitest"
)

// A hang holds the options of the command hang.
type hang struct {
	rounds, members, partitions, rate int
	phase, latency, timeout           time.Duration
	maxRatio                          float64
}

func hangCommand() command {
	return command{
		name: "hang", about: "compares the latency of other members with and without one whose calls hang until their time-out",
		flags: func(f *pflag.FlagSet) measure {
			var h hang
			f.IntVar(&h.rounds, "rounds", 5, "rounds of both in turn")
			f.IntVar(&h.members, "members", 500, "other members")
			f.IntVar(&h.partitions, "partitions", 8, "of the topic")
			f.IntVar(&h.rate, "rate", 200, "events a second")
			f.DurationVar(&h.phase, "phase", 20*time.Second, "of producing, in each round; the first tenth does not count")
			f.DurationVar(&h.latency, "latency", 20*time.Millisecond, "of the fake CRM")
			f.DurationVar(&h.timeout, "timeout", 2*time.Second, "MEMBERSYNC_CRM_TIMEOUT")
			f.Float64Var(&h.maxRatio, "max-ratio", 1.10, "target: p99 with the hanging member over p99 without")
			return func(ctx context.Context, b *bench) (*report, error) { return h.measure(ctx, b) } // when h is filled
		},
	}
}

// hanging is the number of the member whose calls hang. It has events in both kinds of round.
const hanging = 1

func (h hang) measure(ctx context.Context, b *bench) (*report, error) {
	r := &report{about: []string{
		fmt.Sprintf("%d events/s for %d members and one that hangs or not, API latency %v, time-out %v; %d rounds of %v, in turn.",
			h.rate, h.members, h.latency, h.timeout, h.rounds, h.phase),
		"latency = from the produce request to the response of the call that brought the value, or a newer one, to the CRM, without the hanging member's.",
	}}
	t := table{name: "hang", columns: []string{"hanging", "round", "events", "hung_calls", "p50_ms", "p99_ms", "max_ms"}}
	var p99 [2][]float64 // without and with the hanging member
	for round := range h.rounds {
		for turn := range 2 {
			hangs := (round+turn)%2 == 1
			p, err := h.round(ctx, b, hangs)
			if err != nil {
				return nil, err
			}
			if hangs != (p.hung > 0) {
				return nil, fmt.Errorf("%d calls hung, which does not fit the round", p.hung)
			}
			p50, p99now, worst := ms(quantile(p.latencies, 0.5)), ms(quantile(p.latencies, 0.99)), ms(quantile(p.latencies, 1))
			t.add(yesNo(hangs), round+1, len(p.latencies), p.hung, p50, p99now, worst)
			b.say("round %d, hanging %s: p50 %.1f ms, p99 %.1f ms", round+1, yesNo(hangs), p50, p99now)
			p99[index(hangs)] = append(p99[index(hangs)], p99now)
		}
	}
	r.tables = append(r.tables, t, table{
		name: "hang, medians", columns: []string{"p99_without_ms", "p99_with_ms"}, rows: [][]any{{median(p99[0]), median(p99[1])}},
	})
	r.atMost("p99 of the others, with over without", median(p99[1])/median(p99[0]), h.maxRatio)
	return r, nil
}

func index(with bool) int {
	if with {
		return 1
	}
	return 0
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// A phase is the result of one round.
type phase struct {
	latencies []time.Duration
	hung      int
}

// round starts an instance on a new topic, produces at a steady rate, and measures when the values
// reach the CRM.
func (h hang) round(ctx context.Context, b *bench, hangs bool) (p phase, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, roundLimit, errSlow)
	defer cancel()
	crm, err := startCRM(ctx, crmapitest.Options{Latency: h.latency}, 0)
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, crm.Close()) }()
	if hangs {
		crm.Push(crmapitest.Fault{Member: testbed.OpenUserID(hanging), Times: -1, Hang: true})
	}
	job, err := b.NewJob(ctx, h.partitions, crm.URL())
	if err != nil {
		return p, err
	}
	i, err := job.Start(ctx, map[string]string{"CRM_TIMEOUT": h.timeout.String()})
	if err != nil {
		return p, err
	}
	if err := i.AwaitReady(ctx); err != nil {
		return p, err
	}
	sent, err := h.pace(ctx, job)
	if err != nil {
		return p, err
	}
	counted := sent[len(sent)/10:]
	if p.latencies, err = h.effects(ctx, crm, counted); err != nil {
		return p, err
	}
	for _, call := range crm.Calls() {
		if call.Outcome == crmapitest.OutcomeGone {
			p.hung++
		}
	}
	crm.Clear()
	return p, errors.Join(i.Terminate(ctx), noDeadLetters(ctx, job), job.Drop(ctx))
}

// pace produces single events at the rate. Each tenth of a second, one event is the hanging
// member's.
func (h hang) pace(ctx context.Context, job *testbed.Job) ([]sending, error) {
	p := pacer{job: job}
	every := time.Second / time.Duration(h.rate)
	tick := time.NewTicker(every)
	defer tick.Stop()
	tenth := max(1, h.rate/10)
	for n := range int(h.phase.Seconds() * float64(h.rate)) {
		member := hanging + 1 + n%h.members
		if n%tenth == 0 {
			member = hanging
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		p.send(ctx, n, member)
	}
	return p.sent, p.wait()
}

// effects waits until all values that were sent for the other members have reached the CRM.
func (h hang) effects(ctx context.Context, crm *fakeCRM, sent []sending) (latencies []time.Duration, err error) {
	const every = 200 * time.Millisecond
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errSlow)
	defer cancel()
	err = testbed.Until(ctx, every, func(context.Context) (bool, error) {
		var missing int
		latencies, missing, err = latenciesOf(sent, crm.Calls(), hanging)
		return missing == 0, err
	})
	return latencies, err
}
