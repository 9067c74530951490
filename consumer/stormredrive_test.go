package consumer_test

import (
	"testing"

	"membersync/crmapi/crmapitest"
	"membersync/dlq"
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
		r.kafka.produce(r.change(i, fields{"position": "Engineer"}))
	}
	calm := r.start(r.dlq.redriving)
	r.settled()
	calm.stop()
	inst := r.start(r.dlq.redriving, stormy)
	for _, item := range r.dlq.items() {
		r.dlq.redrive(item)
	}
	r.redrivesSettled()
	if got, held := len(r.dlq.read()), inst.metric("membersync_events_held"); got != 2*n || held > 0 {
		t.Errorf("%d dead letters, want %d; %v held, want none", got, 2*n, held)
	}
	r.process(r.change(n, fields{"position": "Engineer"}))
	r.crm.wantField(n, "position", `"Engineer"`)
}

// A redrive is neither held nor tried again by the storm guard, so it is dead-lettered at once, and
// its success proves nothing about the held events: otherwise fifty more of them would be
// dead-lettered.
func TestRedrivesPassAStorm(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, crmapitest.Options{})
	broken := &brokenMapper{breaks: func(ev mapper.Event) bool { return ev.OpenUserID != member(98) }}
	for i := range 2 {
		r.kafka.produce(r.change(98+i, fields{"gender": "X"}))
	}
	calm := r.start(r.dlq.redriving)
	r.settled()
	calm.stop()
	for i := range 60 { // before the start, so that all are read at once
		r.kafka.produce(on(1, r.change(i, fields{"position": "Engineer"})))
	}
	inst := r.start(r.dlq.redriving, holding, broken.install)
	inst.holds(60)
	items := r.dlq.items()
	r.dlq.redrive(items["ev-1"], func(d *dlq.Redrive) {
		d.DeadLetter.Value = event("ev-1", 98, 1, fields{"position": "Engineer"}).Value
		d.Edited = true
	})
	r.processRedrive(items["ev-2"])
	r.crm.wantField(98, "position", `"Engineer"`)
	r.crm.wantCalls(1)
	r.dlq.wantCount(3)
	inst.holds(60)
}
