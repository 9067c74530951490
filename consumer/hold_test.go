package consumer_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
	"membersync/dlq"
	"membersync/mapper"
)

// stormy enables the storm guard.
func stormy(cfg *consumer.Config, _ *consumer.Parts) { cfg.StormShare = 0.5 }

// A brokenMapper is a mapper whose lookup finds nothing until it is fixed.
type brokenMapper struct {
	consumer.Mapper
	fixed atomic.Bool
}

func (m *brokenMapper) MapWith(rec mapper.Record, found map[mapper.Reference]string) []mapper.Result {
	results := m.Mapper.MapWith(rec, found)
	for i := range results {
		if !m.fixed.Load() {
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

// storms waits until the storm guard is active. It checks that at most this many events are
// dead-lettered, and that calls stop.
func (r *rig) storms(inst *instance, maxDeadLetters int) {
	r.t.Helper()
	r.eventually("the storm", func() bool { return r.paused(inst, "storm") })
	calls := len(r.crm.Calls())
	r.never("a dead letter or a call in the storm", time.Second, func() bool {
		return len(r.deadLetters()) > maxDeadLetters || len(r.crm.Calls()) > calls+cfgSlots
	})
	if ok, cause := inst.service.Ready(); !ok || cause != "storm" {
		r.t.Errorf("ready %v, cause %q", ok, cause)
	}
	if ok, why := inst.service.Live(); !ok {
		r.t.Errorf("not live in a storm: %s", why)
	}
}

// cfgSlots is how many calls may have been in flight when the storm began.
const cfgSlots = 16 + deadLetterSlots

// deadLetterSlots is how many dead letters are written at the same time.
const deadLetterSlots = 8

func TestStormOfUnmappableEventsIsHeld(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3, crmapitest.Options{})
	broken := &brokenMapper{}
	inst := r.start(stormy, broken.install)
	for i := range 150 {
		r.produce(on(i%3, r.change(i, fields{"position": "Engineer"})))
	}
	r.storms(inst, 49)
	if lag := r.broker.Lag(t, r.group, r.topic); lag < 101 {
		t.Errorf("lag %d, want at least 101: held events must not count as finished", lag)
	}
	broken.fixed.Store(true)
	r.settled() // one held event is tried every 30 s
	deadLettered := len(r.deadLetters())
	if deadLettered > 49 {
		t.Errorf("%d dead letters, want at most 49", deadLettered)
	}
	r.wantCalls(150 - deadLettered)
	if r.paused(inst, "storm") {
		t.Error("the storm did not end")
	}
}

func TestStormOfCRMRejectionsIsHeld(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	broken.Store(true)
	r := newRig(t, 3, crmapitest.Options{Fault: func(crmapitest.Seen) crmapitest.Fault {
		if broken.Load() {
			return crmapitest.Fault{Code: 11002}
		}
		return crmapitest.Fault{}
	}})
	inst := r.start(stormy)
	for i := range 150 {
		r.produce(on(i%3, r.change(i, fields{"position": "Engineer"})))
	}
	r.storms(inst, 49)
	broken.Store(false)
	r.settled()
	rejected := r.rejections()
	if len(rejected) > 49 {
		t.Errorf("%d dead letters, want at most 49", len(rejected))
	}
	for i := range 150 {
		if _, ok := rejected[fmt.Sprintf("ev-%d", i+1)]; !ok {
			r.wantField(i, "position", `"Engineer"`)
		}
	}
	r.wantNoOverlap()
}

// The operator dead-letters the events that are held now. Later events are guarded again.
func TestResumeDeadLettersTheHeldEvents(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	inst := r.start(stormy, (&brokenMapper{}).install)
	for i := range 120 {
		r.produce(r.change(i, fields{"position": "Engineer"}))
	}
	r.eventually("all to be read", func() bool { return inst.service.Items()+len(r.deadLetters()) == 120 })
	r.storms(inst, 49)
	if err := r.store(r.redis).Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.settled()
	if n := len(r.deadLetters()); n != 120 {
		t.Fatalf("%d dead letters, want all 120", n)
	}
	for i := range 60 {
		r.produce(r.change(i, fields{"position": "Engineer"}))
	}
	r.storms(inst, 120+49)
	for _, l := range r.deadLetters() {
		if l.Reason != dlq.ReasonInvalidField {
			t.Errorf("reason %s", l.Reason)
		}
	}
}

// When partitions are revoked in a storm, their held events are dropped. The next owner processes
// these events and detects the storm again.
func TestStormSurvivesARebalance(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, crmapitest.Options{})
	broken := &brokenMapper{}
	first := r.start(stormy, broken.install)
	for i := range 200 {
		r.produce(on(i%2, r.change(i, fields{"position": "Engineer"})))
	}
	r.storms(first, 49)
	second := &brokenMapper{}
	r.start(stormy, second.install)
	broken.fixed.Store(true)
	second.fixed.Store(true)
	r.settled()
	if n := len(r.rejections()); n > 100 {
		t.Errorf("%d dead letters of two instances", n)
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
	if r.paused(inst, "storm") || len(r.deadLetters()) != 100 {
		t.Errorf("%d dead letters, want 100 and no storm", len(r.deadLetters()))
	}
}
