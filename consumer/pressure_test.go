package consumer_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
	"membersync/mapper"
)

// The buffer takes no more than BufferRecords records that are not finished.
func TestTheBufferIsBoundedByRecords(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, crmapitest.Options{})
	r.crm.Block(crmapitest.BeforeEffect)
	r.start(func(cfg *consumer.Config, _ *consumer.Parts) { cfg.BufferRecords = 3 })
	for i := range 12 {
		r.kafka.produce(on(i%2, r.change(i, fields{"position": "x"})))
	}
	r.eventually("three calls", func() bool { return r.crm.Blocked() == 3 })
	r.never("more records than the buffer holds were decoded", 500*time.Millisecond, func() bool {
		return r.outcome.records() > 3
	})
	if at := r.kafka.committed(0) + r.kafka.committed(1); at > 0 {
		t.Errorf("committed past records that are not finished: %d", at)
	}
	r.crm.Release()
	r.settled()
	r.crm.wantCalls(12)
}

// The buffer takes no more than three quarters of BufferBytes of records, headers included.
func TestTheBufferIsBoundedByBytes(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.crm.Block(crmapitest.BeforeEffect)
	r.start(func(cfg *consumer.Config, _ *consumer.Parts) { cfg.BufferBytes = 34 << 10 })
	for i := range 6 {
		m := r.change(i, fields{"position": "x"})
		m.Headers = []kafka.Header{{Key: "filler", Value: make([]byte, 10<<10)}}
		r.kafka.produce(m)
	}
	r.eventually("two calls", func() bool { return r.crm.Blocked() == 2 })
	r.never("more bytes than the buffer holds were decoded", 500*time.Millisecond, func() bool {
		return r.outcome.records() > 2
	})
	r.crm.Release()
	r.settled()
	r.crm.wantCalls(6)
}

// A record that is larger than the buffer is admitted once the buffer is empty.
func TestARecordLargerThanTheBufferIsAdmittedAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.crm.Block(crmapitest.BeforeEffect)
	r.start(func(cfg *consumer.Config, _ *consumer.Parts) { cfg.BufferBytes = 1 << 10 })
	small, large := r.change(1, fields{"position": "s"}), r.change(2, fields{"position": "l"})
	last := r.change(3, fields{"position": "e"})
	large.Headers = []kafka.Header{{Key: "filler", Value: make([]byte, 100<<10)}}
	r.kafka.produce(small, large, last)
	for n := 1; n <= 3; n++ {
		r.eventually(fmt.Sprintf("record %d", n), func() bool { return r.crm.Blocked() == 1 && r.outcome.records() == n })
		r.never("another record is in the buffer", 100*time.Millisecond, func() bool { return r.outcome.records() > n })
		r.crm.Release()
		if n < 3 {
			r.crm.Block(crmapitest.BeforeEffect)
		}
	}
	r.settled()
	r.crm.wantCalls(3)
}

// A lane at its cap pauses the partition that feeds it, and no other.
func TestAFullLanePausesItsPartitionOnly(t *testing.T) {
	t.Parallel()
	const laneCap = 2000
	r := newRig(t, 2, crmapitest.Options{})
	r.crm.Push(crmapitest.Fault{Member: member(1), Block: true})
	r.start()
	var msgs []kafka.Message
	for i := range laneCap + 300 {
		msgs = append(msgs, on(0, r.change(1, fields{"position": fmt.Sprint(i)})))
	}
	r.kafka.produce(append(msgs, on(0, r.change(2, fields{"position": "Behind"})))...)
	r.eventually("the lane to be full", func() bool { return r.outcome.records() == laneCap+1 })
	r.kafka.produce(on(1, r.change(3, fields{"position": "Alongside"})))
	r.eventually("the other partition to continue", func() bool { return r.crm.field(3, "position") == `"Alongside"` })
	if n := r.outcome.records(); n != laneCap+2 {
		t.Errorf("%d records were decoded, want %d", n, laneCap+2)
	}
	// A call that arrived only after the release would be blocked forever.
	r.eventually("the call to be blocked", func() bool { return r.crm.Blocked() == 1 })
	r.crm.Release()
	r.settled()
	r.crm.wantField(1, "position", fmt.Sprintf("%q", fmt.Sprint(laneCap+299)))
	r.crm.wantField(2, "position", `"Behind"`)
	r.wantNoOverlap()
	// The full lane was waiting as a whole. What follows it is folded as it arrives.
	late := func(s crmapitest.Seen) bool {
		var user struct{ Position string }
		n, err := 0, json.Unmarshal(s.User, &user)
		if err == nil {
			n, err = strconv.Atoi(user.Position)
		}
		return err == nil && n >= laneCap
	}
	if n := len(slices.DeleteFunc(r.crm.callsOf(1), late)); n < 1 || n > 6 {
		t.Errorf("%d calls for the full lane of one member", n)
	}
}

// A lane at its cap holds no memory of other partitions: what its partition has fetched is given
// up.
func TestAFullLaneHoldsNoFetchOfOtherPartitions(t *testing.T) {
	t.Parallel()
	const laneCap = 2000
	r := newRig(t, 2, crmapitest.Options{})
	r.crm.Push(crmapitest.Fault{Member: member(1), Block: true})
	// One batch of the partition takes all memory for fetches, a tenth of this.
	r.start(func(cfg *consumer.Config, _ *consumer.Parts) { cfg.BufferBytes = 1 << 20 })
	var msgs []kafka.Message
	for i := range laneCap + 100 {
		msgs = append(msgs, on(0, r.change(1, fields{"position": fmt.Sprint(i)})))
	}
	r.kafka.produce(msgs...)
	r.eventually("the lane to be full", func() bool { return r.outcome.records() == laneCap+1 })
	r.kafka.produce(on(1, r.change(3, fields{"position": "Alongside"})))
	r.eventually("the other partition to continue", func() bool { return r.crm.field(3, "position") == `"Alongside"` })
	r.eventually("the call to be blocked", func() bool { return r.crm.Blocked() == 1 })
	r.crm.Release()
	r.settled()
	r.crm.wantField(1, "position", fmt.Sprintf("%q", fmt.Sprint(laneCap+99)))
}

// A listMapper maps a record that contains a list of events. The real mapper maps each of them.
type listMapper struct{ one consumer.Mapper }

func (m listMapper) References(mapper.Record) []mapper.Reference { return nil }

func (m listMapper) MapWith(rec mapper.Record, _ map[mapper.Reference]string) []mapper.Result {
	var parts []json.RawMessage
	if json.Unmarshal(rec.Value, &parts) != nil {
		return m.one.MapWith(rec, nil)
	}
	var results []mapper.Result
	for i, part := range parts {
		in := rec
		in.Value = part
		res := m.one.MapWith(in, nil)[0]
		res.Event.Index, res.Event.Count = i, len(parts)
		if res.Fault != nil {
			res.Fault.Whole = false
		}
		results = append(results, res)
	}
	return results
}

// lists lets a service read records that contain a list of events.
func lists(_ *consumer.Config, p *consumer.Parts) { p.Mapper = listMapper{p.Mapper} }

// list returns a message that contains the events of all messages.
func list(msgs ...kafka.Message) kafka.Message {
	parts := []json.RawMessage{}
	for _, m := range msgs {
		parts = append(parts, m.Value)
	}
	value, err := json.Marshal(parts)
	if err != nil {
		panic(err)
	}
	return kafka.Message{Value: value}
}

// A record is finished only when all its events are, whatever their outcomes.
func TestARecordIsFinishedWhenAllItsEventsAre(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.crm.Push(crmapitest.Fault{Member: member(4), Block: true})
	r.start(lists)
	first := r.change(1, fields{"position": "Alone"})
	deleted := kafka.Message{}
	deleted.Value = []byte(
		`{"eventId":"gone","employeeId":"E0003","openUserId":"FSUID_TEST0003","sequence":3,"before":{},"after":null}`)
	r.kafka.produce(first, list(
		r.change(2, fields{"position": "Good"}),
		event("bad", 5, 90, fields{"gender": "X"}),
		deleted, first,
		event("slow", 4, 91, fields{"position": "Slow"}),
		event("twice", 2, 92, fields{"qq": "2"}),
	))
	r.eventually("the other outcomes", func() bool {
		return len(r.outcome.of("ev-2")) == 1 && len(r.outcome.of("bad")) == 1 && len(r.outcome.of("gone")) == 1 &&
			len(r.outcome.of("twice")) == 1
	})
	r.eventually("the slow call", func() bool { return r.crm.Blocked() == 1 })
	r.never("committed past an unfinished event", 1500*time.Millisecond, func() bool { return r.kafka.committed(0) > 1 })
	r.crm.Release()
	r.settled()
	r.crm.wantField(4, "position", `"Slow"`)
	r.crm.wantField(2, "qq", `"2"`)
	r.wantOutcomes("bad", consumer.DeadLettered)
	r.wantOutcomes("gone", consumer.Ignored)
	deadLetters := r.dlq.read()
	if len(deadLetters) != 1 || deadLetters[0].Index != 1 || deadLetters[0].Count != 6 {
		t.Errorf("dead letters: %+v", deadLetters)
	}
}

// A record without events is finished at once, and its buffer place is free again.
func TestARecordWithoutEventsIsFinishedAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	inst := r.start(lists, func(cfg *consumer.Config, _ *consumer.Parts) { cfg.BufferRecords = 2 })
	r.process(list(), list(), list(), r.change(1, fields{"position": "Behind"}))
	r.crm.wantField(1, "position", `"Behind"`)
	if n := inst.service.Items(); n != 0 {
		t.Errorf("%d events left", n)
	}
}
