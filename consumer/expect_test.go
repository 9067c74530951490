package consumer_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"membersync/consumer"
	"membersync/dlq"
	"membersync/mapper"
)

// fields are the fields in the after part of an event; a nil value clears the field.
type fields = map[string]any

// event returns a canonical event of a synthetic employee.
func event(id string, employee int, sequence int, after fields) kafka.Message {
	body, err := json.Marshal(map[string]any{
		"eventId": id, "employeeId": fmt.Sprintf("E%04d", employee), "openUserId": member(employee),
		"sequence": sequence, "after": after,
	})
	if err != nil {
		panic(err)
	}
	return kafka.Message{Key: fmt.Appendf(nil, "E%04d", employee), Value: body}
}

// change returns an event with the next sequence number n. Its id is ev-n, from ev-1 on.
func (r *rig) change(employee int, after fields) kafka.Message {
	r.seq++
	return event(fmt.Sprintf("ev-%d", r.seq), employee, r.seq, after)
}

// on returns the message with its partition set.
func on(partition int, m kafka.Message) kafka.Message {
	m.Partition = partition
	return m
}

// member returns the openUserId of an employee.
func member(employee int) string { return fmt.Sprintf("FSUID_TEST%04d", employee) }

// settled waits until all records of the source topic are finished and committed.
func (r *rig) settled() {
	r.t.Helper()
	r.eventually("the lag to reach zero", func() bool { return r.kafka.lag(r.kafka.topic) == 0 })
}

// redrivesSettled waits until all records of the redrive topic are finished and committed.
func (r *rig) redrivesSettled() {
	r.t.Helper()
	r.eventually("the lag of the redrive topic to reach zero", func() bool {
		return r.kafka.lag(r.kafka.topics().Redrive) == 0
	})
}

// process produces records and waits until they are finished and committed.
func (r *rig) process(msgs ...message) {
	r.t.Helper()
	r.kafka.produce(msgs...)
	r.settled()
}

// processRedrive redrives a dead letter and waits until the redrive is finished and committed.
func (r *rig) processRedrive(item dlq.Item, changes ...func(*dlq.Redrive)) {
	r.t.Helper()
	r.dlq.redrive(item, changes...)
	r.redrivesSettled()
}

// eventually waits until ok is true. After 90 s it logs what the services hold in memory, and fails
// the test.
func (r *rig) eventually(what string, ok func() bool) {
	r.t.Helper()
	deadline := time.Now().Add(90 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			for _, inst := range r.instances {
				r.t.Log(inst.service.Dump())
			}
			r.t.Fatalf("timed out waiting for %s", what)
		}
		<-tick.C
	}
}

// never checks that happens stays false for the duration d. Otherwise the test fails with the text
// what.
func (r *rig) never(what string, d time.Duration, happens func() bool) {
	r.t.Helper()
	end := time.After(d)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if happens() {
			r.t.Fatal(what)
		}
		select {
		case <-end:
			return
		case <-tick.C:
		}
	}
}

// wantOutcomes checks the outcomes of all deliveries of an event, in any order.
func (r *rig) wantOutcomes(id string, want ...consumer.Outcome) {
	r.t.Helper()
	got := slices.Sorted(slices.Values(r.outcome.of(id)))
	if want = slices.Sorted(slices.Values(want)); !slices.Equal(got, want) {
		r.t.Errorf("event %s: outcomes %v, want %v", id, got, want)
	}
}

// wantNoDeadLetters checks that nothing was dead-lettered and no two calls of a member overlapped.
func (r *rig) wantNoDeadLetters() {
	r.t.Helper()
	for _, l := range r.dlq.read() {
		r.t.Errorf("dead letter of %s: %s: %s", l.EventID, l.Reason, l.Error)
	}
	r.wantNoOverlap()
}

// wantNoOverlap checks, on the CRM's side, that no two calls of a member overlapped. The CRM
// notices that a client gave up only a moment after the client makes its next call, so one overlap
// is allowed per such call. The recorder checks the same on the client's side.
func (r *rig) wantNoOverlap() {
	r.t.Helper()
	if n := r.crm.Overlaps(); n > r.recorder.givenUp() {
		r.t.Errorf("%d overlapping calls", n)
	}
}

// An outcomes is an observer that records all reports.
type outcomes struct {
	mu      sync.Mutex
	decoded int                           // records
	byEvent map[string][]consumer.Outcome // by event id, in the order of the reports
	ends    []consumer.EventResult
	calls   []consumer.CallAttempt
}

func newOutcomes() *outcomes { return &outcomes{byEvent: make(map[string][]consumer.Outcome)} }

func (o *outcomes) Decoded(mapper.Record, []mapper.Result) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.decoded++
}

func (o *outcomes) Called(c consumer.CallAttempt) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.calls = append(o.calls, c)
}

func (o *outcomes) Finished(e consumer.EventResult) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.byEvent[e.Event.ID] = append(o.byEvent[e.Event.ID], e.Outcome)
	o.ends = append(o.ends, e)
}

// of returns the outcomes of all deliveries of an event.
func (o *outcomes) of(id string) []consumer.Outcome {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.byEvent[id])
}

// records returns how many records were decoded.
func (o *outcomes) records() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.decoded
}

// A logBuffer keeps the log of all services. It is safe for concurrent use.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// called returns all attempts of a call.
func (o *outcomes) called() []consumer.CallAttempt {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.calls)
}

type message = kafka.Message

// deadLettered returns the ids of the events that were dead-lettered.
func (o *outcomes) deadLettered() (ids []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, e := range o.ends {
		if e.Outcome == consumer.DeadLettered {
			ids = append(ids, e.Event.ID)
		}
	}
	return ids
}
