package consumer_test

import (
	"sync/atomic"
	"testing"
	"time"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
	"membersync/mapper"
)

// The storm guard counts live events only. Redrives that are all rejected again begin no storm and
// delay no other event.
func TestRedrivesBeginNoStorm(t *testing.T) {
	t.Parallel()
	const n = 52
	r := newRig(t, 1, crmapitest.Options{Fault: func(s crmapitest.Seen) crmapitest.Fault {
		if s.OpenUserID < member(n) {
			return crmapitest.Fault{Code: 11002}
		}
		return crmapitest.Fault{}
	}})
	for i := range n {
		r.produce(r.change(i, fields{"position": "Engineer"}))
	}
	calm := r.start(r.redriving)
	r.settled()
	calm.stop()
	inst := r.start(r.redriving, stormy)
	for _, item := range r.items() {
		r.redrive(item)
	}
	r.redrivesSettled()
	if got := len(r.deadLetters()); got != 2*n || r.paused(inst, "storm") {
		t.Errorf("%d dead letters, want %d; storm: %v, want none", got, 2*n, r.paused(inst, "storm"))
	}
	r.produce(r.change(n, fields{"position": "Engineer"}))
	r.settled()
	r.wantField(n, "position", `"Engineer"`)
}

// A halfFixedMapper can map no event until it is fixed, and then those of one member. It counts its
// calls.
type halfFixedMapper struct {
	consumer.Mapper
	member string
	fixed  atomic.Bool
	calls  atomic.Int64
}

func (m *halfFixedMapper) MapWith(rec mapper.Record, found map[mapper.Reference]string) []mapper.Result {
	m.calls.Add(1)
	results := m.Mapper.MapWith(rec, found)
	for i := range results {
		if !m.fixed.Load() || results[i].Event.OpenUserID != m.member {
			results[i].Fault = &mapper.Fault{
				Reason: mapper.InvalidField, Path: "after.mainDepartmentId", Text: "is unknown", Offset: -1,
			}
		}
	}
	return results
}

func (m *halfFixedMapper) install(_ *consumer.Config, p *consumer.Parts) {
	m.Mapper, p.Mapper = p.Mapper, m
}

// A redrive that cannot be mapped is not held by the storm guard, so it is not one of the held
// events that are tried again. Its success after the mapping is fixed proves nothing about the held
// events: otherwise fifty more of them would be dead-lettered.
func TestASuccessfulRedriveDoesNotEndAStorm(t *testing.T) {
	t.Parallel()
	const redriven = 99
	r := newRig(t, 2, crmapitest.Options{})
	halfway := &halfFixedMapper{member: member(redriven)}
	r.produce(r.change(redriven, fields{"position": "Engineer"}))
	calm := r.start(r.redriving, halfway.install)
	r.settled()
	calm.stop()
	halfway = &halfFixedMapper{member: member(redriven)}
	inst := r.start(r.redriving, stormy, halfway.install)
	for i := range 60 { // in the partition whose turn follows that of the redriven event's partition
		r.produce(on(1, r.change(i, fields{"position": "Engineer"})))
	}
	r.eventually("the storm", func() bool { return r.paused(inst, "storm") })
	r.redrive(r.items()["ev-1"])
	r.eventually("the redrive to be decoded", func() bool { return inst.service.Redrives() == 1 })
	r.eventually("all events to be decoded", func() bool { return halfway.calls.Load() == 61 })
	halfway.fixed.Store(true)
	r.eventually("a held event to be tried", func() bool { return halfway.calls.Load() > 61 })
	r.never("the storm ended", time.Second, func() bool { return !r.paused(inst, "storm") })
	r.wantCalls(0)
}
