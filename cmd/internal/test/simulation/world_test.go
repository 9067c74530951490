package simulation

import (
	"cmp"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"membersync/cmd/internal/test/oracle/history"
	"membersync/dlq/partlog"
)

// A world is one run: all parts, all instances, and everything that happens to them. Its goroutines
// are in one synctest bubble.
type world struct {
	t       *testing.T
	random  random
	tally   *tally
	logger  *slog.Logger
	begun   time.Time
	horizon time.Duration // of events and faults

	settings settings
	script   script
	planner  *planner

	kafka      *kafkaCluster
	redisProxy *redisProxy
	crmProxy   *crmProxy
	faults     *faults

	instances *instances
	operator  *operator
	storms    *stormWatch

	running   sync.WaitGroup
	calm      atomic.Bool  // the faults are over
	busy      atomic.Int32 // operations that must end before the run
	over      atomic.Bool
	unsettled bool // not everything was committed at the end; written by run's goroutine
}

// settings holds what themes change.
type settings struct {
	partitions int32
	appendTime bool    // the broker's time replaces the producer's
	headers    float64 // share of records with very many headers
	storm      storm
	events     int           // 0: a drawn number
	slots      int           // 0: a drawn number
	purge      time.Duration // when many tombstones come at once; 0: never
	burst      time.Duration // when large batches come; 0: never
}

func newWorld(t *testing.T, seed int, tally *tally, log io.Writer) *world {
	t.Helper()
	w := &world{
		t: t, random: random(seed), tally: tally, begun: time.Now(), //nolint:gosec // any will do
		logger: slog.New(slog.DiscardHandler),
	}
	if log != nil {
		w.logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	r := w.random.roll("world")
	w.horizon = between(r, time.Minute, 150*time.Second)
	w.settings = settings{partitions: 3}
	w.planner = &planner{w: w}
	w.planner.drawThemes()
	w.script = newScript(w)
	w.kafka = newKafkaCluster(w, 1+r.IntN(3))
	w.redisProxy = newKeeper(w)
	if !w.settings.storm.quiet {
		w.redisProxy.rate = pick(r, 0, 0.02, 0.06)
	}
	w.crmProxy = newFront(w, w.script.members, w.script.departments)
	w.faults = newFaults(w, w.script.members)
	w.instances = &instances{w: w, slots: make(map[int]*process)}
	w.operator = newOperator(w)
	w.storms = &stormWatch{w: w}
	return w
}

func (w *world) must(err error) {
	if err != nil {
		panic(fmt.Errorf("seed %d: %w", w.random, err))
	}
}

func (w *world) log(what string, args ...any) {
	w.logger.Debug("SIM "+what, args...) //nolint:sloglint // a trace to debug a seed
}

// fired counts a fault and logs it.
func (w *world) fired(kind string, instance int) {
	w.tally.fired(kind)
	w.log("fault", "kind", kind, "instance", instance)
}

func (w *world) elapsed() time.Duration { return time.Since(w.begun) }

// run performs all actions and returns the history for the oracle.
func (w *world) run() history.History {
	w.planner.plan()
	slices.SortStableFunc(w.planner.actions, func(a, b action) int { return cmp.Compare(a.at, b.at) })
	w.kafka.watchCommits()
	if w.settings.appendTime {
		w.kafka.stampBatches()
	}
	members := &membership{w: w, heard: make(map[string]time.Time)}
	w.kafka.fake.Control(members.control)
	if w.planner.has("storms") {
		w.running.Go(w.storms.releaseHeld)
	}
	stormsWatched := make(chan struct{})
	w.running.Go(func() {
		defer close(stormsWatched)
		w.storms.record()
	})
	w.running.Go(func() {
		for !w.over.Load() {
			members.expire()
			time.Sleep(5 * time.Second)
		}
	})
	for _, a := range w.planner.actions {
		if wait := a.at - w.elapsed(); wait > 0 {
			time.Sleep(wait)
		}
		a.do()
	}
	w.settle()
	w.over.Store(true)
	<-stormsWatched
	h := w.history()
	w.close()
	return h
}

func (w *world) endOfFaults() {
	w.log("calm")
	w.calm.Store(true)
	w.redisProxy.setAway(false)
	for _, f := range w.planner.ending {
		f()
	}
}

// settleTimeout is how long everything may take to settle after the last fault.
const settleTimeout = 20 * time.Minute

// settle waits until everything is committed, and then a while longer for late calls.
func (w *world) settle() {
	start := time.Now()
	for !w.caughtUp() {
		if w.unsettled = time.Since(start) > settleTimeout; w.unsettled {
			w.log("not settled", "after", settleTimeout)
			break
		}
		time.Sleep(2 * time.Second)
	}
	w.tally.total("seconds to settle", int(time.Since(start).Seconds()))
	time.Sleep(2 * lease)
}

func (w *world) caughtUp() bool {
	if w.busy.Load() > 0 {
		return false
	}
	for _, topic := range []string{source, redrives} {
		committed := w.kafka.committed(topic)
		for p, end := range w.kafka.ends(topic) {
			if committed[p] != end && (topic == source || end > 0) {
				return false
			}
		}
	}
	return true
}

func (w *world) history() history.History {
	processes := w.instances.stop()
	h := history.History{
		World: history.World{
			Members: w.script.members, Departments: w.script.departments, MaxRecordBytes: maxRecordBytes, MaxFetched: maxFetchedBytes, MaxHeaders: partlog.MaxHeaders,
			Refused: refused, Rejected: rejected, Sick: w.faults.sick, Limit: rate, Window: window, Quiet: 2 * callTimeout,
			Lease: lease, Storms: w.storms.history(), FetchBytes: fetchBytes,
		},
		Source: w.kafka.allRecords(), Recreated: w.kafka.recreated, DeadLetters: w.kafka.readAll(deadLetters), Redrives: w.kafka.readAll(redrives),
		Audit: w.kafka.readAll(audits), Forged: w.operator.forged, State: make(map[string]map[string]string),
		Commits: w.kafka.commits, Committed: w.kafka.committed(source), Ends: w.kafka.ends(source),
		Losses: w.redisProxy.losses, Pauses: w.operator.allPauses(), Storming: w.storms.storming, Unsettled: w.unsettled,
	}
	for _, c := range w.crmProxy.calls {
		h.Calls = append(h.Calls, *c)
	}
	for _, m := range w.crmProxy.crm.Members() {
		h.State[m] = make(map[string]string)
		for name, value := range w.crmProxy.crm.State(m) {
			h.State[m][name] = string(value)
		}
	}
	h.Replays, h.Fetched = make(map[int]history.Replay), make(map[int]int64)
	for _, l := range processes {
		h.Fetched[l.n] = l.fetching.peak()
		if l.job != nil {
			h.Replays[l.n] = history.Replay{Began: l.job.began, Reapply: l.job.reapply}
			continue
		}
		for _, d := range l.seen {
			h.Deliveries = append(h.Deliveries, *d)
		}
	}
	for _, v := range w.crmProxy.crm.Violations() {
		w.t.Errorf("the fake CRM reported a breach: %s", v)
	}
	w.tally.total("events", len(h.Source))
	w.tally.total("calls", len(h.Calls))
	w.tally.total("dead letters", len(h.DeadLetters))
	w.tally.total("lives", len(processes))
	w.tally.total("virtual seconds", int(w.elapsed().Seconds()))
	return h
}

func (w *world) close() {
	time.Sleep(10 * time.Second) // to see whether anything still happens
	w.kafka.client.Close()
	w.kafka.producer.Close()
	w.operator.close()
	_ = w.crmProxy.server.Close()
	w.redisProxy.setAway(true)
	w.redisProxy.mini.Close()
	w.kafka.fake.Close()
	w.running.Wait()
}
