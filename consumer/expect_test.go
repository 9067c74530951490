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

// fields is what an event's after holds; a nil value is a clear.
type fields = map[string]any

// event is a canonical event of a made-up employee.
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

// change is an event with a number of its own.
func (r *rig) change(employee int, after fields) kafka.Message {
	r.seq++
	return r.event(fmt.Sprintf("ev-%d", r.seq), employee, r.seq, after)
}

// on puts a message into a partition.
func on(partition int, m kafka.Message) kafka.Message {
	m.Partition = partition
	return m
}

func member(employee int) string { return fmt.Sprintf("FSUID_TEST%04d", employee) }

func (r *rig) produce(msgs ...kafka.Message) {
	r.t.Helper()
	r.broker.Produce(r.t, r.topic, msgs...)
}

// settled waits until everything in the topic has its outcome and is committed.
func (r *rig) settled() {
	r.t.Helper()
	r.eventually("the lag to end", func() bool { return r.broker.Lag(r.t, r.group, r.topic) == 0 })
}

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
			r.t.Fatalf("waited in vain for %s", what)
		}
		<-tick.C
	}
}

// never checks that nothing of a kind happens for a while.
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

// waiting waits until n events lie in the instance's lanes.
func (r *rig) waiting(inst *instance, n int) {
	r.t.Helper()
	r.eventually(fmt.Sprintf("%d events in the lanes", n), func() bool { return inst.service.Items() == n })
}

func (r *rig) field(employee int, name string) string {
	return string(r.crm.State(member(employee))[name])
}

func (r *rig) wantField(employee int, name, want string) {
	r.t.Helper()
	if got := r.field(employee, name); got != want {
		r.t.Errorf("member %d: %s = %s, want %s", employee, name, got, want)
	}
}

// wantOutcomes checks what became of the deliveries of an event, in whatever order.
func (r *rig) wantOutcomes(id string, want ...consumer.Outcome) {
	r.t.Helper()
	got := slices.Sorted(slices.Values(r.outcome.of(id)))
	if want = slices.Sorted(slices.Values(want)); !slices.Equal(got, want) {
		r.t.Errorf("event %s: outcomes %v, want %v", id, got, want)
	}
}

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

// wantNoOverlap looks at the CRM's side, which hears that a client has given up a moment later than the client makes its next call. The
// recorder looks at the other side.
func (r *rig) wantNoOverlap() {
	r.t.Helper()
	if n := r.crm.Overlaps(); n > r.recorder.givenUp() {
		r.t.Errorf("%d overlapping calls", n)
	}
}

func (r *rig) deadLetters() []dlq.DeadLetter {
	r.t.Helper()
	var letters []dlq.DeadLetter
	for _, m := range r.broker.ReadAll(r.t, r.topic+".dlq") {
		l, err := dlq.Parse(m)
		if err != nil {
			r.t.Fatal(err)
		}
		letters = append(letters, l)
	}
	return letters
}

// dead are the reasons of the dead letters by event id.
func (r *rig) rejections() map[string]dlq.Reason {
	r.t.Helper()
	dead := map[string]dlq.Reason{}
	for _, l := range r.deadLetters() {
		dead[l.EventID] = l.Reason
	}
	return dead
}

// callsOf are the requests that the fake CRM saw of a member.
func (r *rig) callsOf(employee int) []crmapitest.Seen {
	return slices.DeleteFunc(r.crm.Calls(), func(s crmapitest.Seen) bool { return s.OpenUserID != member(employee) })
}

// committed is what the group has committed of a partition, -1 if nothing.
func (r *rig) committed(partition int) int64 {
	r.t.Helper()
	if at, ok := r.broker.Committed(r.t, r.group, r.topic)[partition]; ok {
		return at
	}
	return -1
}

// metric is a counter's or gauge's value; labels are name and value in turn.
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

// outcomes counts what the observer is told.
type outcomes struct {
	mu      sync.Mutex
	arrived int
	ended   map[string][]consumer.Outcome // by event id
	ends    []consumer.EventResult
	calls   []consumer.CallAttempt
}

func newOutcomes() *outcomes { return &outcomes{ended: make(map[string][]consumer.Outcome)} }

func (o *outcomes) Decoded(mapper.Record, []mapper.Result) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.arrived++
}

func (o *outcomes) Called(c consumer.CallAttempt) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.calls = append(o.calls, c)
}

func (o *outcomes) Finished(e consumer.EventResult) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended[e.Event.ID] = append(o.ended[e.Event.ID], e.Outcome)
	o.ends = append(o.ends, e)
}

func (o *outcomes) of(id string) []consumer.Outcome {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.ended[id])
}

// records is how many records have arrived.
func (o *outcomes) records() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.arrived
}

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

func (o *outcomes) called() []consumer.CallAttempt {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.calls)
}

type message = kafka.Message

// dead are the events that died.
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

// userOf are the texts of the update that a request carried.
func userOf(tb testing.TB, c crmapitest.Seen) map[string]string {
	tb.Helper()
	var user map[string]string
	if err := json.Unmarshal(c.User, &user); err != nil {
		tb.Fatal(err)
	}
	return user
}
