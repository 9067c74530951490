package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"membersync/cmd/bench/internal/chaos"
	"membersync/cmd/internal/test/testbed"
	"membersync/crmapi/crmapitest"
)

// A rollingResult is what a trial has shown.
type rollingResult struct {
	phases   []rollingPhase
	restarts []restart
	delays   []delay
	joins    []join
	refused  string // why a new instance did not become ready; empty: all did

	events, calls, failed, lost, repeated, back, overlaps int
	deadLetters, lag                                      int64
}

// A rollingPhase is a part of a trial.
type rollingPhase struct {
	name     string
	span     chaos.Span
	restarts bool
}

// A restart replaces one instance. Its span ends when the next one begins.
type restart struct {
	phase       string
	span        chaos.Span
	ready, stop time.Duration // from the start of a process, and from SIGTERM
}

// A rollingRun is a trial that runs.
type rollingRun struct {
	rolling
	say     func(format string, args ...any)
	crm     *fakeCRM
	job     *testbed.Job
	pacer   pacer
	started []*testbed.Instance // also those that have ended
	running []*testbed.Instance // the oldest first
	result  rollingResult
}

func (o rolling) measure(ctx context.Context, b *bench) (_ *report, err error) {
	crm, err := startCRM(ctx, crmapitest.Options{Latency: o.latency}, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, crm.Close()) }()
	job, err := b.NewJob(ctx, o.partitions, crm.URL())
	if err != nil {
		return nil, err
	}
	r := &rollingRun{rolling: o, say: b.say, crm: crm, job: job, pacer: pacer{job: job}}
	if err := r.play(ctx); err != nil {
		return nil, err
	}
	if err := r.judge(ctx); err != nil {
		return nil, err
	}
	return o.report(&r.result), job.Drop(ctx)
}

// play starts the instances, replaces them while events are produced, and stops everything.
func (r *rollingRun) play(ctx context.Context) error {
	current := r.job.Binary
	if r.previous != "" {
		r.job.Binary = r.previous
	}
	for range r.instances {
		if err := r.start(ctx); err != nil {
			return err
		}
	}
	for _, i := range r.running {
		if err := i.AwaitReady(ctx); err != nil {
			return err
		}
	}
	producing, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var producer sync.WaitGroup
	var failed error
	producer.Go(func() { failed = r.pacer.keepSending(producing, r.rate, r.employees) })
	err := r.load(ctx, current)
	stop(errEnough)
	producer.Wait()
	if err := errors.Join(err, failed); err != nil {
		return err
	}
	limited, cancel := context.WithTimeoutCause(ctx, r.settle, errSlow)
	defer cancel()
	if err := r.job.AwaitDrained(limited); err != nil && !errors.Is(err, errSlow) {
		return err
	}
	for _, i := range r.running {
		err = errors.Join(err, i.Terminate(ctx))
	}
	return err
}

// load has the phases of a trial. The current binary is the one to update to.
func (r *rollingRun) load(ctx context.Context, current string) error {
	if err := waitUntil(ctx, time.Now().Add(r.before)); err != nil { // the first joins do not count
		return err
	}
	if err := r.phase("before", false, func() error { return waitUntil(ctx, time.Now().Add(r.before)) }); err != nil {
		return err
	}
	r.job.Binary = current
	if err := r.phase("update", true, func() error { return r.replaceAll(ctx, "update") }); err != nil {
		return err
	}
	if r.previous == "" || r.result.refused != "" {
		return nil
	}
	r.job.Binary = r.previous
	return r.phase("rollback", true, func() error { return r.replaceAll(ctx, "rollback") })
}

func (r *rollingRun) phase(name string, restarts bool, do func() error) error {
	began := time.Now()
	err := do()
	r.result.phases = append(r.result.phases, rollingPhase{name, chaos.Span{From: began, To: time.Now()}, restarts})
	return err
}

// replaceAll replaces all instances, one after the other, and waits until the last joins are over.
// If a new instance does not become ready, it is stopped, and no other is replaced.
func (r *rollingRun) replaceAll(ctx context.Context, phase string) error {
	first := len(r.result.restarts)
	for range r.instances {
		s := restart{phase: phase, span: chaos.Span{From: time.Now()}}
		if err := r.replace(ctx, &s); err != nil {
			return err
		}
		s.span.To = time.Now()
		r.result.restarts = append(r.result.restarts, s)
		r.say("%s, instance %d: ready after %v, stopped in %v", phase, len(r.result.restarts)-first, s.ready, s.stop)
		if r.result.refused != "" {
			r.say("%s: an instance did not become ready: %s", phase, r.result.refused)
			break
		}
	}
	if err := waitUntil(ctx, time.Now().Add(r.after)); err != nil {
		return err
	}
	r.result.restarts[len(r.result.restarts)-1].span.To = time.Now()
	return nil
}

// replace replaces the oldest instance.
func (r *rollingRun) replace(ctx context.Context, s *restart) (err error) {
	if !r.surge {
		if s.stop, err = r.stop(ctx, 0); err != nil {
			return err
		}
	}
	if err := r.start(ctx); err != nil {
		return err
	}
	newest := len(r.running) - 1
	s.ready, r.result.refused, err = r.awaitReady(ctx, r.running[newest])
	switch {
	case err != nil:
		return err
	case r.result.refused != "":
		s.stop, err = r.stop(ctx, newest)
	case r.surge:
		s.stop, err = r.stop(ctx, 0)
	}
	return err
}

func (r *rollingRun) start(ctx context.Context) error {
	i, err := r.job.Start(ctx, nil)
	if err != nil {
		return err
	}
	r.started, r.running = append(r.started, i), append(r.running, i)
	return nil
}

// stop stops one of the running instances, which must end with exit status 0.
func (r *rollingRun) stop(ctx context.Context, n int) (time.Duration, error) {
	i := r.running[n]
	r.running = slices.Delete(r.running, n, n+1)
	began := time.Now()
	err := i.Terminate(ctx)
	return time.Since(began), err
}

// awaitReady requests /readyz as Kubernetes does. It returns when the instance is ready, or what it
// said last at the deadline.
func (r *rollingRun) awaitReady(ctx context.Context, i *testbed.Instance) (took time.Duration, refused string, err error) {
	limited, cancel := context.WithTimeoutCause(ctx, r.deadline, errSlow)
	defer cancel()
	refused = "no response"
	err = testbed.Until(limited, r.probe, func(ctx context.Context) (bool, error) {
		ready, text, err := i.Ready(ctx)
		if err == nil { // no response in time counts as not ready
			refused = text
		}
		return ready, nil
	})
	switch {
	case err == nil:
		return time.Since(i.Began()), "", nil
	case ctx.Err() != nil:
		return 0, "", err
	}
	return r.deadline, refused, nil
}

// judge fills the result from the CRM's log, the logs of the instances and the topics.
func (r *rollingRun) judge(ctx context.Context) (err error) {
	calls := r.crm.Calls()
	effects, err := effectsOf(calls)
	if err != nil {
		return err
	}
	a := &r.result
	a.events, a.calls, a.overlaps = len(r.pacer.sent), len(calls), r.crm.Stats().Overlaps+len(r.crm.Stats().Violations)
	a.delays, a.lost = delaysOf(r.pacer.sent, effects, r.partitions)
	if a.repeated, a.back, err = repeatsOf(calls); err != nil {
		return err
	}
	for _, c := range calls {
		if c.Outcome != crmapitest.OutcomeSuccess {
			a.failed++
		}
	}
	if a.deadLetters, err = r.job.DeadLetters(ctx); err != nil {
		return err
	}
	if a.lag, err = r.job.Lag(ctx); err != nil {
		return err
	}
	for _, i := range r.started {
		joins, err := joinsOf(i)
		if err != nil {
			return err
		}
		a.joins = append(a.joins, joins...)
	}
	if a.lost > 0 {
		return nil
	}
	return newest(r.crm, a.events, r.employees)
}

// joinsOf reads the joins from an instance's log.
func joinsOf(i *testbed.Instance) (joins []join, err error) {
	var invalid error
	err = i.Log(func(l testbed.LogLine) bool {
		if l.Msg != "joined the group" {
			return true
		}
		var line struct {
			Generation int `json:"generation"`
		}
		if invalid = json.Unmarshal([]byte(l.Raw), &line); invalid != nil {
			invalid = fmt.Errorf("log of an instance: %w", invalid)
		}
		joins = append(joins, join{l.Time, line.Generation})
		return invalid == nil
	})
	return joins, errors.Join(err, invalid)
}
