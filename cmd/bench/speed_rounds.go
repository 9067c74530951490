package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"time"

	"membersync/cmd/internal/test/testbed"
	"membersync/crmapi/crmapitest"
)

const roundLimit = 5 * time.Minute

// series measures at one latency. The systems take turns, and the one that is first changes too.
// The first round begins with the service, since the bare client sends the requests that the CRM
// received from it, and those of the alternatives are compared with them.
func (s speed) series(ctx context.Context, b *bench, latency time.Duration) (*series, error) {
	m := &series{calls: s.events, alternatives: make(map[string]*samples)}
	var bodies [][]byte
	turns := []func() error{
		func() (err error) { bodies, err = s.serviceRound(ctx, b, latency, m); return err },
		func() error { return s.bareRound(ctx, latency, bodies, m) },
	}
	for _, system := range s.alternatives.systems(s.partitions) {
		other := &samples{events: s.alternatives.events(system, s.events, latency)}
		m.alternatives[system.name] = other
		turns = append(turns, func() error { return s.alternativeRound(ctx, b, system, latency, bodies, other) })
	}
	for round := range s.rounds {
		for n := range turns {
			if err := turns[(round+n)%len(turns)](); err != nil {
				return nil, err
			}
		}
		b.say("latency %v, round %d: service %.0f/s, bare client %.0f/s%s", latency, round+1, m.service[round], m.bare[round], m.others(round))
	}
	return m, nil
}

// others returns the rates of the alternatives in a round, as the end of a line.
func (m *series) others(round int) (text string) {
	for _, name := range slices.Sorted(maps.Keys(m.alternatives)) {
		text += fmt.Sprintf(", %s %.0f/s", name, m.alternatives[name].rate[round])
	}
	return text
}

// serviceRound drains one prepared topic and returns the bodies of the calls.
func (s speed) serviceRound(ctx context.Context, b *bench, latency time.Duration, m *series) (bodies [][]byte, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, roundLimit, errSlow)
	defer cancel()
	crm, err := startCRM(ctx, crmapitest.Options{Latency: latency}, s.events)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, crm.Close()) }()
	job, err := b.NewJob(ctx, s.partitions, crm.URL())
	if err != nil {
		return nil, err
	}
	if err := job.Produce(ctx, distinct(s.events, s.partitions)); err != nil {
		return nil, err
	}
	i, err := job.Start(ctx, map[string]string{"CRM_CONCURRENCY": strconv.Itoa(s.concurrency)})
	if err != nil {
		return nil, err
	}
	if err := s.watch(ctx, b, crm, job, i, m); err != nil {
		return nil, err
	}
	return bodiesOf(crm), errors.Join(crm.verify(s.events), noDeadLetters(ctx, job), job.Drop(ctx))
}

// watch follows the instance from its start to a clean stop.
func (s speed) watch(ctx context.Context, b *bench, crm *fakeCRM, job *testbed.Job, i *testbed.Instance, m *series) error {
	if err := await(ctx, crm.began, i.Done()); err != nil {
		return err
	}
	before, err := cpuOf(b, i)
	if err != nil {
		return err
	}
	if err := await(ctx, crm.ended, i.Done()); err != nil {
		return err
	}
	after, err := cpuOf(b, i)
	if err != nil {
		return err
	}
	joined, err := i.AwaitLog(ctx, "joined the group")
	if err != nil {
		return err
	}
	if err := job.AwaitDrained(ctx); err != nil {
		return err
	}
	last, err := i.Usage()
	if err != nil {
		return err
	}
	m.service = append(m.service, crm.rate())
	m.cpu = append(m.cpu, per1000(after.service-before.service, s.events))
	m.redisCPU = append(m.redisCPU, per1000(after.redis-before.redis, s.events))
	m.crmCPU = append(m.crmCPU, per1000(after.crm-before.crm, s.events))
	m.rss = append(m.rss, mib(last.PeakRSS))
	m.first = append(m.first, crm.first.Sub(joined.Time).Seconds())
	return i.Terminate(ctx)
}

// A cpu is the CPU time that each process has used so far. For a Redis that was given it is
// unknown.
type cpu struct{ service, redis, crm time.Duration }

func cpuOf(b *bench, i *testbed.Instance) (cpu, error) {
	service, err1 := i.Usage()
	own, err2 := testbed.OwnUsage()
	redis, err3 := b.Redis().Usage()
	if errors.Is(err3, testbed.ErrForeign) {
		err3 = nil
	}
	return cpu{service.CPU, redis.CPU, own.CPU}, errors.Join(err1, err2, err3)
}

// bareRound sends the same bodies to a new CRM.
func (s speed) bareRound(ctx context.Context, latency time.Duration, bodies [][]byte, m *series) error {
	ctx, cancel := context.WithTimeoutCause(ctx, roundLimit, errSlow)
	defer cancel()
	crm, err := startCRM(ctx, crmapitest.Options{Latency: latency}, s.events)
	if err != nil {
		return err
	}
	cpu, err := startBare(ctx, crm.URL()+crmapitest.UpdatePath, s.concurrency, bodies)
	if err := errors.Join(err, crm.Close()); err != nil {
		return err
	}
	if err := crm.verify(s.events); err != nil {
		return err
	}
	m.bare = append(m.bare, crm.rate())
	m.bareCPU = append(m.bareCPU, per1000(cpu, s.events))
	return nil
}

// distinct returns changes of three fields each, one for each employee.
func distinct(events, partitions int) iter.Seq[testbed.Record] {
	return func(yield func(testbed.Record) bool) {
		for n := range events {
			e := testbed.Event{Employee: n + 1, Sequence: 1, Before: "{}", After: fmt.Sprintf(
				`{"position":"Position %d","mobile":"%011d","mainDepartmentId":%d}`, n, n, 1000+n%50)}
			if !yield(e.Record(partitions)) {
				return
			}
		}
	}
}

// bodiesOf returns the bodies of the calls in the order of their arrival at the CRM.
func bodiesOf(crm *fakeCRM) [][]byte {
	calls := crm.Calls()
	bodies := make([][]byte, len(calls))
	for i, call := range calls {
		bodies[i] = fmt.Appendf(nil, `{"corpAccessToken":%q,"corpId":%q,"user":%s}`, testbed.Token, testbed.CorpID, call.User)
	}
	return bodies
}

// noDeadLetters checks that the dead-letter topic is empty.
func noDeadLetters(ctx context.Context, job *testbed.Job) error {
	n, err := job.DeadLetters(ctx)
	if err == nil && n != 0 {
		err = fmt.Errorf("%d dead letters; there should be none", n)
	}
	return err
}

func per1000(cpu time.Duration, events int) float64 { return cpu.Seconds() / float64(events) * 1000 }

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }
