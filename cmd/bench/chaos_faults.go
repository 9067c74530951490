package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"membersync/cmd/bench/internal/chaos"
	"membersync/cmd/internal/test/testbed"
)

// injectFaults produces records and injects the faults until the last one is over.
func (a *chaosRun) injectFaults(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	producing, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var group, producer sync.WaitGroup
	producer.Go(func() {
		if err := a.keepProducing(producing); err != nil {
			cancel(err)
		}
	})
	began := time.Now()
	for _, f := range chaos.Plan(a.trial.seed, a.trial.length, a.trial.instances) {
		if waitUntil(ctx, began.Add(f.At)) != nil {
			break
		}
		group.Go(func() {
			if err := a.inject(ctx, f); err != nil {
				cancel(fmt.Errorf("%s: %w", f.Kind, err))
			}
		})
	}
	group.Wait()
	err := waitUntil(ctx, began.Add(a.trial.length))
	stop(errEnough)
	producer.Wait()
	return errors.Join(err, context.Cause(ctx))
}

// keepProducing produces at the rate. While the broker is away, records that are due wait.
func (a *chaosRun) keepProducing(ctx context.Context) error {
	return keepProducing(ctx, a.job, a.workload, a.trial.rate)
}

// inject injects one fault, from its start to its end.
func (a *chaosRun) inject(ctx context.Context, f chaos.Fault) error {
	switch f.Kind {
	case chaos.Kill, chaos.Leave:
		return a.restart(ctx, f, a.seats[f.Instance])
	case chaos.BrokerStop, chaos.BrokerKill:
		a.broker.Lock()
		defer a.broker.Unlock()
		_, err := a.bounce(ctx, f, a.b.Kafka(), f.Kind == chaos.BrokerKill)
		return err
	case chaos.RedisStop, chaos.RedisKill:
		a.redis.Lock()
		defer a.redis.Unlock()
		span, err := a.bounce(ctx, f, a.b.Redis(), f.Kind == chaos.RedisKill)
		a.lose(chaos.Loss{Span: span, Instance: -1, Redis: true})
		return errors.Join(err, a.syncRedis(ctx))
	case chaos.CutKafka:
		_, err := a.cut(ctx, f, a.kafka)
		return err
	case chaos.CutRedis:
		span, err := a.cut(ctx, f, a.seats[f.Instance].redis)
		a.lose(chaos.Loss{Span: span, Instance: f.Instance, Redis: true})
		return err
	case chaos.CutCRM:
		span, err := a.cut(ctx, f, a.toCRM)
		if f.Way != chaos.Slow { // slow connections are not cut
			a.lose(chaos.Loss{Span: span, Instance: -1, CRM: true})
		}
		return err
	}
	return nil
}

// restart kills or stops an instance and starts it again.
func (a *chaosRun) restart(ctx context.Context, f chaos.Fault, s *seat) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.instance.Done():
		a.surprise(s, testbed.ErrEnded)
	default:
	}
	if f.Kind == chaos.Kill {
		if err := a.awaitWork(ctx, s); err != nil {
			return err
		}
		signal := time.Now()
		if err := s.instance.Kill(); err != nil {
			return err
		}
		a.recordCrash(chaos.Crash{Instance: s.number, Signal: signal, Dead: time.Now()})
	} else if err := s.instance.Terminate(ctx); err != nil {
		a.surprise(s, err)
	}
	a.count(f)
	if err := waitUntil(ctx, time.Now().Add(f.Lasts)); err != nil {
		return err
	}
	return a.start(ctx, s)
}

// awaitWork waits for a bounded time until the instance calls. Killing one that waits for its
// partitions proves little. Time in which a server is away does not count: on a busy machine, a
// broker takes longer to start than that.
func (a *chaosRun) awaitWork(ctx context.Context, s *seat) error {
	const lately, every, timeout = 200 * time.Millisecond, 10 * time.Millisecond, 15 * time.Second
	limit := time.Now().Add(timeout)
	return testbed.Until(ctx, every, func(context.Context) (bool, error) {
		now := time.Now()
		if a.away.Load() > 0 {
			limit = now.Add(timeout)
		}
		return now.Sub(a.who.latest(s.number)) < lately || now.After(limit), nil
	})
}

// bounce kills or stops a server and starts it again.
func (a *chaosRun) bounce(ctx context.Context, f chaos.Fault, server *testbed.Server, hard bool) (chaos.Span, error) {
	a.away.Add(1)
	defer a.away.Add(-1)
	span, end := chaos.Span{From: time.Now()}, server.Stop
	if hard {
		end = server.Kill
	}
	if err := end(ctx); err != nil {
		return span, err
	}
	a.count(f)
	if err := waitUntil(ctx, time.Now().Add(f.Lasts)); err != nil {
		return span, err
	}
	err := server.Start(ctx)
	span.To = time.Now()
	return span, err
}

// cut cuts connections for the duration of the fault.
func (a *chaosRun) cut(ctx context.Context, f chaos.Fault, p *cuttable) (chaos.Span, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	span := chaos.Span{From: time.Now()}
	if err := p.Cut(f.Way); err != nil {
		return span, err
	}
	a.count(f)
	err := waitUntil(ctx, time.Now().Add(f.Lasts))
	err = errors.Join(err, p.Restore(ctx))
	span.To = time.Now()
	return span, err
}

func (a *chaosRun) count(f chaos.Fault) {
	a.b.say("chaos: %s %s, instance %d, %s for %.1f s", time.Now().Format("15:04:05.000"), f.Kind, f.Instance, f.Way, f.Lasts.Seconds())
	a.mu.Lock()
	defer a.mu.Unlock()
	a.injected[f.Kind]++
}

func (a *chaosRun) recordCrash(d chaos.Crash) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.crashes = append(a.crashes, d)
}

func (a *chaosRun) lose(l chaos.Loss) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.losses = append(a.losses, l)
}

func (a *chaosRun) surprise(s *seat, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.surprises = append(a.surprises, fmt.Sprintf("instance %d: %v", s.number, err))
	a.surprises = slices.Clip(a.surprises)
}
