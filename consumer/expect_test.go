package consumer_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
	"membersync/dlq"
	"membersync/mapper"
)

// fields are the fields in the after part of an event; a nil value clears the field.
type fields = map[string]any

// event returns a canonical event of a synthetic employee.
func (r *rig) event(id string, employee int, sequence int, after fields) kafka.Message {
	body, err := json.Marshal(map[string]any{
		"eventId": id, "employeeId": fmt.Sprintf("E%04d", employee), "openUserId": member(employee),
		"sequence": sequence, "after": after,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return kafka.Message{Key: fmt.Appendf(nil, "E%04d", employee), Value: body}
}

// change returns an event with the next sequence number n. Its id is ev-n, from ev-1 on.
func (r *rig) change(employee int, after fields) kafka.Message {
	r.seq++
	return r.event(fmt.Sprintf("ev-%d", r.seq), employee, r.seq, after)
}

// on returns the message with its partition set.
func on(partition int, m kafka.Message) kafka.Message {
	m.Partition = partition
	return m
}

// member returns the openUserId of an employee.
func member(employee int) string { return fmt.Sprintf("FSUID_TEST%04d", employee) }

func (r *rig) produce(msgs ...kafka.Message) {
	r.t.Helper()
	r.broker.Produce(r.t, r.topic, msgs...)
}

// settled waits until all records of the source topic are finished and committed.
func (r *rig) settled() {
	r.t.Helper()
	r.eventually("the lag to reach zero", func() bool { return r.broker.Lag(r.t, r.group, r.topic) == 0 })
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

// waiting waits until the instance's lanes contain n events, running or waiting.
func (r *rig) waiting(inst *instance, n int) {
	r.t.Helper()
	r.eventually(fmt.Sprintf("%d events in the lanes", n), func() bool { return inst.service.Items() == n })
}

// field returns the value of a member's field in the CRM, as JSON; empty if it is not set.
func (r *rig) field(employee int, name string) string {
	return string(r.crm.State(member(employee))[name])
}

func (r *rig) wantField(employee int, name, want string) {
	r.t.Helper()
	if got := r.field(employee, name); got != want {
		r.t.Errorf("member %d: %s = %s, want %s", employee, name, got, want)
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

// wantCalls checks the number of update requests that the CRM has received.
func (r *rig) wantCalls(want int) {
	r.t.Helper()
	if got := len(r.crm.Calls()); got != want {
		r.t.Errorf("%d calls, want %d", got, want)
	}
}

// wantNoDeadLetters checks that nothing was dead-lettered and no two calls of a member overlapped.
func (r *rig) wantNoDeadLetters() {
	r.t.Helper()
	for _, l := range r.deadLetters() {
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

// deadLetters returns the content of the dead-letter topic.
func (r *rig) deadLetters() []dlq.DeadLetter {
	r.t.Helper()
	var all []dlq.DeadLetter
	for _, m := range r.broker.ReadAll(r.t, r.topic+".dlq") {
		l, err := dlq.Parse(m)
		if err != nil {
			r.t.Fatal(err)
		}
		all = append(all, l)
	}
	return all
}

// rejections returns the reasons of the dead letters, by event id.
func (r *rig) rejections() map[string]dlq.Reason {
	r.t.Helper()
	reasons := map[string]dlq.Reason{}
	for _, l := range r.deadLetters() {
		reasons[l.EventID] = l.Reason
	}
	return reasons
}

// callsOf returns the update requests of a member that the fake CRM has received.
func (r *rig) callsOf(employee int) []crmapitest.Seen {
	return slices.DeleteFunc(r.crm.Calls(), func(s crmapitest.Seen) bool { return s.OpenUserID != member(employee) })
}

// committed returns the group's committed offset of a partition of the source topic; -1 if nothing
// was committed.
func (r *rig) committed(partition int) int64 {
	r.t.Helper()
	if at, ok := r.broker.Committed(r.t, r.group, r.topic)[partition]; ok {
		return at
	}
	return -1
}

// metric returns the value of a counter or gauge; -1 if it does not exist. The labels are names and
// values in turn.
func (r *rig) metric(inst *instance, name string, labels ...string) float64 {
	r.t.Helper()
	families, err := inst.registry.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			has := map[string]string{}
			for _, l := range m.GetLabel() {
				has[l.GetName()] = l.GetValue()
			}
			if f.GetName() == name && hasAll(has, labels) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return -1
}

func hasAll(has map[string]string, labels []string) bool {
	for i := 0; i < len(labels); i += 2 {
		if has[labels[i]] != labels[i+1] {
			return false
		}
	}
	return true
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

// userOf returns the fields of the update that a request carried. All of them must be texts.
func userOf(tb testing.TB, c crmapitest.Seen) map[string]string {
	tb.Helper()
	var user map[string]string
	if err := json.Unmarshal(c.User, &user); err != nil {
		tb.Fatal(err)
	}
	return user
}
