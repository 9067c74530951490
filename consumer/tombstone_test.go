package consumer_test

import (
	"fmt"
	"testing"

	"github.com/segmentio/kafka-go"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
)

// A purge of the topic writes a tombstone per key. They are ignored, and are no storm: the changes
// behind them are applied.
func TestTombstonesAreNoStorm(t *testing.T) {
	t.Parallel()
	const tombstones, changes = 500, 1000
	r := newRig(t, 1, crmapitest.Options{})
	var msgs []kafka.Message
	for i := range tombstones {
		msgs = append(msgs, kafka.Message{Key: fmt.Appendf(nil, "E%04d", i)})
	}
	for i := range changes {
		msgs = append(msgs, r.change(i, fields{"position": "After the purge"}))
	}
	r.kafka.produce(msgs...)
	inst := r.start(stormy)
	r.settled()
	r.wantNoDeadLetters()
	if held := inst.metric("membersync_events_held"); held > 0 {
		t.Errorf("%v events are held", held)
	}
	count := map[consumer.Outcome]int{}
	for _, outcome := range r.outcome.all() {
		count[outcome]++
	}
	if count[consumer.Ignored] != tombstones || count[consumer.Applied] != changes {
		t.Errorf("outcomes %v, want %d ignored and %d applied", count, tombstones, changes)
	}
}
