package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"membersync/cmd/bench/internal/chaos"
	"membersync/cmd/internal/test/testbed"
	"membersync/crmapi/crmapitest"
)

// A limit holds the options of the command limit.
type limit struct {
	calls, partitions       int
	window, length, latency time.Duration
	minShare                float64
}

func limitCommand() command {
	return command{
		name: "limit", about: "checks how two instances, and a third that joins, keep and use the rate limit",
		flags: func(f *pflag.FlagSet) measure {
			var l limit
			f.IntVar(&l.calls, "calls", 100, "that the vendor allows in any window")
			f.DurationVar(&l.window, "window", 20*time.Second, "of the limit")
			f.DurationVar(&l.length, "for", 105*time.Second, "from the first call; the third instance joins in the middle")
			f.IntVar(&l.partitions, "partitions", 6, "of the topic")
			f.DurationVar(&l.latency, "latency", 50*time.Millisecond, "of the fake CRM")
			f.Float64Var(&l.minShare, "min-share", 0.95, "target: share of the limit that is used, over whole windows")
			return func(ctx context.Context, b *bench) (*report, error) { return l.measure(ctx, b) } // when l is filled
		},
	}
}

func (l limit) measure(ctx context.Context, b *bench) (*report, error) {
	calls, end, err := l.trial(ctx, b)
	if err != nil {
		return nil, err
	}
	spans, arrivals, faulty := make([]chaos.Span, len(calls)), make([]time.Time, len(calls)), 0
	for i, c := range calls {
		spans[i], arrivals[i] = chaos.Span{From: c.Arrived, To: c.Finished}, c.Arrived
		if c.Outcome != crmapitest.OutcomeSuccess || c.Together > 1 {
			faulty++
		}
	}
	most, used := chaos.MostInWindow(spans, l.window), chaos.Spent(arrivals, end, l.calls, l.window)
	if used.Windows == 0 {
		return nil, fmt.Errorf("limit: no whole window of %v in %v", l.window, l.length)
	}
	r := &report{about: []string{
		fmt.Sprintf("%d calls in %v for two instances, a third joining in the middle; distinct members wait all the time; API latency %v.",
			l.calls, l.window, l.latency),
		"most = in any window of that length, each call counted at the worst time between its arrival and its response.",
		"share = calls in whole windows, from the first call on, of what the limit allows in them.",
	}}
	t := table{name: "limit", columns: []string{"calls", "most", "windows", "calls_in_windows", "share", "failed_or_at_once"}}
	t.add(len(calls), most, used.Windows, used.Calls, used.Share, faulty)
	r.tables = append(r.tables, t)
	r.atMost("most calls in any window", float64(most), float64(l.calls))
	r.atLeast("share of the limit used", used.Share, l.minShare)
	r.atMost("calls that failed or were two at once for one member", float64(faulty), 0)
	return r, nil
}

// trial returns all calls, and when the trial ended. Later calls do not count.
func (l limit) trial(ctx context.Context, b *bench) (calls []crmapitest.Seen, end time.Time, err error) {
	crm, err := startCRM(ctx, crmapitest.Options{Latency: l.latency}, 0)
	if err != nil {
		return nil, end, err
	}
	defer func() { err = errors.Join(err, crm.Close()) }()
	job, err := b.NewJob(ctx, l.partitions, crm.URL())
	if err != nil {
		return nil, end, err
	}
	windows := int(l.length/l.window) + 2
	if err := job.Produce(ctx, distinct(2*windows*l.calls, l.partitions)); err != nil { // twice what the limit allows
		return nil, end, err
	}
	variables := map[string]string{"CRM_RATE": fmt.Sprintf("%d/%v", l.calls, l.window)}
	instances := make([]*testbed.Instance, 3)
	for n := range 2 {
		if instances[n], err = job.Start(ctx, variables); err != nil {
			return nil, end, err
		}
	}
	if err := await(ctx, crm.began, instances[0].Done()); err != nil {
		return nil, end, err
	}
	b.say("limit: the first call has arrived; the third instance joins in %v", l.length/2)
	if err := waitUntil(ctx, crm.first.Add(l.length/2)); err != nil {
		return nil, end, err
	}
	if instances[2], err = job.Start(ctx, variables); err != nil {
		return nil, end, err
	}
	end = crm.first.Add(l.length)
	if err := waitUntil(ctx, end); err != nil {
		return nil, end, err
	}
	lag, err := job.Lag(ctx)
	if err == nil && lag == 0 {
		err = errors.New("limit: the backlog ended before the trial")
	}
	for _, i := range instances {
		err = errors.Join(err, i.Terminate(ctx))
	}
	return crm.Calls(), end, errors.Join(err, noDeadLetters(ctx, job), job.Drop(ctx))
}
