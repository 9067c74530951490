package consumer_test

import (
	"fmt"
	"testing"
	"time"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
)

// These tests cover the retry budget of an event, and the search for the offending event of a fold.

func TestLoneFailingMemberWaits(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.crm.Push(always(crmapitest.Fault{Member: member(1), Code: -1}))
	inst := r.start(noBudget)
	r.kafka.produce(
		r.change(1, fields{"position": "x"}),
		r.change(2, fields{"position": "y"}), r.change(3, fields{"position": "y"}))
	r.eventually("six attempts", func() bool { return len(r.crm.callsOf(1)) >= 6 })
	r.eventually("the lane to be waiting", func() bool {
		return inst.metric("membersync_lanes_retrying") == 1
	})
	if ids := r.outcome.deadLettered(); len(ids) > 0 {
		t.Errorf("%v dead-lettered, though only two other members succeeded", ids)
	}
	r.crm.Clear()
	r.settled()
	r.crm.wantField(1, "position", `"x"`)
	r.wantNoDeadLetters()
}

// noBudget removes the time from the retry budget: only the five attempts are left.
func noBudget(cfg *consumer.Config, _ *consumer.Parts) { cfg.RetryBudget = 0 }

func TestRetryBudgetIsUsedUpWhileOthersSucceed(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.crm.Push(always(crmapitest.Fault{Member: member(1), Code: -1}))
	stop := r.stream(2, 3, 4, 5)
	r.start(func(cfg *consumer.Config, _ *consumer.Parts) { cfg.RetryBudget = 2 * time.Second })
	r.kafka.produce(r.change(1, fields{"position": "x"}))
	r.eventually("the dead letter", func() bool { return len(r.dlq.rejections()) > 0 })
	stop()
	r.settled()
	deadLetters := r.dlq.read()
	if len(deadLetters) != 1 || deadLetters[0].Reason != "retries_exhausted" || deadLetters[0].CRMCode != "-1" {
		t.Fatalf("dead letters %+v", deadLetters)
	}
	l, calls := deadLetters[0], r.crm.callsOf(1)
	if l.Attempts < 5 || l.Attempts != len(calls) || l.CRMTraceID != calls[len(calls)-1].TraceID {
		t.Errorf("attempts %d of %d calls, trace %s", l.Attempts, len(calls), l.CRMTraceID)
	}
	if spent := l.FailedAt.Sub(l.FirstFailedAt); spent < 2*time.Second {
		t.Errorf("dead-lettered after %v, want at least 2 s", spent)
	}
}

// A code that is in no table may be a rejection for good, or an outage's. It has the retry budget:
// five attempts, and time for which the CRM works for others.
func TestUnknownCodeIsTriedForTheRetryBudget(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.crm.Push(always(crmapitest.Fault{Member: member(1), Code: unknownCode}))
	stop := r.stream(2, 3, 4, 5)
	r.start(func(cfg *consumer.Config, _ *consumer.Parts) { cfg.RetryBudget = 3 * time.Second })
	r.kafka.produce(r.change(1, fields{"position": "x"}))
	r.eventually("the dead letter", func() bool { return len(r.dlq.rejections()) > 0 })
	stop()
	r.settled()
	deadLetters := r.dlq.read()
	if len(deadLetters) != 1 || deadLetters[0].Reason != "crm_rejected" || deadLetters[0].CRMCode != fmt.Sprint(unknownCode) {
		t.Fatalf("dead letters %+v", deadLetters)
	}
	l := deadLetters[0]
	if spent := l.FailedAt.Sub(l.FirstFailedAt); l.Attempts < 5 || spent < 3*time.Second {
		t.Errorf("dead-lettered after %d attempts in %v, want 5 and 3 s at least", l.Attempts, spent)
	}
}

// The CRM answers everything with a code that is in no table, at an hour with few events.
func TestMaintenanceWithAnUnknownCodeDeadLettersNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3, crmapitest.Options{})
	r.crm.Push(always(crmapitest.Fault{Code: unknownCode}))
	r.start(noBudget)
	for i := range 4 {
		r.kafka.produce(on(i%3, r.change(i, fields{"position": "x"})))
	}
	r.eventually("six attempts of each", func() bool {
		for i := range 4 {
			if len(r.crm.callsOf(i)) < 6 {
				return false
			}
		}
		return true
	})
	r.crm.Clear()
	r.settled()
	r.wantNoDeadLetters()
}

// unknownCode is the CRM's errorCode for a value that must be unique, such as a mobile number. It
// is not in the published table.
const unknownCode = crmapitest.CodeDuplicate

// The CRM answers with an unknown code if another member has the mobile number. Only the event that
// states this number is dead-lettered.
func TestUnknownCodeDeadLettersOnlyTheOffendingEvent(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	inst := r.start(oneByOne)
	r.process(event("owner", 50, 1, fields{"mobile": "00000000050"}))
	inst.backlog(
		r.change(1, fields{"position": "Good"}), r.change(1, fields{"mobile": "00000000050"}),
		r.change(1, fields{"email": "a@test.invalid"}), r.change(1, fields{"qq": "1"}))
	stop := r.stream(2, 3, 4, 5) // the retry budget needs members whose calls succeed
	r.eventually("the dead letter", func() bool { return len(r.dlq.rejections()) > 0 })
	stop()
	r.settled()
	if rejected := r.dlq.rejections(); len(rejected) != 1 || rejected["ev-2"] != "crm_rejected" {
		t.Errorf("dead letters %v", rejected)
	}
	r.crm.wantField(1, "position", `"Good"`)
	r.crm.wantField(1, "email", `"a@test.invalid"`)
	r.crm.wantField(1, "qq", `"1"`)
	r.crm.wantField(1, "mobile", "")
}

func TestTwoOffendingEventsAreFoundInAFoldOfTen(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{Departments: []int64{1, 2}})
	inst := r.start(oneByOne)
	names := []string{"position", "email", "qq", "weixin", "account", "name", "fullName", "employeeNumber"}
	var msgs []message
	for i, name := range names {
		switch i {
		case 2:
			msgs = append(msgs, event("offending 1", 1, 40, fields{"mainDepartmentId": 404}))
		case 7:
			msgs = append(msgs, event("offending 2", 1, 41, fields{"attachingDepartmentIds": []int{1, 404}}))
		}
		msgs = append(msgs, r.change(1, fields{name: fmt.Sprintf("v%d", i)}))
	}
	inst.backlog(msgs...)
	r.settled()
	for i, name := range names {
		r.crm.wantField(1, name, fmt.Sprintf(`"v%d"`, i))
	}
	rejected := r.dlq.rejections()
	if len(rejected) != 2 || rejected["offending 1"] != "crm_not_found" || rejected["offending 2"] != "crm_not_found" {
		t.Errorf("dead letters %v", rejected)
	}
	if n := len(r.crm.callsOf(1)); n > 14 {
		t.Errorf("%d calls to find two of ten", n)
	}
	r.wantNoOverlap()
}

// The offending event had superseded an older value. That value is sent once the event is
// dead-lettered: the newest value that was not dead-lettered wins.
func TestValueSupersededByADeadLetteredEventIsSent(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{Departments: []int64{1}})
	inst := r.start(oneByOne)
	inst.backlog(
		r.change(1, fields{"position": "Old", "qq": "1"}),
		r.change(1, fields{"position": "New", "mainDepartmentId": 404}),
		r.change(1, fields{"email": "a@test.invalid"}))
	r.settled()
	r.crm.wantField(1, "position", `"Old"`)
	r.crm.wantField(1, "qq", `"1"`)
	r.crm.wantField(1, "email", `"a@test.invalid"`)
	if rejected := r.dlq.rejections(); len(rejected) != 1 || rejected["ev-2"] != "crm_not_found" {
		t.Errorf("dead letters %v", rejected)
	}
}

// The CRM does not know the member. All events of the fold are dead-lettered at once, except those
// that a newer event had superseded before.
func TestMemberNotFoundRejectsTheWholeFold(t *testing.T) {
	t.Parallel()
	for _, code := range []int{20012, 30027} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1, crmapitest.Options{})
			inst := r.start(oneByOne)
			r.process(event("newest", 1, 100, fields{"weixin": "w"}))
			r.crm.Push(always(crmapitest.Fault{Member: member(1), Code: code}))
			inst.backlog(
				event("late", 1, 3, fields{"weixin": "older"}),
				r.change(1, fields{"position": "a"}),
				r.change(1, fields{"position": "b"}), r.change(1, fields{"qq": "1"}))
			r.settled()
			if n := len(r.crm.callsOf(1)); n != 2 {
				t.Errorf("%d calls, want 2: one that succeeds, one that rejects the whole fold", n)
			}
			deadLetters := r.dlq.read()
			if len(deadLetters) != 3 {
				t.Errorf("%d dead letters", len(deadLetters))
			}
			for _, l := range deadLetters {
				if l.Reason != "crm_not_found" || l.CRMCode != fmt.Sprint(code) || l.Attempts != 1 || l.ThirdTraceID == "" {
					t.Errorf("dead letter of %s: %s, code %s, %d attempts", l.EventID, l.Reason, l.CRMCode, l.Attempts)
				}
			}
			r.wantOutcomes("late", consumer.Superseded)
			r.crm.Clear() // the member exists now; a dead letter advances no version
			r.process(event("after", 1, 4, fields{"position": "c"}))
			r.crm.wantField(1, "position", `"c"`)
		})
	}
}

// A dead-lettered event is a duplicate when it is delivered again.
func TestDeadLetteredEventDeliveredAgainIsADuplicate(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.crm.Push(crmapitest.Fault{Member: member(1), Code: 10001})
	r.start()
	m := r.change(1, fields{"position": "x"})
	r.process(m)
	r.process(m)
	r.wantOutcomes("ev-1", consumer.DeadLettered, consumer.Duplicate)
	r.crm.wantCalls(1)
	r.dlq.wantCount(1)
}

// A backlog holds two deliveries of an event, and between them another event with an equal order
// value. Processed one by one, the second delivery is a duplicate. So in one fold it must not win.
func TestDuplicateWithinAFoldDoesNotWin(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	inst := r.start(oneByOne)
	now := time.Now()
	at := func(ms int, m message) message {
		m.Time = now.Add(time.Duration(ms) * time.Millisecond)
		return m
	}
	a, b := event("a", 1, 5, fields{"position": "A", "qq": "1"}), event("b", 1, 5, fields{"position": "B"})
	inst.backlog(at(1, a), at(2, b), at(3, a))
	r.settled()
	r.crm.wantField(1, "position", `"B"`)
	r.crm.wantField(1, "qq", `"1"`)
	r.wantOutcomes("a", consumer.Applied, consumer.Duplicate)
	r.wantOutcomes("b", consumer.Applied)
}
