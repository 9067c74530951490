package consumer_test

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
	"membersync/dlq"
	"membersync/mapper"
)

// stormy enables the storm guard, which tries held events again soon.
func stormy(cfg *consumer.Config, _ *consumer.Parts) {
	cfg.StormShare, cfg.HeldRetry = 0.5, 200*time.Millisecond
}

// holding enables the storm guard, which tries held events again after longer than any test.
func holding(cfg *consumer.Config, _ *consumer.Parts) {
	cfg.StormShare, cfg.HeldRetry = 0.5, unending
}

// A brokenMapper is a mapper whose lookup finds nothing until it is fixed. It breaks the events
// that breaks picks; nil: all.
type brokenMapper struct {
	consumer.Mapper

	breaks func(mapper.Event) bool
	fixed  atomic.Bool
	calls  atomic.Int64
}

func (m *brokenMapper) MapWith(rec mapper.Record, found map[mapper.Reference]string) []mapper.Result {
	m.calls.Add(1)
	results := m.Mapper.MapWith(rec, found)
	for i := range results {
		if !m.fixed.Load() && (m.breaks == nil || m.breaks(results[i].Event)) {
			results[i].Fault = &mapper.Fault{
				Reason: mapper.InvalidField, Path: "after.mainDepartmentId", Text: "is unknown", Offset: -1,
			}
		}
	}
	return results
}

func (m *brokenMapper) install(_ *consumer.Config, p *consumer.Parts) {
	m.Mapper, p.Mapper = p.Mapper, m
}

// holds waits until an instance holds so many events.
func (r *rig) holds(inst *instance, n int) {
	r.t.Helper()
	r.eventually(fmt.Sprintf("%d held events", n), func() bool {
		return r.metric(inst, "membersync_events_held") == float64(n)
	})
}

// refusingWhile makes the CRM reject all updates for good as long as broken is set.
func refusingWhile(broken *atomic.Bool) crmapitest.Options {
	return crmapitest.Options{Fault: func(crmapitest.Seen) crmapitest.Fault {
		if broken.Load() {
			return crmapitest.Fault{Code: 11002}
		}
		return crmapitest.Fault{}
	}}
}

// heldOrDeadLettered waits until so many events are held by an instance, or dead-lettered.
func (r *rig) heldOrDeadLettered(inst *instance, n int) {
	r.t.Helper()
	r.eventually("all to be held or dead-lettered", func() bool {
		return r.metric(inst, "membersync_events_held")+float64(len(r.deadLetters())) == float64(n)
	})
}

// wantHeld checks that nothing is dead-lettered or committed past what is held, and that the
// service is live, and ready without a cause.
func (r *rig) wantHeld(inst *instance, deadLetters, lag int) {
	r.t.Helper()
	r.never("another dead letter", 300*time.Millisecond, func() bool { return len(r.deadLetters()) > deadLetters })
	if got := r.broker.Lag(r.t, r.group, r.topic); got < int64(lag) {
		r.t.Errorf("lag %d, want at least %d: held events must not count as finished", got, lag)
	}
	if ok, cause := inst.service.Ready(); !ok || cause != "" {
		r.t.Errorf("ready %v, cause %q", ok, cause)
	}
	if ok, why := inst.service.Live(); !ok {
		r.t.Errorf("not live in a storm: %s", why)
	}
}

func TestStormOfUnmappableEventsIsHeld(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3, crmapitest.Options{})
	broken := &brokenMapper{}
	for i := range 150 {
		r.produce(on(i%3, r.change(i, fields{"position": "Engineer"})))
	}
	inst := r.start(stormy, broken.install)
	r.holds(inst, 150)
	r.wantHeld(inst, 0, 150)
	broken.fixed.Store(true)
	r.settled()
	r.wantCalls(150)
	if n := len(r.deadLetters()); n > 0 || r.metric(inst, "membersync_events_held") != 0 {
		t.Errorf("%d dead letters", n)
	}
}

func TestStormOfCRMRejectionsIsHeld(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	broken.Store(true)
	r := newRig(t, 3, refusingWhile(&broken))
	inst := r.start(stormy)
	for i := range 150 {
		r.produce(on(i%3, r.change(i, fields{"position": "Engineer"})))
	}
	r.heldOrDeadLettered(inst, 150)
	dead := len(r.deadLetters())
	if dead > 49 {
		t.Errorf("%d dead letters, want at most 49", dead)
	}
	r.wantHeld(inst, dead, 150-dead)
	broken.Store(false)
	r.settled()
	rejected := r.rejections()
	for i := range 150 {
		if _, ok := rejected[fmt.Sprintf("ev-%d", i+1)]; !ok {
			r.wantField(i, "position", `"Engineer"`)
		}
	}
	if len(rejected) != dead {
		t.Errorf("%d dead letters, want the first %d alone", len(rejected), dead)
	}
	r.wantNoOverlap()
}

// A mapping rejects 60 % of the events. The others are applied, also after a rebalance and a
// restart; no dead letter is written; and a fixed mapping heals all.
func TestTheOthersGoOnInAStorm(t *testing.T) {
	t.Parallel()
	const n = 200
	breaks := func(ev mapper.Event) bool {
		i, err := strconv.Atoi(ev.OpenUserID[len(ev.OpenUserID)-4:])
		return err == nil && i%5 < 3
	}
	r := newRig(t, 2, crmapitest.Options{})
	for i := range n {
		r.produce(on(i%2, r.change(i, fields{"position": "Engineer"})))
	}
	broken := func() change { return (&brokenMapper{breaks: breaks}).install }
	first := r.start(holding, broken())
	applied := func(want int) func() bool { return func() bool { return len(r.crm.Calls()) == want } }
	r.holds(first, n*3/5)
	r.eventually("the others to be applied", applied(n*2/5))
	r.wantHeld(first, 0, n*3/5)

	second := r.start(holding, broken()) // takes one partition over
	r.eventually("both to hold their part", func() bool {
		a, b := r.metric(first, "membersync_events_held"), r.metric(second, "membersync_events_held")
		return a > 0 && b > 0 && a+b == n*3/5
	})
	for i := range 20 { // also while few events are known to the second instance
		r.produce(on(i%2, r.change(n+i, fields{"position": "Engineer"})))
	}
	r.eventually("the others to be applied", applied((n+20)*2/5))
	first.stop()
	second.stop()
	third := r.start(holding, broken())
	r.holds(third, (n+20)*3/5)
	r.wantHeld(third, 0, (n+20)*3/5)
	third.stop()

	r.start(holding) // with a mapping that works
	r.settled()
	r.wantCalls(n + 20)
	if dead := len(r.deadLetters()); dead > 0 {
		t.Errorf("%d dead letters", dead)
	}
}

// After a restart in a storm, what the CRM has rejected is held without another call.
func TestHeldRejectionsAreNotCalledAgainAfterARestart(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{Fault: func(crmapitest.Seen) crmapitest.Fault {
		return crmapitest.Fault{Code: 11002}
	}})
	for i := range 80 {
		r.produce(r.change(i, fields{"position": "Engineer"}))
	}
	inst := r.start(holding)
	all := func(inst *instance) func() bool {
		return func() bool {
			return r.metric(inst, "membersync_events_held")+float64(len(r.deadLetters())) == 80
		}
	}
	r.eventually("all to be held or dead-lettered", all(inst))
	calls, dead := len(r.crm.Calls()), len(r.deadLetters())
	inst.stop()
	again := r.start(holding)
	r.eventually("all to be held again", all(again))
	if got := len(r.crm.Calls()) - calls; got > 0 || len(r.deadLetters()) != dead {
		t.Errorf("%d calls after the restart, %d dead letters, want 0 and %d", got, len(r.deadLetters()), dead)
	}
	if err := r.store(r.redis).ReleaseHeld(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.settled()
	for _, l := range r.deadLetters() {
		if l.Reason != dlq.ReasonCRMRejected && l.Reason != dlq.ReasonCRMInvalid || l.CRMCode != "11002" || l.Attempts < 1 {
			t.Fatalf("dead letter %s with code %q after %d attempts", l.Reason, l.CRMCode, l.Attempts)
		}
	}
	if got := len(r.crm.Calls()) - calls; got > 0 {
		t.Errorf("%d calls for released events", got)
	}
}

// The operator dead-letters the events that are held now. Later events are guarded again.
func TestReleasedEventsAreDeadLettered(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	for i := range 120 {
		r.produce(r.change(i, fields{"position": "Engineer"}))
	}
	inst := r.start(holding, (&brokenMapper{}).install)
	r.holds(inst, 120)
	store := r.store(r.redis)
	if err := store.Pause(t.Context(), time.Time{}, "", ""); err != nil {
		t.Fatal(err)
	}
	if err := store.Resume(t.Context()); err != nil { // a pause and its end release nothing
		t.Fatal(err)
	}
	r.never("a dead letter", 2500*time.Millisecond, func() bool { return len(r.deadLetters()) > 0 })
	if err := store.ReleaseHeld(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.settled()
	if n := len(r.deadLetters()); n != 120 {
		t.Fatalf("%d dead letters, want all 120", n)
	}
	var later []message
	for i := range 60 {
		later = append(later, r.change(i, fields{"position": "Engineer"}))
	}
	r.produce(later...)
	r.holds(inst, 60)
	for _, l := range r.deadLetters() {
		if l.Reason != dlq.ReasonInvalidField {
			t.Errorf("reason %s", l.Reason)
		}
	}
}

// Held events that fill the buffer stop the reading, and the service says so.
func TestHeldEventsFillTheBuffer(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	broken := &brokenMapper{}
	for i := range 90 {
		r.produce(r.change(i, fields{"position": "Engineer"}))
	}
	inst := r.start(stormy, broken.install, func(cfg *consumer.Config, _ *consumer.Parts) { cfg.BufferRecords = 60 })
	r.eventually("the cause", func() bool { ok, cause := inst.service.Ready(); return ok && cause == "storm" })
	r.holds(inst, 60)
	if !r.paused(inst, "storm") {
		t.Error("the metric does not name the cause")
	}
	broken.fixed.Store(true)
	r.settled()
	r.wantCalls(90)
	if n := len(r.deadLetters()); n > 0 || r.paused(inst, "storm") {
		t.Errorf("%d dead letters; paused: %v", n, r.paused(inst, "storm"))
	}
}

// A backlog in which few events cannot be mapped is not a storm. This holds although these events
// are dead-lettered at once, while the others wait for their calls.
func TestPendingCallsDoNotCauseAStorm(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3, crmapitest.Options{})
	r.crm.Block(crmapitest.BeforeEffect)
	t.Cleanup(r.crm.Release)
	for i := range 400 {
		stated := fields{"position": "Engineer"}
		if i%4 == 0 {
			stated["gender"] = "X"
		}
		r.produce(on(i%3, r.change(i, stated)))
	}
	inst := r.start(stormy)
	r.eventually("the dead letters of all unmappable events", func() bool { return len(r.deadLetters()) == 100 })
	r.crm.Release()
	r.settled()
	if r.metric(inst, "membersync_events_held") > 0 || len(r.deadLetters()) != 100 {
		t.Errorf("%d dead letters, want 100 and no storm", len(r.deadLetters()))
	}
}
