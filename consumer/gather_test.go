package consumer_test

import (
	"fmt"
	"testing"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
)

// All records that the log holds at the assignment are fetched before the first call. So each
// member costs one call.
func TestBacklogIsGatheredBeforeTheFirstCall(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3, crmapitest.Options{})
	r.gatherFor = unending // gathering ends when the whole backlog is in memory
	var backlog []message
	for i := range 600 {
		backlog = append(backlog, on(i%3, r.change(i%20, fields{"position": fmt.Sprintf("Level %d", i)})))
	}
	r.kafka.produce(backlog...)
	r.start()
	r.settled()
	r.crm.wantCalls(20)
	for i := range 20 {
		r.crm.wantField(i, "position", fmt.Sprintf("%q", fmt.Sprintf("Level %d", 580+i)))
	}
}

// Gathering ends when the buffer is full or the backlog is read, and after a short time in any
// case.
func TestGatheringEnds(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]change{
		"when there is no room for more records": func(cfg *consumer.Config, _ *consumer.Parts) { cfg.BufferRecords = 10 },
		"when there is no room for more bytes":   func(cfg *consumer.Config, _ *consumer.Parts) { cfg.BufferBytes = 2000 },
		"when the whole backlog is read":         func(*consumer.Config, *consumer.Parts) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1, crmapitest.Options{})
			for i := range 100 {
				r.kafka.produce(r.change(i, fields{"position": "Engineer"}))
			}
			r.start(change)
			r.settled()
			r.crm.wantCalls(100)
		})
	}
}

// An open transaction keeps the reader from the end of the log. The calls do not wait for it.
func TestGatheringDoesNotWaitForATransaction(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.kafka.produce(r.change(1, fields{"position": "Engineer"}))
	tx := r.kafka.Begin(t)
	tx.Produce(t, r.kafka.topic, r.change(2, fields{"position": "Open"}))
	r.start()
	r.eventually("the call", func() bool { return len(r.crm.Calls()) == 1 })
	if end := r.kafka.Ends(t, r.kafka.topic)[0]; end != 1 {
		t.Errorf("the log can be read up to %d, want 1: the transaction must still be open at the first call", end)
	}
	tx.Commit(t)
	r.settled()
	r.crm.wantCalls(2)
}
