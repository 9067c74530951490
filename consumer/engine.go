package consumer

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"membersync/consumer/gate"
	"membersync/consumer/health"
	"membersync/consumer/lanes"
	"membersync/consumer/storm"
	"membersync/dedupe"
)

// letterSlots bounds how many unreadable records are buried at once. They do not
// need the CRM, so they do not wait for it.
const letterSlots = 8

// letterRetry is when a letter's way is tried again that Redis stopped.
const letterRetry = time.Second

// An engine runs lanes: as many at once as there are call slots, one batch of each,
// while the gate is open. It owns the account of every event in memory.
type engine struct {
	cfg   *Config
	parts *Parts
	log   *slog.Logger
	kick  chan struct{} // something changed: look again
	slots chan struct{} // one for each call in flight
	runs  sync.WaitGroup

	redisDown atomic.Bool // follows the gate's cause, for a look without the lock

	mu          sync.Mutex // guards everything below, and the partitions' accounts
	lanes       *queue     // of members
	letters     *queue     // of records and events without a member
	busy        int        // runs before the end of their call: they hold a call slot or are about to
	closing     int        // runs after it, which record what became of it
	burying     int        // letter slots in use
	gate        gate.Gate
	health      *health.Monitor[dedupe.Member]
	spare       permit
	turn        int // of the members' lanes
	gathering   gathering
	gatherFor   time.Duration
	fillFor     time.Duration
	oversight   oversight
	guard       *storm.Guard
	lenient     bool                      // the operator has let events die during a storm
	tried       int                       // the partition of which a held event was tried last
	probes      int                       // runs under way that are probes
	noLetter    bool                      // the dead-letter topic does not take letters
	room        map[laneKey]chan struct{} // closed when a full lane has shrunk
	behind      map[laneKey]bool          // lanes that wait for an event further on
	refusedOnly *dedupe.Member            // the member that met an operator's error first, since a call last succeeded
	refusedMore bool                      // and others did too
	noPermit    [2]time.Time              // by rank: not to ask for a permit before
	pace        pace
	redrives    int // events of the redrive topic in lanes
	throttled   stopwatch
	retention   map[string]time.Duration // by topic; 0: none, or not known
	progress    time.Time                // when a run last came to something, for the watchdog
}

func newEngine(cfg *Config, parts *Parts) *engine {
	return &engine{
		cfg: cfg, parts: parts, log: parts.Logger, retention: make(map[string]time.Duration),
		kick:    make(chan struct{}, 1),
		slots:   make(chan struct{}, cfg.Concurrency),
		lanes:   lanes.New[laneKey, *event, laneState](),
		letters: lanes.New[laneKey, *event, laneState](),
		health:  health.New[dedupe.Member](),
		guard:   storm.New(cfg.StormShare), tried: -1,
		gatherFor: gatherAtMost, fillFor: fillAtMost,
		room: make(map[laneKey]chan struct{}), behind: make(map[laneKey]bool),
	}
}

// A run is one batch of one lane, under way.
type run struct {
	lane   *lane
	batch  []*event
	queue  *queue
	probe  bool   // it is to find out whether a pause can end
	storm  bool   // it tries afresh what a storm holds
	closed bool   // its call is over: it counts as closing
	called bool   // it came to an answer of the CRM, good or bad
	sent   bool   // a call may have reached the CRM
	permit permit // its place in the rate limit; the zero value if there is none
}

// A verdict is what a run came to.
type verdict struct {
	ended []ending      // events whose outcome is final
	moved []*event      // out of this lane into that of a member
	wait  time.Duration // until the lane's next run; zero: as soon as its turn comes
	// behind says that the lane waits for an event that is further on in the topic, or in another process.
	behind bool
}

type ending struct {
	event   *event
	outcome Outcome
	leftOut leftOut
	told    Outcome // of a redrive that ran before, and whose answer was missing
}

// loop starts runs until the context ends, and returns when the last has. The
// runs have the same context: whoever ends it has drained before, or gives up.
func (e *engine) loop(ctx context.Context) {
	defer e.runs.Wait()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		until := e.start(ctx)
		until = earliest(until, e.returnStale(ctx))
		wait := time.Hour
		if !until.IsZero() {
			wait = max(time.Until(until), 0)
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
		case <-e.kick:
		case <-timer.C:
		}
	}
}

func (e *engine) wake() {
	select {
	case e.kick <- struct{}{}:
	default:
	}
}

// start begins all runs that may begin now, and returns when to look again.
func (e *engine) start(ctx context.Context) time.Time {
	for ctx.Err() == nil {
		r, until, wanted := e.next(time.Now())
		if r == nil && wanted {
			r, until = e.withPermit(ctx)
		}
		if r == nil {
			return until
		}
		e.runs.Go(func() { e.execute(ctx, r) })
	}
	return time.Time{}
}

// next takes what needs no permit; wanted says that a lane waits for a permit. Where
// nothing can be taken, until is when that may change by itself.
func (e *engine) next(now time.Time) (r *run, until time.Time, wanted bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	letters, members := e.letters.Ready(now), e.lanes.Ready(now) // first: lanes whose time has come wake nobody any more
	until = earliest(wakeOf(e.letters), wakeOf(e.lanes))
	if e.guard.On() {
		until = earliest(until, e.gate.Peek(now).Until)
	}
	if letters && e.burying < letterSlots {
		if r := e.takeLetter(now); r != nil {
			return r, until, false
		}
	}
	if !members || !e.hasRoom() {
		return nil, until, false
	}
	if !e.oversight.known {
		return nil, until, false
	}
	if wait := e.gathers(now); !wait.IsZero() {
		return nil, earliest(until, wait), false
	}
	if a := e.gate.Peek(now); !a.Open && !e.mercy() {
		return nil, earliest(until, a.Until), false
	}
	if e.parts.Limiter != nil {
		ranks, wait := e.ranks(now)
		return nil, earliest(until, wait), len(ranks) > 0
	}
	return e.takeOpen(now, anyLane), until, false
}

// hasRoom reports whether one more run may begin. A call slot is held only during the call, so a few
// runs more than there are slots acquire their members meanwhile; those that have made their
// call are bounded too, or a slow Redis would let them pile up.
func (e *engine) hasRoom() bool {
	ahead := e.cfg.Concurrency / 2
	return e.busy < e.cfg.Concurrency+ahead && e.closing < e.cfg.Concurrency
}

// execute carries a run out and settles its account.
func (e *engine) execute(ctx context.Context, r *run) {
	v := e.process(ctx, r)
	if r.queue == e.letters && v.wait == 0 {
		v.wait = letterRetry // for what did not end: no pause holds this queue
	}
	v = e.tell(ctx, v)
	for _, end := range v.ended {
		e.report(ctx, end)
	}
	e.settlePermit(ctx, r)
	e.settle(time.Now(), r, v)
	if r.provesCalm(v) {
		e.stormPasses(ctx)
	}
	e.wake()
}

// settle takes the ended events off the account, and gives the lane back.
func (e *engine) settle(now time.Time, r *run, v verdict) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.progress = now
	gone := make([]*event, 0, len(v.ended)+len(v.moved))
	for _, end := range v.ended {
		gone = append(gone, end.event)
		e.lived(end)
		e.outOfLane(end.event)
		end.event.finish()
	}
	gone = append(gone, v.moved...)
	e.move(v.moved)
	for _, ev := range r.batch { // taken away while it ran, and not finished: somebody else's now
		if r.lane.State.leaves(ev) && !slices.Contains(gone, ev) {
			gone = append(gone, ev)
			e.outOfLane(ev)
			ev.drop()
		}
	}
	r.lane.State.settle(gone)
	var until time.Time
	if v.wait > 0 {
		until = now.Add(v.wait)
	}
	e.letPast(r.lane, v.behind)
	r.queue.Return(r.lane, gone, until)
	e.freeSlot(now, r)
	e.makeRoom(r.lane.Key)
}

func (e *engine) freeSlot(now time.Time, r *run) {
	if r.queue == e.letters {
		e.burying--
		return
	}
	if r.closed {
		e.closing--
	} else {
		e.busy--
	}
	if r.probe {
		e.probes--
		if !r.called && !r.storm {
			e.gate.Unspent(now)
		}
	}
}

// settle forgets what binds the lane to events that it no longer holds: those that
// ended, and those that were taken away, be it while the lane ran. The lease of an
// unanswered call stays in Redis until it runs out. A suspect that is left alone is still suspected.
func (s *laneState) settle(gone []*event) {
	left := func(ev *event) bool { return s.leaves(ev) || slices.Contains(gone, ev) }
	s.suspects = slices.DeleteFunc(slices.Clone(s.suspects), left)
	if s.pin != nil && slices.ContainsFunc(s.pin.events, left) {
		s.pin = nil
	}
}

// add puts an event into its lane. A lane at its cap makes the caller wait, and
// so only the partition that the event comes from.
func (e *engine) add(ctx context.Context, ev *event) error {
	for {
		wait := e.tryAdd(ev)
		if wait == nil {
			e.wake()
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-wait:
		}
	}
}

// laneCap bounds the events of one lane: several folds' worth.
const laneCap = 4 * maxFold

func (e *engine) tryAdd(ev *event) <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	q := e.lanes
	if ev.key.alone != "" {
		q = e.letters
	}
	if q.Len(ev.key) >= laneCap && !e.behind[ev.key] {
		e.gathering = gathering{} // it would wait for more than can come
		if e.room[ev.key] == nil {
			e.room[ev.key] = make(chan struct{})
		}
		return e.room[ev.key]
	}
	q.Add(ev.key, ev)
	ev.rec.part.gen.pending++
	if ev.rec.redrive != nil {
		e.redrives++
	}
	return nil
}

// letPast keeps a lane that waits for an event further on from standing in its way: it has no cap, and its records have no place
// in the buffer. That is bounded all the same: what was unfinished up to there had its place in some process's buffer once.
func (e *engine) letPast(l *lane, behind bool) {
	if !behind {
		delete(e.behind, l.Key)
		return
	}
	e.behind[l.Key] = true
	for _, ev := range l.Waiting() {
		ev.rec.giveWay()
	}
}

func (e *engine) makeRoom(key laneKey) {
	if c := e.room[key]; c != nil {
		close(c)
		delete(e.room, key)
	}
}

// revoke takes partitions out of service: what was not begun is dropped, and
// what runs is left to end.
func (e *engine) revoke(g *generation) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.gathering.gen == g {
		e.gathering = gathering{}
	}
	clear(e.behind)
	g.revoked = true
	for _, p := range g.partitions {
		p.revoked = true
	}
	e.dropAway()
	g.checkDrained()
}

// dropAway drops what leaves its lane because it was taken away.
func (e *engine) dropAway() {
	for _, q := range []*queue{e.lanes, e.letters} {
		dropped := q.Drop(leaves, func(l *lane) {
			if !l.Running() { // the state of a lane that runs is the run's, which settles it in the end
				l.State.settle(nil)
			}
			e.makeRoom(l.Key)
		})
		for _, ev := range dropped {
			e.outOfLane(ev)
			ev.drop()
		}
	}
}

// leaves looks at an event that does not run. The state of a lane that runs is the run's, and binds what runs alone.
func leaves(l *lane, ev *event) bool {
	if l.Running() {
		return ev.rec.part.revoked
	}
	return l.State.leaves(ev)
}

// leaves reports whether an event of the lane that was taken away leaves it. What the CRM has accepted, or the dead-letter
// topic has taken, needs only Redis to be told: the next owner would send it again. It stays until the drain is over.
func (s *laneState) leaves(ev *event) bool {
	p := ev.rec.part
	told := ev.doom != nil && ev.doom.written || s.pin != nil && s.pin.answered && slices.Contains(s.pin.events, ev)
	return p.closed || p.revoked && !told
}

func wakeOf(q *queue) time.Time {
	at, _ := q.Wake()
	return at
}

// earliest of the times that are set.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}
