package consumer_test

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"membersync/consumer"
	"membersync/consumer/schedule/storm"
	"membersync/crmapi/crmapitest"
	"membersync/dedupe"
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
// that breaks picks; nil: all. No event runs before the storm guard has seen enough of them,
// however slowly they are read: what is rejected before that is dead-lettered.
type brokenMapper struct {
	consumer.Mapper

	breaks func(mapper.Event) bool
	fixed  atomic.Bool
	calls  atomic.Int64
	enough chan struct{}
}

// enoughMapped is the number of calls of a mapper after which the storm guard has seen enough: the
// latest of each partition may not be counted yet.
const enoughMapped = storm.Least + 5

func (m *brokenMapper) MapWith(rec mapper.Record, found map[mapper.Reference]string) []mapper.Result {
	if m.calls.Add(1) == enoughMapped {
		close(m.enough)
	}
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
	m.enough = make(chan struct{})
	p.Store = &waitingStore{p.Store, m.enough}
}

// A waitingStore lets no event begin before a channel is closed.
type waitingStore struct {
	consumer.Store

	begin <-chan struct{}
}

func (s *waitingStore) Acquire(ctx context.Context, req dedupe.AcquireRequest) (dedupe.Grant, error) {
	select {
	case <-s.begin:
		return s.Store.Acquire(ctx, req)
	case <-ctx.Done():
		return dedupe.Grant{}, context.Cause(ctx)
	}
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

func TestStormOfUnmappableEventsIsHeld(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3, crmapitest.Options{})
	broken := &brokenMapper{}
	for i := range 150 {
		r.kafka.produce(on(i%3, r.change(i, fields{"position": "Engineer"})))
	}
	inst := r.start(stormy, broken.install)
	inst.holds(150)
	inst.wantHeld(0, 150)
	broken.fixed.Store(true)
	r.settled()
	r.crm.wantCalls(150)
	if n := len(r.dlq.read()); n > 0 || inst.metric("membersync_events_held") != 0 {
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
		r.kafka.produce(on(i%3, r.change(i, fields{"position": "Engineer"})))
	}
	inst.heldOrDeadLettered(150)
	dead := len(r.dlq.read())
	if dead > 49 {
		t.Errorf("%d dead letters, want at most 49", dead)
	}
	inst.wantHeld(dead, 150-dead)
	broken.Store(false)
	r.settled()
	rejected := r.dlq.rejections()
	for i := range 150 {
		if _, ok := rejected[fmt.Sprintf("ev-%d", i+1)]; !ok {
			r.crm.wantField(i, "position", `"Engineer"`)
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
		r.kafka.produce(on(i%2, r.change(i, fields{"position": "Engineer"})))
	}
	broken := func() change { return (&brokenMapper{breaks: breaks}).install }
	first := r.start(holding, broken())
	applied := func(want int) func() bool { return func() bool { return len(r.crm.Calls()) == want } }
	first.holds(n * 3 / 5)
	r.eventually("the others to be applied", applied(n*2/5))
	first.wantHeld(0, n*3/5)

	second := r.start(holding, broken()) // takes one partition over
	r.eventually("both to hold their part", func() bool {
		a, b := first.metric("membersync_events_held"), second.metric("membersync_events_held")
		return a > 0 && b > 0 && a+b == n*3/5
	})
	for i := range 20 { // also while few events are known to the second instance
		r.kafka.produce(on(i%2, r.change(n+i, fields{"position": "Engineer"})))
	}
	r.eventually("the others to be applied", applied((n+20)*2/5))
	first.stop()
	second.stop()
	third := r.start(holding, broken())
	third.holds((n + 20) * 3 / 5)
	third.wantHeld(0, (n+20)*3/5)
	third.stop()

	r.start(holding) // with a mapping that works
	r.settled()
	r.crm.wantCalls(n + 20)
	r.dlq.wantCount(0)
}

// After a restart in a storm, what the CRM has rejected is held without another call.
func TestHeldRejectionsAreNotCalledAgainAfterARestart(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{Fault: func(crmapitest.Seen) crmapitest.Fault {
		return crmapitest.Fault{Code: 11002}
	}})
	for i := range 80 {
		r.kafka.produce(r.change(i, fields{"position": "Engineer"}))
	}
	inst := r.start(holding)
	all := func(inst *instance) func() bool {
		return func() bool {
			return inst.metric("membersync_events_held")+float64(len(r.dlq.read())) == 80
		}
	}
	r.eventually("all to be held or dead-lettered", all(inst))
	calls, dead := len(r.crm.Calls()), len(r.dlq.read())
	inst.stop()
	again := r.start(holding)
	r.eventually("all to be held again", all(again))
	if got := len(r.crm.Calls()) - calls; got > 0 || len(r.dlq.read()) != dead {
		t.Errorf("%d calls after the restart, %d dead letters, want 0 and %d", got, len(r.dlq.read()), dead)
	}
	if err := r.redis.store().ReleaseHeld(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.settled()
	for _, l := range r.dlq.read() {
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
		r.kafka.produce(r.change(i, fields{"position": "Engineer"}))
	}
	inst := r.start(holding, (&brokenMapper{}).install)
	inst.holds(120)
	store := r.redis.store()
	if err := store.Pause(t.Context(), time.Time{}, "", ""); err != nil {
		t.Fatal(err)
	}
	if err := store.Resume(t.Context()); err != nil { // a pause and its end release nothing
		t.Fatal(err)
	}
	r.never("a dead letter", 2500*time.Millisecond, func() bool { return len(r.dlq.read()) > 0 })
	if err := store.ReleaseHeld(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.settled()
	if n := len(r.dlq.read()); n != 120 {
		t.Fatalf("%d dead letters, want all 120", n)
	}
	var later []message
	for i := range 60 {
		later = append(later, r.change(i, fields{"position": "Engineer"}))
	}
	r.kafka.produce(later...)
	inst.holds(60)
	for _, l := range r.dlq.read() {
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
		r.kafka.produce(r.change(i, fields{"position": "Engineer"}))
	}
	inst := r.start(stormy, broken.install, func(cfg *consumer.Config, _ *consumer.Parts) { cfg.BufferRecords = 60 })
	r.eventually("the cause", func() bool { ok, cause := inst.service.Ready(); return ok && cause == "storm" })
	inst.holds(60)
	if !inst.paused("storm") {
		t.Error("the metric does not name the cause")
	}
	broken.fixed.Store(true)
	r.settled()
	r.crm.wantCalls(90)
	if n := len(r.dlq.read()); n > 0 || inst.paused("storm") {
		t.Errorf("%d dead letters; paused: %v", n, inst.paused("storm"))
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
		r.kafka.produce(on(i%3, r.change(i, stated)))
	}
	inst := r.start(stormy)
	r.eventually("the dead letters of all unmappable events", func() bool { return len(r.dlq.read()) == 100 })
	r.crm.Release()
	r.settled()
	if inst.metric("membersync_events_held") > 0 || len(r.dlq.read()) != 100 {
		t.Errorf("%d dead letters, want 100 and no storm", len(r.dlq.read()))
	}
}
