package main

import (
	"context"
	"errors"
	"time"

	"membersync/cmd/bench/internal/chaos"
	"membersync/cmd/internal/test/oracle/outcome"
	"membersync/cmd/internal/test/testbed"
)

var errEnough = errors.New("bench: enough was produced")

// keepProducing produces the workload's records at a rate, in bursts of a tenth of a second, until
// the context ends. The end of the context is not an error.
func keepProducing(ctx context.Context, job *testbed.Job, workload *chaos.Workload, rate int) error {
	const burst = 100 * time.Millisecond
	tick := time.NewTicker(burst)
	defer tick.Stop()
	began, sent := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		records := make([]outcome.Record, max(0, int(time.Since(began).Seconds()*float64(rate))-sent))
		for i := range records {
			records[i] = workload.Next()
		}
		sent += len(records)
		if err := produceAll(context.WithoutCancel(ctx), job, records); err != nil {
			return err
		}
	}
}

func produceAll(ctx context.Context, job *testbed.Job, records []outcome.Record) error {
	return job.Produce(ctx, func(yield func(testbed.Record) bool) {
		for _, r := range records {
			if !yield(testbed.Record{Partition: r.Partition, Key: r.Key, Value: r.Value}) {
				return
			}
		}
	})
}

// waitUntil waits until the given time.
func waitUntil(ctx context.Context, at time.Time) error {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
