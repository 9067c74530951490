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
		r.produce(on(i%3, r.change(i, fields{"position": "Engineer"})))
	}
	r.heldOrDeadLettered(inst, 90)
	dead := len(r.deadLetters())
	fixed.Store(true)
	r.settled()
	if got := len(r.deadLetters()); got != dead || r.metric(inst, "membersync_events_held") != 0 {
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
		r.produce(on(i%2, r.change(i, fields{"position": "Engineer"})))
	}
	r.heldOrDeadLettered(first, 90)
	dead := len(r.deadLetters())
	for p := range 2 {
		r.produce(on(p, message{Key: []byte("k"), Value: []byte("{")}))
	}
	r.holds(first, 92-dead)
	broken.Store(false)
	r.start(stormy)
	first.stop()
	r.settled()
	malformed := 0
	for _, l := range r.deadLetters() {
		if l.Reason == dlq.ReasonMalformed {
			malformed++
		}
	}
	if got := len(r.deadLetters()); malformed != 2 || got != dead+2 {
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
		r.produce(r.change(i, fields{"position": "Old"}))
	}
	r.heldOrDeadLettered(inst, 90)
	broken.Store(false)
	for i := range 90 {
		r.produce(r.change(i, fields{"position": "New"}))
	}
	r.settled()
	for i := range 90 {
		r.wantField(i, "position", `"New"`)
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
		r.produce(r.change(i, bad))
	}
	r.settled()
	calm.stop()
	for i := range 40 {
		r.produce(r.change(100+i, bad))
	}
	r.restore(kafkatest.Commit{})
	inst := r.start(holding)
	r.settled()
	if n := len(r.deadLetters()); n != 140 {
		t.Errorf("%d dead letters, want 140", n)
	}
	if held := r.metric(inst, "membersync_events_held"); held > 0 {
		t.Errorf("%v held", held)
	}
}

// The topic is about to forget what is held: it is dead-lettered, and the newer ones stay held.
func TestHeldEventsAreDeadLetteredBeforeTheyExpire(t *testing.T) {
	t.Parallel()
	r := newFakeRig(t, 1)
	r.topic = r.broker.Topic(t, 1, map[string]string{"retention.ms": "600000"})
	r.ensureTopics()
	for i := range 60 {
		old := r.change(i, fields{"position": "Engineer"})
		old.Time = time.Now().Add(-9*time.Minute - time.Duration(i%2)*10*time.Second)
		r.produce(old)
		r.produce(r.change(100+i, fields{"position": "Engineer"}))
	}
	inst := r.start(holding, (&brokenMapper{}).install)
	r.holds(inst, 60)
	r.eventually("the dead letters of the old ones", func() bool { return len(r.deadLetters()) == 60 })
	r.wantHeld(inst, 60, 60)
	for _, l := range r.deadLetters() {
		if time.Since(l.Source.Timestamp) < 9*time.Minute {
			t.Fatal("a new one was dead-lettered")
		}
	}
}
