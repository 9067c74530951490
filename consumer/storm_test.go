package consumer_test

import (
	"sync/atomic"
	"testing"
	"time"

	"membersync/crmapi/crmapitest"
	"membersync/dlq"
	"membersync/dlq/kafkatest"
)

// A call that gets no response does not keep a storm up: the update is sent again, and the storm
// ends.
func TestAStormEndsAfterAnUnacknowledgedTry(t *testing.T) {
	t.Parallel()
	var fixed atomic.Bool
	var tries atomic.Int32
	r := newRig(t, 3, crmapitest.Options{Fault: func(crmapitest.Seen) crmapitest.Fault {
		switch {
		case !fixed.Load():
			return crmapitest.Fault{Code: 11002}
		case tries.Add(1) == 1:
			return crmapitest.Fault{Status: 503}
		}
		return crmapitest.Fault{}
	}}).quick()
	inst := r.start(stormy)
	for i := range 90 {
		r.kafka.produce(on(i%3, r.change(i, fields{"position": "Engineer"})))
	}
	inst.heldOrDeadLettered(90)
	dead := len(r.dlq.read())
	fixed.Store(true)
	r.settled()
	if got := len(r.dlq.read()); got != dead || inst.metric("membersync_events_held") != 0 {
		t.Errorf("%d dead letters, want the first %d alone", got, dead)
	}
}

// One malformed record among the held events keeps none of them from being tried, and is
// dead-lettered when the storm is over.
func TestAMalformedRecordDoesNotKeepAStormUp(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	broken.Store(true)
	r := newRig(t, 2, refusingWhile(&broken))
	first := r.start(holding)
	for i := range 90 {
		r.kafka.produce(on(i%2, r.change(i, fields{"position": "Engineer"})))
	}
	first.heldOrDeadLettered(90)
	dead := len(r.dlq.read())
	for p := range 2 {
		r.kafka.produce(on(p, message{Key: []byte("k"), Value: []byte("{")}))
	}
	first.holds(92 - dead)
	broken.Store(false)
	r.start(stormy)
	first.stop()
	r.settled()
	malformed := 0
	for _, l := range r.dlq.read() {
		if l.Reason == dlq.ReasonMalformed {
			malformed++
		}
	}
	if got := len(r.dlq.read()); malformed != 2 || got != dead+2 {
		t.Errorf("%d dead letters, %d of them malformed, want %d and 2", got, malformed, dead+2)
	}
}

// A newer event of a member is applied while the older one is held. When that is tried again, it
// does not bring its old value back.
func TestAHeldEventLosesToANewerOne(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	broken.Store(true)
	r := newRig(t, 1, refusingWhile(&broken))
	inst := r.start(stormy)
	for i := range 90 {
		r.kafka.produce(r.change(i, fields{"position": "Old"}))
	}
	inst.heldOrDeadLettered(90)
	broken.Store(false)
	for i := range 90 {
		r.kafka.produce(r.change(i, fields{"position": "New"}))
	}
	r.settled()
	for i := range 90 {
		r.crm.wantField(i, "position", `"New"`)
	}
	r.wantNoOverlap()
}

// Duplicates say nothing about the stream. Here, an instance reads many dead-lettered events again,
// before it reads events that cannot be mapped: fewer than would be a storm of their own.
func TestDuplicatesBeginNoStorm(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	bad := fields{"gender": "X"}
	calm := r.start()
	for i := range 100 {
		r.kafka.produce(r.change(i, bad))
	}
	r.settled()
	calm.stop()
	for i := range 40 {
		r.kafka.produce(r.change(100+i, bad))
	}
	r.kafka.restore(kafkatest.Commit{})
	inst := r.start(holding)
	r.settled()
	r.dlq.wantCount(140)
	if held := inst.metric("membersync_events_held"); held > 0 {
		t.Errorf("%v held", held)
	}
}

// The topic is about to forget what is held: it is dead-lettered, and the newer ones stay held.
func TestHeldEventsAreDeadLetteredBeforeTheyExpire(t *testing.T) {
	t.Parallel()
	r := newFakeRig(t, 1)
	r.kafka.topic = r.kafka.Topic(t, 1, map[string]string{"retention.ms": "600000"})
	r.kafka.ensureTopics()
	for i := range 60 {
		old := r.change(i, fields{"position": "Engineer"})
		old.Time = time.Now().Add(-9*time.Minute - time.Duration(i%2)*10*time.Second)
		r.kafka.produce(old)
		r.kafka.produce(r.change(100+i, fields{"position": "Engineer"}))
	}
	inst := r.start(holding, (&brokenMapper{}).install)
	inst.holds(60)
	r.eventually("the dead letters of the old ones", func() bool { return len(r.dlq.read()) == 60 })
	inst.wantHeld(60, 60)
	for _, l := range r.dlq.read() {
		if time.Since(l.Source.Timestamp) < 9*time.Minute {
			t.Fatal("a new one was dead-lettered")
		}
	}
}
