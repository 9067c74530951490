package consumer_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
	"membersync/dlq"
)

func TestAChangeReachesTheCRM(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, crmapitest.Options{})
	r.produce(r.change(1, fields{"position": "Engineer", "mainDepartmentId": 7}))
	r.start()
	r.settled()
	r.wantField(1, "position", `"Engineer"`)
	r.wantField(1, "mainDepartmentId", `7`)
	if calls := r.crm.Calls(); len(calls) != 1 {
		t.Errorf("%d calls, want 1", len(calls))
	}
	if got := r.outcome.of("ev-1"); !slices.Equal(got, []consumer.Outcome{consumer.Applied}) {
		t.Errorf("outcomes %v", got)
	}
}

// The newest event wins for each field on its own.
func TestNewestWinsFieldByField(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	inst := r.start(oneByOne)
	r.produce(r.event("new", 1, 9, fields{"position": "Lead"}))
	r.settled()
	r.produce(r.event("late", 1, 3, fields{"position": "Engineer", "email": "a@test.invalid"}))
	r.settled()
	r.produce(r.event("late again", 1, 2, fields{"position": "Trainee"}))
	r.settled()
	inst.stop()
	r.wantField(1, "position", `"Lead"`)
	r.wantField(1, "email", `"a@test.invalid"`)
	if calls := r.crm.Calls(); len(calls) != 2 {
		t.Errorf("%d calls, want 2", len(calls))
	}
	for id, want := range map[string]consumer.Outcome{"late": consumer.Applied, "late again": consumer.Superseded} {
		if got := r.outcome.of(id); !slices.Equal(got, []consumer.Outcome{want}) {
			t.Errorf("%s: outcomes %v, want %v", id, got, want)
		}
	}
}

func TestADuplicateCausesNoCall(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	first := r.change(1, fields{"position": "Engineer"})
	r.start()
	r.produce(first)
	r.settled()
	r.produce(first)
	r.settled()
	if calls := r.crm.Calls(); len(calls) != 1 {
		t.Errorf("%d calls, want 1", len(calls))
	}
	want := []consumer.Outcome{consumer.Applied, consumer.Duplicate}
	if got := r.outcome.of("ev-1"); !slices.Equal(got, want) {
		t.Errorf("outcomes %v, want %v", got, want)
	}
}

func TestAValueTheCRMHoldsIsNotSentAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.start()
	for range 2 {
		r.produce(r.change(1, fields{"position": "Engineer"}))
		r.settled()
	}
	if calls := r.crm.Calls(); len(calls) != 1 {
		t.Errorf("%d calls, want 1", len(calls))
	}
	if got := r.outcome.of("ev-2"); !slices.Equal(got, []consumer.Outcome{consumer.Unchanged}) {
		t.Errorf("outcomes %v", got)
	}
}

// oneByOne gives a service a single call slot.
func oneByOne(cfg *consumer.Config, _ *consumer.Parts) { cfg.Concurrency = 1 }

// The events that wait in a lane are folded into one call.
func TestABacklogFoldsIntoOneCallPerMember(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.crm.Block(crmapitest.BeforeEffect)
	inst := r.start(oneByOne)
	r.produce(r.change(99, fields{"position": "Blocker"}))
	r.eventually("the slot to be taken", func() bool { return r.crm.Blocked() == 1 })
	for i := range 40 {
		r.produce(r.change(1, fields{"position": fmt.Sprintf("Level %d", i)}),
			r.change(2, fields{"qq": fmt.Sprint(i)}))
	}
	r.waiting(inst, 81)
	r.crm.Release()
	r.settled()
	r.wantField(1, "position", `"Level 39"`)
	r.wantField(2, "qq", `"39"`)
	if calls := r.crm.Calls(); len(calls) != 3 {
		t.Errorf("%d calls, want 3", len(calls))
	}
}

// Events that fail for good are dead-lettered with their reason. Their records' keys, values and
// headers are kept byte for byte.
func TestDeadLettersKeepTheBytesOfTheirRecords(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, crmapitest.Options{})
	r.crm.Push(crmapitest.Fault{Member: member(5), Times: -1, Code: 20012})
	msgs := []kafka.Message{
		{Partition: 1, Key: []byte("k"), Value: []byte(`{"eventId":`)},
		{Partition: 1, Value: []byte{}, Key: []byte("empty")},
		r.change(1, fields{"gender": "X"}),
		r.change(2, fields{"position": "Good"}),
		r.change(5, fields{"position": "Unknown"}),
	}
	msgs[0].Headers = []kafka.Header{{Key: "h", Value: nil}, {Key: "dlq.reason", Value: []byte("of the source")}}
	r.produce(msgs...)
	r.start()
	r.settled()
	got := map[dlq.Reason]int{}
	for _, l := range r.deadLetters() {
		got[l.Reason]++
		if l.Reason == dlq.ReasonCRMNotFound && (l.CRMCode != "20012" || l.Attempts != 1 || l.EmployeeID != "E0005") {
			t.Errorf("dead letter of the refused event: %+v", l)
		}
	}
	want := map[dlq.Reason]int{dlq.ReasonMalformed: 2, dlq.ReasonInvalidField: 1, dlq.ReasonCRMNotFound: 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	r.wantField(2, "position", `"Good"`)
	r.samePayloads(msgs[:3])
}

// samePayloads checks that each message has a dead letter with the same bytes.
func (r *rig) samePayloads(msgs []kafka.Message) {
	r.t.Helper()
	deadLetters := r.deadLetters()
	for i, m := range msgs {
		found := slices.ContainsFunc(deadLetters, func(l dlq.DeadLetter) bool {
			return string(l.Key) == string(m.Key) && string(l.Value) == string(m.Value) &&
				(l.Value == nil) == (m.Value == nil) && len(l.Headers) == len(m.Headers)
		})
		if !found {
			r.t.Errorf("message %d has no dead letter with the same bytes", i)
		}
	}
}

// The CRM refuses a folded call because of one event. Only that one is dead-lettered, and the
// others are applied.
func TestOnlyTheOffendingEventOfAFoldIsDeadLettered(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{Departments: []int64{1, 2, 3}})
	r.crm.Block(crmapitest.BeforeEffect)
	inst := r.start(oneByOne)
	r.produce(r.change(99, fields{"position": "Blocker"}))
	r.eventually("the slot to be taken", func() bool { return r.crm.Blocked() == 1 })
	names := []string{"position", "email", "qq", "weixin", "account"}
	for i, f := range names {
		r.produce(r.change(1, fields{f: fmt.Sprintf("value-%d", i)}))
		if i == 2 {
			r.produce(r.event("offending", 1, 50, fields{"mainDepartmentId": 404}))
		}
	}
	r.waiting(inst, len(names)+2)
	r.crm.Release()
	r.settled()
	for i, f := range names {
		r.wantField(1, f, fmt.Sprintf(`"value-%d"`, i))
	}
	deadLetters := r.deadLetters()
	if len(deadLetters) != 1 || deadLetters[0].EventID != "offending" || deadLetters[0].Reason != dlq.ReasonCRMNotFound {
		t.Fatalf("%d dead letters: %+v", len(deadLetters), deadLetters)
	}
}

func TestATransientFailureIsRetriedAndDelaysNoOtherMember(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.crm.Push(crmapitest.Fault{Member: member(1), Times: 3, Status: 503})
	r.produce(r.change(1, fields{"position": "Retried"}), r.change(2, fields{"position": "Quick"}))
	r.start()
	r.settled()
	r.wantField(1, "position", `"Retried"`)
	r.wantField(2, "position", `"Quick"`)
	if n := len(r.deadLetters()); n != 0 {
		t.Errorf("%d dead letters", n)
	}
	r.wantNoOverlap()
}

// A second instance joins and leaves the group while events arrive.
func TestRebalancesOfTwoInstancesLoseNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, 6, crmapitest.Options{Latency: time.Millisecond})
	r.start()
	want := map[int]string{}
	send := func(n int) {
		var msgs []kafka.Message
		for i := range n {
			employee := i % 50
			m := r.change(employee, fields{"position": fmt.Sprint(r.seq)})
			m.Partition = employee % 6
			want[employee] = fmt.Sprintf("%q", fmt.Sprint(r.seq-1))
			msgs = append(msgs, m)
		}
		r.produce(msgs...)
	}
	send(500)
	second := r.start()
	send(500)
	r.eventually("the second instance to join", func() bool { ok, _ := second.service.Ready(); return ok })
	send(500)
	second.stop()
	send(500)
	r.settled()
	for employee, v := range want {
		r.wantField(employee, "position", v)
	}
	r.wantNoOverlap()
	if n := len(r.deadLetters()); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}
