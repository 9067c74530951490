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

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"membersync/cmd/internal/test/oracle/history"
	"membersync/dlq/partlog"
)

// A world is one run: all parts, all instances, and everything that happens to them. Its goroutines
// are in one synctest bubble.
type world struct {
	t       *testing.T
	random  random
	themes  []string
	tally   *tally
	logger  *slog.Logger
	begun   time.Time
	horizon time.Duration // of events and faults
	script  script

	network    *kfake.VirtualNetwork
	cluster    *kfake.Cluster
	kafka      *kgo.Client
	producer   *kgo.Client // to the source topic as it is now
	redisProxy *redisProxy
	crmProxy   *crmProxy
	faults     *faults

	operator *operator
	settings settings

	running sync.WaitGroup
	calm    atomic.Bool  // the faults are over
	busy    atomic.Int32 // operations that must end before the run
	actions []action
	ending  []func() // run by the world's own goroutine

	// Used only by the goroutine that runs the actions:
	past      []history.Record // of topics that were deleted
	recreated []time.Time
	missing   bool    // whether the source topic is
	unsent    []draft // records that wait for the source topic

	mu      sync.Mutex
	over    bool
	lives   []*process
	slots   map[int]*process
	commits []history.Commit

	storming  []time.Time // written by watchStorms' goroutine, read after its end
	unsettled bool        // not everything was committed at the end; written by run's goroutine
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

// An action happens at a given time.
type action struct {
	at time.Duration
	do func()
}

func newWorld(t *testing.T, seed int, tally *tally, log io.Writer) *world {
	t.Helper()
	w := &world{
		t: t, random: random(seed), tally: tally, begun: time.Now(), network: new(kfake.VirtualNetwork), //nolint:gosec // any will do
		logger: slog.New(slog.DiscardHandler), slots: make(map[int]*process),
	}
	if log != nil {
		w.logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	r := w.random.roll("world")
	w.horizon = between(r, time.Minute, 150*time.Second)
	w.settings = settings{partitions: 3}
	w.drawThemes()
	w.planThemes()
	w.script = newScript(w)
	ports := []int{9001, 9002, 9003}[:1+r.IntN(3)]
	cluster, err := kfake.NewCluster(
		kfake.NumBrokers(len(ports)), kfake.Ports(ports...), kfake.ListenFn(w.network.Listen),
		kfake.SeedTopics(w.settings.partitions, source, deadLetters, redrives, audits), kfake.GroupMinSessionTimeout(time.Second),
	)
	w.must(err)
	w.cluster = cluster
	w.kafka, w.producer = w.newClient(), w.newClient()
	w.redisProxy = newKeeper(w)
	if !w.settings.storm.quiet {
		w.redisProxy.rate = pick(r, 0, 0.02, 0.06)
	}
	w.crmProxy = newFront(w, w.script.members, w.script.departments)
	w.faults = newFaults(w, w.script.members)
	w.operator = newOperator(w)
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

func (w *world) at(at time.Duration, do func()) { w.actions = append(w.actions, action{at, do}) }

// run performs all actions and returns the history for the oracle.
func (w *world) run() history.History {
	w.plan()
	slices.SortStableFunc(w.actions, func(a, b action) int { return cmp.Compare(a.at, b.at) })
	w.watchCommits()
	if w.settings.appendTime {
		w.stampBatches()
	}
	members := &membership{w: w, heard: make(map[string]time.Time)}
	w.cluster.Control(members.control)
	if w.has("storms") {
		w.running.Go(w.watchHeld)
	}
	stormsWatched := make(chan struct{})
	w.running.Go(func() {
		defer close(stormsWatched)
		w.watchStorms()
	})
	w.running.Go(func() {
		for !w.isOver() {
			members.expire()
			time.Sleep(5 * time.Second)
		}
	})
	for _, a := range w.actions {
		if wait := a.at - w.elapsed(); wait > 0 {
			time.Sleep(wait)
		}
		a.do()
	}
	w.settle()
	w.mu.Lock()
	w.over = true
	w.mu.Unlock()
	<-stormsWatched
	h := w.history()
	w.close()
	return h
}

func (w *world) plan() {
	r := w.random.roll("plan")
	slots := cmp.Or(w.settings.slots, 2+r.IntN(2))
	for slot := range slots {
		w.at(between(r, 0, 5*time.Second), func() { w.launch(slot) })
	}
	if w.settings.storm.quiet {
		w.planRecords()
		return
	}
	for i := range r.IntN(4) {
		w.at(between(r, 10*time.Second, w.horizon), func() { w.restart(i % slots) })
	}
	for i := range r.IntN(3) {
		w.at(between(r, 10*time.Second, w.horizon), func() { w.cutKafka(i % slots) })
	}
	for range r.IntN(3) {
		at := between(r, 5*time.Second, w.horizon)
		w.at(at, func() { w.redisProxy.setAway(true) })
		w.at(min(at+between(r, time.Second, lease-2*time.Second), w.horizon+20*time.Second), func() { w.redisProxy.setAway(false) })
	}
	often := 8
	if w.has("redrives") { // redrives wait for the rebuild
		often = 3
	}
	if loss := w.random.roll("loss"); loss.IntN(often) == 0 && !w.has("recreated") {
		w.lose(between(loss, 10*time.Second, w.horizon), between(loss, 2*time.Second, 40*time.Second))
	}
	w.setKafkaFaults()
	w.planRecords()
}

func (w *world) planRecords() {
	for batch := range slices.Values(batches(w.script.records)) {
		w.at(batch[0].at, func() { w.produce(batch) })
	}
	w.at(w.horizon+40*time.Second, w.endOfFaults)
}

// batches groups the records by half seconds.
func batches(all []draft) [][]draft {
	var groups [][]draft
	for i, d := range all {
		if i == 0 || d.at/(500*time.Millisecond) != all[i-1].at/(500*time.Millisecond) {
			groups = append(groups, nil)
		}
		groups[len(groups)-1] = append(groups[len(groups)-1], d)
	}
	return groups
}

func (w *world) endOfFaults() {
	w.log("calm")
	w.calm.Store(true)
	w.redisProxy.setAway(false)
	for _, f := range w.ending {
		f()
	}
}

// current returns the running instance of a slot, or nil.
func (w *world) current(slot int) *process {
	w.mu.Lock()
	defer w.mu.Unlock()
	if l := w.slots[slot]; l != nil && !l.isDead() {
		return l
	}
	return nil
}

// restart stops an instance cleanly and starts another one a little later.
func (w *world) restart(slot int) {
	l := w.current(slot)
	if l == nil {
		return
	}
	w.mu.Lock()
	delete(w.slots, slot)
	w.mu.Unlock()
	w.tally.fired("rebalance")
	w.running.Go(func() {
		l.stop()
		w.relaunch(slot, between(w.random.roll("restart", l.n), 0, 6*time.Second))
	})
}

func (w *world) cutKafka(slot int) {
	if l := w.current(slot); l != nil {
		w.fired("kafka cut", l.n)
		l.host.cut("kafka")
	}
}

// replaceCrashed starts a replacement of a crashed instance a little later.
func (w *world) replaceCrashed(l *process) {
	w.mu.Lock()
	replace := l.job == nil && w.slots[l.slot] == l
	delete(w.slots, l.slot)
	w.mu.Unlock()
	if replace {
		w.running.Go(func() { w.relaunch(l.slot, between(w.random.roll("replace", l.n), 0, 6*time.Second)) })
	}
}

func (w *world) relaunch(slot int, after time.Duration) {
	time.Sleep(after)
	if !w.isOver() {
		w.launch(slot)
	}
}

func (w *world) isOver() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.over
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
		committed := w.committed(topic)
		for p, end := range w.ends(topic) {
			if committed[p] != end && (topic == source || end > 0) {
				return false
			}
		}
	}
	return true
}

func (w *world) history() history.History {
	w.mu.Lock()
	lives := slices.Clone(w.lives)
	w.mu.Unlock()
	for _, l := range lives {
		l.stop()
	}
	h := history.History{
		World: history.World{
			Members: w.script.members, Departments: w.script.departments, MaxRecordBytes: maxRecordBytes, MaxFetched: maxFetchedBytes, MaxHeaders: partlog.MaxHeaders,
			Refused: refused, Rejected: rejected, Sick: w.faults.sick, Limit: rate, Window: window, Quiet: 2 * callTimeout,
			Lease: lease, Storms: w.storms(), FetchBytes: fetchBytes,
		},
		Source: w.allRecords(), Recreated: w.recreated, DeadLetters: w.readAll(deadLetters), Redrives: w.readAll(redrives),
		Audit: w.readAll(audits), Forged: w.operator.forged, State: make(map[string]map[string]string),
		Commits: w.commits, Committed: w.committed(source), Ends: w.ends(source),
		Losses: w.redisProxy.losses, Pauses: w.operator.allPauses(), Storming: w.storming, Unsettled: w.unsettled,
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
	for _, l := range lives {
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
	w.count(h)
	return h
}

func (w *world) count(h history.History) {
	w.tally.total("events", len(h.Source))
	w.tally.total("calls", len(h.Calls))
	w.tally.total("dead letters", len(h.DeadLetters))
	w.tally.total("lives", len(w.lives))
	w.tally.total("virtual seconds", int(w.elapsed().Seconds()))
}

func (w *world) close() {
	time.Sleep(10 * time.Second) // to see whether anything still happens
	w.kafka.Close()
	w.producer.Close()
	w.operator.close()
	_ = w.crmProxy.server.Close()
	w.redisProxy.setAway(true)
	w.redisProxy.mini.Close()
	w.cluster.Close()
	w.running.Wait()
}
