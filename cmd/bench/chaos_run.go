package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"membersync/cmd/bench/internal/chaos"
	"membersync/cmd/internal/test/oracle/outcome"
	"membersync/cmd/internal/test/testbed"
	"membersync/crmapi/crmapitest"
)

// A chaosRun is one trial: the servers, proxies and instances into which faults are injected.
type chaosRun struct {
	trial    chaosTrial
	b        *bench
	job      *testbed.Job
	workload *chaos.Workload
	crm      *crmapitest.Server
	who      *callers
	server   *testbed.HTTP

	kafka, toCRM *cuttable
	seats        []*seat
	broker       sync.Mutex // one fault at a time
	redis        sync.Mutex
	away         atomic.Int32 // servers that do not run

	mu        sync.Mutex
	injected  map[chaos.Kind]int
	crashes   []chaos.Crash
	losses    []chaos.Loss
	surprises []string // instances that ended in another way than expected
	slow      []string // of instances that did not finish in time, the ends of their logs
	settled   time.Duration
}

// A seat holds one instance. A killed instance is replaced in its seat.
type seat struct {
	number    int
	variables map[string]string
	redis     *cuttable

	mu       sync.Mutex
	instance *testbed.Instance
}

// A cuttable is a proxy that has at most one cut at a time.
type cuttable struct {
	*chaos.Proxy
	mu sync.Mutex
}

// chaosTimeout is the service's timeout of a call. A lease then lives 7 s.
const (
	chaosTimeout = time.Second
)

// open starts the CRM, the proxies and the instances.
func (c chaosTrial) open(ctx context.Context, b *bench) (_ *chaosRun, err error) {
	a := &chaosRun{trial: c, b: b, injected: make(map[chaos.Kind]int), workload: chaos.NewWorkload(chaos.Spec{
		Seed: c.seed, Employees: c.employees, Partitions: c.partitions, Late: 0.05, Twice: 0.05, Poison: 0.001, Delay: 2000,
	})}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
		}
	}()
	a.crm = crmapitest.New(crmapitest.Options{
		CorpID: testbed.CorpID, Tokens: []string{testbed.Token}, Members: a.workload.World().Members, Latency: c.latency,
	})
	a.who = newCallers(a.crm)
	if a.server, err = testbed.Serve(ctx, a.who); err != nil {
		return nil, err
	}
	proxies := chaos.NewProxies()
	if a.toCRM, err = openCuttable(proxies, "127.0.0.1:0", strings.TrimPrefix(a.server.URL(), "http://")); err != nil {
		return nil, err
	}
	if a.job, err = b.NewJob(ctx, c.partitions, "http://"+a.toCRM.Addr()); err != nil {
		return nil, err
	}
	if err := errors.Join(a.openProxies(proxies), a.syncRedis(ctx)); err != nil {
		return nil, err
	}
	for _, s := range a.seats {
		if err := a.start(ctx, s); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func openCuttable(proxies *chaos.Proxies, listen, upstream string) (*cuttable, error) {
	p, err := proxies.Open(listen, upstream)
	return &cuttable{Proxy: p}, err
}

// openProxies opens one proxy to Kafka for all instances, since Kafka advertises its address, and
// one to Redis for each instance.
func (a *chaosRun) openProxies(proxies *chaos.Proxies) (err error) {
	if a.kafka, err = openCuttable(proxies, a.job.Variables["KAFKA_BROKERS"], a.b.Kafka().Upstream()); err != nil {
		return err
	}
	if err := a.kafka.ShortenSessions(a.trial.session); err != nil {
		return err
	}
	for n := range a.trial.instances {
		s := &seat{number: n}
		if s.redis, err = openCuttable(proxies, "127.0.0.1:0", a.b.Redis().Addr()); err != nil {
			return err
		}
		s.variables = map[string]string{
			"REDIS_URL": "redis://" + s.redis.Addr() + "/0", "CRM_PATH": pathOf(n), "CRM_TIMEOUT": chaosTimeout.String(),
			"CRM_CONCURRENCY": fmt.Sprint(a.trial.concurrency),
		}
		a.seats = append(a.seats, s)
	}
	return nil
}

// start starts an instance in a seat that the caller has locked.
func (a *chaosRun) start(ctx context.Context, s *seat) (err error) {
	s.instance, err = a.job.Start(ctx, s.variables)
	return err
}

// syncRedis makes Redis write everything to disk before it responds, so that a restart loses
// nothing.
func (a *chaosRun) syncRedis(ctx context.Context) error {
	return a.b.RedisClient().ConfigSet(ctx, "appendfsync", "always").Err()
}

// close closes what the testbed does not own. The instances end with the testbed.
func (a *chaosRun) close() error {
	all := []*cuttable{a.kafka, a.toCRM}
	for _, s := range a.seats {
		all = append(all, s.redis)
		if s.instance != nil {
			_ = s.instance.Kill()
		}
	}
	for _, p := range all {
		if p != nil && p.Proxy != nil {
			p.Close()
		}
	}
	if a.server == nil {
		return nil
	}
	return a.server.Close()
}

// settle waits until all records are finished and stops the instances. It returns the number of
// records that are unfinished when the time is up.
func (a *chaosRun) settle(ctx context.Context) (unfinished int64, err error) {
	began := time.Now()
	if err := produceAll(ctx, a.job, a.workload.Flush()); err != nil {
		return 0, err
	}
	limited, cancel := context.WithTimeoutCause(ctx, a.trial.settle, errSlow)
	defer cancel()
	err = a.job.AwaitDrained(limited)
	if err != nil && !errors.Is(err, errSlow) {
		return 0, err
	}
	if err != nil {
		for _, s := range a.seats {
			a.slow = append(a.slow, fmt.Sprintf("instance %d: %s", s.number, s.instance.Tail()))
		}
	}
	a.settled = time.Since(began)
	for _, s := range a.seats {
		if err := s.instance.Terminate(ctx); err != nil {
			a.surprise(s, err)
		}
	}
	return a.job.Lag(ctx)
}

// evidence collects the input of [chaos.Judge].
func (a *chaosRun) evidence(ctx context.Context, unfinished int64) (chaos.Evidence, error) {
	e := chaos.Evidence{
		World: a.workload.World(), Calls: callsOf(a.crm, a.who.instance), State: stateOf(a.crm), Unfinished: unfinished,
		Crashes: a.crashes, Losses: a.losses,
	}
	slices.SortFunc(e.Crashes, func(x, y chaos.Crash) int { return x.Signal.Compare(y.Signal) })
	var err error
	if e.Records, _, err = readRecords(ctx, a.b, a.job.Topic); err != nil {
		return e, err
	}
	e.DeadLetters, err = readDeadLetters(ctx, a.b, a.job.Topic+".dlq")
	return e, err
}

// callsOf returns the requests of the update API, each with the instance that sent it.
func callsOf(crm *crmapitest.Server, instance func(thirdTraceID string) int) []chaos.Call {
	var calls []chaos.Call
	for _, seen := range crm.Calls() {
		calls = append(calls, chaos.Call{
			N: seen.N, Instance: instance(seen.ThirdTraceID), Member: seen.OpenUserID, User: seen.User,
			Arrived: seen.Arrived, Finished: seen.Finished, Applied: seen.Applied,
			Answered: seen.Outcome == crmapitest.OutcomeSuccess, Gone: seen.Outcome == crmapitest.OutcomeGone,
		})
	}
	return calls
}

// stateOf returns what a CRM holds, by member and field.
func stateOf(crm *crmapitest.Server) map[string]map[string]string {
	state := make(map[string]map[string]string)
	for _, id := range crm.Members() {
		state[id] = make(map[string]string)
		for field, value := range crm.State(id) {
			state[id][field] = outcome.Canonical(value)
		}
	}
	return state
}

// A callers records which instance sends which request. Each instance uses a path of its own.
type callers struct {
	next http.Handler

	mu   sync.Mutex
	by   map[string]int // by thirdTraceId
	last map[int]time.Time
}

func newCallers(next http.Handler) *callers {
	return &callers{next: next, by: make(map[string]int), last: make(map[int]time.Time)}
}

func pathOf(instance int) string {
	return fmt.Sprintf("/instance-%d%s", instance, crmapitest.UpdatePath)
}

// ServeHTTP implements [http.Handler].
func (c *callers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var n int
	if _, err := fmt.Sscanf(r.URL.Path, "/instance-%d/", &n); err == nil {
		c.mu.Lock()
		c.by[r.URL.Query().Get("thirdTraceId")], c.last[n] = n, time.Now()
		c.mu.Unlock()
		r.URL.Path = crmapitest.UpdatePath
	}
	c.next.ServeHTTP(w, r)
}

func (c *callers) instance(trace string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.by[trace]
}

// latest returns the time of the latest call of an instance.
func (c *callers) latest(instance int) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last[instance]
}
