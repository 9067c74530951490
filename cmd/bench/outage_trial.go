package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"membersync/cmd/bench/internal/chaos"
	"membersync/cmd/internal/test/oracle/outcome"
	"membersync/cmd/internal/test/testbed"
	"membersync/crmapi/crmapitest"
)

// An outageResult is how one service handled the CRM's outage.
type outageResult struct {
	mode                       mode
	result                     chaos.Result
	deadLetters                int
	unfinished                 int64
	causes                     []string // as /readyz reported them
	failedCalls, failedMembers int
	// From the end of the outage to the first call that took effect, of any member and of one that
	// had failed.
	first, firstFailed time.Duration
	allBack            time.Duration // and until the last of those
	// The members whose calls never fail, before and during the outage: calls per second that took
	// effect, and how long records waited for one.
	othersBefore, othersDuring float64
	delayBefore, delayDuring   []time.Duration
}

// An outageTrial is one service with its CRM.
type outageTrial struct {
	outage
	mode     mode
	crm      *crmapitest.Server
	server   *testbed.HTTP
	job      *testbed.Job
	workload *chaos.Workload
	away     atomic.Bool
	sick     map[string]bool // the members that fail with modeHalf
}

func (o outage) trial(ctx context.Context, b *bench, m mode) (a outageResult, err error) {
	t := &outageTrial{outage: o, mode: m, workload: chaos.NewWorkload(chaos.Spec{
		Seed: o.seed, Employees: o.employees, Partitions: o.partitions, Late: 0.02, Twice: 0.02, Delay: 20 * o.rate,
	})}
	if err := t.open(ctx, b); err != nil {
		return a, err
	}
	defer func() { err = errors.Join(err, t.server.Close()) }()
	i, err := t.job.Start(ctx, nil)
	if err != nil {
		return a, err
	}
	left, back, causes, err := t.play(ctx, i)
	if err != nil {
		return a, err
	}
	limited, cancel := context.WithTimeoutCause(ctx, o.settle, errSlow)
	defer cancel()
	if err := t.job.AwaitDrained(limited); err != nil && !errors.Is(err, errSlow) {
		return a, err
	}
	if err := i.Terminate(ctx); err != nil {
		return a, err
	}
	a, err = t.judge(ctx, b, left, back)
	a.causes = causes
	return a, err
}

func (t *outageTrial) open(ctx context.Context, b *bench) (err error) {
	members := t.workload.World().Members
	t.sick = make(map[string]bool)
	for n, id := range members {
		t.sick[id] = n%2 == 0
	}
	t.crm = crmapitest.New(crmapitest.Options{
		CorpID: testbed.CorpID, Tokens: []string{testbed.Token}, Members: members, Latency: t.latency, Fault: t.fault,
	})
	if t.server, err = testbed.Serve(ctx, t.crm); err != nil {
		return err
	}
	t.job, err = b.NewJob(ctx, t.partitions, t.server.URL())
	return err
}

// fault returns how the CRM fails a request now.
func (t *outageTrial) fault(seen crmapitest.Seen) crmapitest.Fault {
	const busy = -1
	switch {
	case !t.away.Load():
	case t.mode == modeHangs:
		return crmapitest.Fault{Hang: true}
	case t.mode == modeBusy, t.mode == modeHalf && t.sick[seen.OpenUserID]:
		return crmapitest.Fault{Code: busy}
	}
	return crmapitest.Fault{}
}

// play produces all the time, starts and ends the CRM's outage, and watches /readyz during it.
func (t *outageTrial) play(ctx context.Context, i *testbed.Instance) (left, back time.Time, causes []string, err error) {
	if err := i.AwaitReady(ctx); err != nil {
		return left, back, nil, err
	}
	producing, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var producer sync.WaitGroup
	var failed error
	producer.Go(func() { failed = keepProducing(producing, t.job, t.workload, t.rate) })
	err = waitUntil(ctx, time.Now().Add(t.before))
	left = time.Now()
	err = errors.Join(err, t.leave())
	if err == nil {
		causes, err = t.watch(ctx, i, left.Add(t.length))
	}
	back = time.Now()
	t.away.Store(false)
	err = errors.Join(err, t.server.Up(ctx))
	if err == nil { // under load too
		err = waitUntil(ctx, back.Add(t.before))
	}
	stop(errEnough)
	producer.Wait()
	return left, back, causes, errors.Join(err, failed, produceAll(ctx, t.job, t.workload.Flush()))
}

func (t *outageTrial) leave() error {
	t.away.Store(true)
	if t.mode == modeRefused {
		return t.server.Down()
	}
	return nil
}

// watch returns all causes that /readyz reports until the given time.
func (t *outageTrial) watch(ctx context.Context, i *testbed.Instance, until time.Time) (causes []string, err error) {
	const every = time.Second
	err = testbed.Until(ctx, every, func(ctx context.Context) (bool, error) {
		_, text, err := i.Ready(ctx)
		if err == nil && !slices.Contains(causes, text) {
			causes = append(causes, text)
		}
		return !time.Now().Before(until), err
	})
	return causes, err
}

// judge computes the figures of the outage.
func (t *outageTrial) judge(ctx context.Context, b *bench, left, back time.Time) (a outageResult, err error) {
	a = outageResult{mode: t.mode}
	if a.unfinished, err = t.job.Lag(ctx); err != nil {
		return a, err
	}
	calls := callsOf(t.crm, func(string) int { return 0 })
	e := chaos.Evidence{World: t.workload.World(), Calls: calls, State: stateOf(t.crm), Unfinished: a.unfinished}
	var written []time.Time
	if e.Records, written, err = readRecords(ctx, b, t.job.Topic); err != nil {
		return a, err
	}
	if e.DeadLetters, err = readDeadLetters(ctx, b, t.job.Topic+".dlq"); err != nil {
		return a, err
	}
	a.deadLetters, a.result = len(e.DeadLetters), chaos.Judge(e)
	if len(calls) == 0 {
		return a, fmt.Errorf("%s: the CRM saw no call", t.mode)
	}
	a.count(calls, left, back, t.waitingAt(calls, left, back), t.sick)
	a.delayBefore, a.delayDuring = delays(e.Records, written, calls, left, back, t.sick)
	return a, nil
}

// waitingAt returns the members whose calls had failed before the end of the outage. Where the CRM
// saw no calls, it returns all members.
func (t *outageTrial) waitingAt(calls []chaos.Call, left, back time.Time) map[string]bool {
	failed := make(map[string]bool)
	if t.mode == modeRefused { // connections were refused, so the CRM does not know which members were called
		for _, id := range t.workload.World().Members {
			failed[id] = true
		}
		return failed
	}
	for _, c := range calls {
		if !c.Answered && c.Arrived.After(left) && c.Arrived.Before(back) {
			failed[c.Member] = true
		}
	}
	return failed
}

// count takes the times from the CRM's log.
func (a *outageResult) count(calls []chaos.Call, left, back time.Time, failed, sick map[string]bool) {
	a.failedMembers = len(failed)
	a.first, a.firstFailed = never, never
	begin, served := calls[0].Arrived, make(map[string]bool)
	for _, c := range calls {
		switch {
		case !c.Answered:
			a.failedCalls++
		case c.Finished.After(back):
			a.first = min(a.first, c.Finished.Sub(back))
			if failed[c.Member] && !served[c.Member] {
				served[c.Member] = true
				a.firstFailed = min(a.firstFailed, c.Finished.Sub(back))
				a.allBack = max(a.allBack, c.Finished.Sub(back))
			}
		case sick[c.Member]:
		case c.Finished.After(left):
			a.othersDuring++
		default:
			a.othersBefore++
		}
	}
	a.othersBefore /= left.Sub(begin).Seconds()
	a.othersDuring /= back.Sub(left).Seconds()
}

// delays returns how long the records of members whose calls never fail waited for the next call of
// their member that took effect, before and during the outage. A record that needed no call gets
// the time of the next call.
func delays(records []outcome.Record, written []time.Time, calls []chaos.Call, left, back time.Time, sick map[string]bool) (before, during []time.Duration) {
	effects := make(map[string][]time.Time)
	for _, c := range calls {
		if c.Answered {
			effects[c.Member] = append(effects[c.Member], c.Finished)
		}
	}
	for n, r := range records {
		var event struct {
			OpenUserID string `json:"openUserId"`
		}
		if json.Unmarshal(r.Value, &event) != nil || sick[event.OpenUserID] || !written[n].Before(back) {
			continue
		}
		next := slices.IndexFunc(effects[event.OpenUserID], func(at time.Time) bool { return at.After(written[n]) })
		switch {
		case next < 0: // it came after the newest
		case written[n].Before(left):
			before = append(before, effects[event.OpenUserID][next].Sub(written[n]))
		default:
			during = append(during, effects[event.OpenUserID][next].Sub(written[n]))
		}
	}
	return before, during
}

// never is longer than any trial.
const never = 24 * time.Hour
