package consumer_test

import (
	"sync/atomic"
	"testing"
	"time"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
	"membersync/mapper"
)

// The storm guard is about live events: redrives of which all die again are somebody's experiment, and hold nobody up.
func TestRedrivesMakeNoStorm(t *testing.T) {
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
	if letters := len(r.deadLetters()); letters != 2*n || r.paused(inst, "storm") {
		t.Errorf("%d dead letters, want %d, and the storm is %v", letters, 2*n, r.paused(inst, "storm"))
	}
	r.produce(r.change(n, fields{"position": "Engineer"}))
	r.settled()
	r.wantField(n, "position", `"Engineer"`)
}

// A halfFixedMapper maps one member's events, once it is mended, and counts what it is asked.
type halfFixedMapper struct {
	brokenMapper
	member string
	asked  atomic.Int64
}

func (m *halfFixedMapper) MapWith(rec mapper.Record, found map[mapper.Reference]string) []mapper.Result {
	m.asked.Add(1)
	results := m.brokenMapper.MapWith(rec, found)
	for i := range results {
		if results[i].Event.OpenUserID != m.member {
			results[i].Fault = &mapper.Fault{Reason: mapper.InvalidField, Path: "after.mainDepartmentId", Text: "is unknown", Offset: -1}
		}
	}
	return results
}

func (m *halfFixedMapper) install(_ *consumer.Config, p *consumer.Parts) {
	m.Mapper, p.Mapper = p.Mapper, m
}

// A redrive that cannot be mapped is not what a storm holds: it is not tried as such, so that its good end, once it is mended, tells nothing of the events
// that the storm holds, and does not let fifty more of them die.
func TestARedriveIsNoProbeOfAStorm(t *testing.T) {
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
	for i := range 60 { // beside the redrive in the order in which partitions have their turn, and after it
		r.produce(on(1, r.change(i, fields{"position": "Engineer"})))
	}
	r.eventually("the storm", func() bool { return r.paused(inst, "storm") })
	r.redrive(r.items()["ev-1"])
	r.eventually("the redrive to be read", func() bool { return inst.service.Redrives() == 1 })
	r.eventually("all to be read", func() bool { return halfway.asked.Load() == 61 })
	halfway.mended.Store(true)
	r.eventually("a held event to be tried", func() bool { return halfway.asked.Load() > 61 })
	r.never("the end of the storm", time.Second, func() bool { return !r.paused(inst, "storm") })
	r.wantCalls(0)
}
