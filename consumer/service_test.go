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
	r.kafka.produce(r.change(1, fields{"position": "Engineer", "mainDepartmentId": 7}))
	r.start()
	r.settled()
	r.crm.wantField(1, "position", `"Engineer"`)
	r.crm.wantField(1, "mainDepartmentId", `7`)
	r.crm.wantCalls(1)
	r.wantOutcomes("ev-1", consumer.Applied)
}

// The newest event wins for each field on its own.
func TestNewestWinsFieldByField(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	inst := r.start(oneByOne)
	r.process(event("new", 1, 9, fields{"position": "Lead"}))
	r.process(event("late", 1, 3, fields{"position": "Engineer", "email": "a@test.invalid"}))
	r.process(event("late again", 1, 2, fields{"position": "Trainee"}))
	inst.stop()
	r.crm.wantField(1, "position", `"Lead"`)
	r.crm.wantField(1, "email", `"a@test.invalid"`)
	r.crm.wantCalls(2)
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
	r.process(first)
	r.process(first)
	r.crm.wantCalls(1)
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
		r.process(r.change(1, fields{"position": "Engineer"}))
	}
	r.crm.wantCalls(1)
	r.wantOutcomes("ev-2", consumer.Unchanged)
}

// oneByOne gives a service a single call slot.
func oneByOne(cfg *consumer.Config, _ *consumer.Parts) { cfg.Concurrency = 1 }

// The events that wait in a lane are folded into one call.
func TestABacklogFoldsIntoOneCallPerMember(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	var msgs []message
	for i := range 40 {
		msgs = append(msgs, r.change(1, fields{"position": fmt.Sprintf("Level %d", i)}), r.change(2, fields{"qq": fmt.Sprint(i)}))
	}
	r.start(oneByOne).backlog(msgs...)
	r.settled()
	r.crm.wantField(1, "position", `"Level 39"`)
	r.crm.wantField(2, "qq", `"39"`)
	r.crm.wantCalls(3)
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
	r.kafka.produce(msgs...)
	r.start()
	r.settled()
	got := map[dlq.Reason]int{}
	for _, l := range r.dlq.read() {
		got[l.Reason]++
		if l.Reason == dlq.ReasonCRMNotFound && (l.CRMCode != "20012" || l.Attempts != 1 || l.EmployeeID != "E0005") {
			t.Errorf("dead letter of the refused event: %+v", l)
		}
	}
	want := map[dlq.Reason]int{dlq.ReasonMalformed: 2, dlq.ReasonInvalidField: 1, dlq.ReasonCRMNotFound: 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	r.crm.wantField(2, "position", `"Good"`)
	deadLetters := r.dlq.read()
	for i, m := range msgs[:3] {
		found := slices.ContainsFunc(deadLetters, func(l dlq.DeadLetter) bool {
			return string(l.Key) == string(m.Key) && string(l.Value) == string(m.Value) &&
				(l.Value == nil) == (m.Value == nil) && len(l.Headers) == len(m.Headers)
		})
		if !found {
			t.Errorf("message %d has no dead letter with the same bytes", i)
		}
	}
}

// The CRM refuses a folded call because of one event. Only that one is dead-lettered, and the
// others are applied.
func TestOnlyTheOffendingEventOfAFoldIsDeadLettered(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{Departments: []int64{1, 2, 3}})
	var msgs []message
	names := []string{"position", "email", "qq", "weixin", "account"}
	for i, f := range names {
		msgs = append(msgs, r.change(1, fields{f: fmt.Sprintf("value-%d", i)}))
		if i == 2 {
			msgs = append(msgs, event("offending", 1, 50, fields{"mainDepartmentId": 404}))
		}
	}
	r.start(oneByOne).backlog(msgs...)
	r.settled()
	for i, f := range names {
		r.crm.wantField(1, f, fmt.Sprintf(`"value-%d"`, i))
	}
	deadLetters := r.dlq.read()
	if len(deadLetters) != 1 || deadLetters[0].EventID != "offending" || deadLetters[0].Reason != dlq.ReasonCRMNotFound {
		t.Fatalf("%d dead letters: %+v", len(deadLetters), deadLetters)
	}
}

func TestATransientFailureIsRetriedAndDelaysNoOtherMember(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.crm.Push(crmapitest.Fault{Member: member(1), Times: 3, Status: 503})
	r.kafka.produce(r.change(1, fields{"position": "Retried"}), r.change(2, fields{"position": "Quick"}))
	r.start()
	r.settled()
	r.crm.wantField(1, "position", `"Retried"`)
	r.crm.wantField(2, "position", `"Quick"`)
	r.dlq.wantCount(0)
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
		r.kafka.produce(msgs...)
	}
	send(500)
	second := r.start()
	send(500)
	second.waitReady()
	send(500)
	second.stop()
	send(500)
	r.settled()
	for employee, v := range want {
		r.crm.wantField(employee, "position", v)
	}
	r.wantNoOverlap()
	r.dlq.wantCount(0)
}
