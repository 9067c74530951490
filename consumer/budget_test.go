package consumer_test

import (
	"fmt"
	"testing"
	"time"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
)

// The retry budget of an event, and how the guilty one of a fold is found.

func TestALoneFailingMemberWaits(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.crm.Push(always(crmapitest.Fault{Member: member(1), Code: -1}))
	inst := r.start(noBudget)
	r.produce(r.change(1, fields{"position": "x"}), r.change(2, fields{"position": "y"}), r.change(3, fields{"position": "y"}))
	r.eventually("six tries", func() bool { return len(r.callsOf(1)) >= 6 })
	r.eventually("the lane to be waiting", func() bool { return r.metric(inst, "membersync_lanes_retrying") == 1 })
	if dead := r.outcome.deadLettered(); len(dead) > 0 {
		t.Errorf("%v died, though only two others succeeded", dead)
	}
	r.crm.Clear()
	r.settled()
	r.wantField(1, "position", `"x"`)
	r.wantNoDeadLetters()
}

// noBudget leaves of the retry budget the five attempts.
func noBudget(cfg *consumer.Config, _ *consumer.Parts) { cfg.RetryBudget = 0 }

func TestTheBudgetIsUsedUpWhileOthersSucceed(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.crm.Push(always(crmapitest.Fault{Member: member(1), Code: -1}))
	stop := r.stream(2, 3, 4, 5)
	r.start(func(cfg *consumer.Config, _ *consumer.Parts) { cfg.RetryBudget = 2 * time.Second })
	r.produce(r.change(1, fields{"position": "x"}))
	r.eventually("the dead letter", func() bool { return len(r.rejections()) > 0 })
	stop()
	r.settled()
	letters := r.deadLetters()
	if len(letters) != 1 || letters[0].Reason != "retries_exhausted" || letters[0].CRMCode != "-1" {
		t.Fatalf("dead letters %+v", letters)
	}
	l, calls := letters[0], r.callsOf(1)
	if l.Attempts < 5 || l.Attempts != len(calls) || l.CRMTraceID != calls[len(calls)-1].TraceID {
		t.Errorf("attempts %d of %d calls, trace %s", l.Attempts, len(calls), l.CRMTraceID)
	}
	if spent := l.FailedAt.Sub(l.FirstFailedAt); spent < 2*time.Second {
		t.Errorf("it died after %v", spent)
	}
}

func TestACodeThatNobodyKnowsIsTriedFiveTimes(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.crm.Push(always(crmapitest.Fault{Member: member(1), Code: 201112011}))
	r.start()
	r.produce(r.change(1, fields{"position": "x"}), r.change(2, fields{"position": "y"}))
	r.settled()
	letters := r.deadLetters()
	if len(letters) != 1 || letters[0].Reason != "crm_rejected" || letters[0].CRMCode != "201112011" || letters[0].Attempts != 5 {
		t.Errorf("dead letters %+v", letters)
	}
	if n := len(r.callsOf(1)); n != 5 {
		t.Errorf("%d calls, want 5", n)
	}
	r.wantField(2, "position", `"y"`)
}

// A mobile that another member has is answered with such a code. Only the event that states it dies.
func TestACodeThatNobodyKnowsInAFold(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	inst := r.start(oneByOne)
	r.produce(r.event("owner", 50, 1, fields{"mobile": "00000000050"}))
	r.settled()
	r.backlog(inst,
		r.change(1, fields{"position": "Good"}), r.change(1, fields{"mobile": "00000000050"}),
		r.change(1, fields{"email": "a@test.invalid"}), r.change(1, fields{"qq": "1"}))
	r.settled()
	if dead := r.rejections(); len(dead) != 1 || dead["ev-2"] != "crm_rejected" {
		t.Errorf("dead letters %v", dead)
	}
	r.wantField(1, "position", `"Good"`)
	r.wantField(1, "email", `"a@test.invalid"`)
	r.wantField(1, "qq", `"1"`)
	r.wantField(1, "mobile", "")
}

func TestTwoGuiltyInAFoldOfTen(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{Departments: []int64{1, 2}})
	inst := r.start(oneByOne)
	names := []string{"position", "email", "qq", "weixin", "account", "name", "fullName", "employeeNumber"}
	var msgs []message
	for i, name := range names {
		switch i {
		case 2:
			msgs = append(msgs, r.event("guilty 1", 1, 40, fields{"mainDepartmentId": 404}))
		case 7:
			msgs = append(msgs, r.event("guilty 2", 1, 41, fields{"attachingDepartmentIds": []int{1, 404}}))
		}
		msgs = append(msgs, r.change(1, fields{name: fmt.Sprintf("v%d", i)}))
	}
	r.backlog(inst, msgs...)
	r.settled()
	for i, name := range names {
		r.wantField(1, name, fmt.Sprintf(`"v%d"`, i))
	}
	dead := r.rejections()
	if len(dead) != 2 || dead["guilty 1"] != "crm_not_found" || dead["guilty 2"] != "crm_not_found" {
		t.Errorf("dead letters %v", dead)
	}
	if n := len(r.callsOf(1)); n > 14 {
		t.Errorf("%d calls to find two of ten", n)
	}
	r.wantNoOverlap()
}

// What the guilty event had overtaken comes to its right: the newest value that was not dead-lettered stands.
func TestWhatAGuiltyEventHadOvertaken(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{Departments: []int64{1}})
	inst := r.start(oneByOne)
	r.backlog(inst,
		r.change(1, fields{"position": "Old", "qq": "1"}),
		r.change(1, fields{"position": "New", "mainDepartmentId": 404}),
		r.change(1, fields{"email": "a@test.invalid"}))
	r.settled()
	r.wantField(1, "position", `"Old"`)
	r.wantField(1, "qq", `"1"`)
	r.wantField(1, "email", `"a@test.invalid"`)
	if dead := r.rejections(); len(dead) != 1 || dead["ev-2"] != "crm_not_found" {
		t.Errorf("dead letters %v", dead)
	}
}

// The CRM does not know the member: all of the fold die at once, but for what a newer event had overtaken before.
func TestMemberNotFoundCondemnsTheFold(t *testing.T) {
	t.Parallel()
	for _, code := range []int{20012, 30027} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1, crmapitest.Options{})
			inst := r.start(oneByOne)
			r.produce(r.event("newest", 1, 100, fields{"weixin": "w"}))
			r.settled()
			r.crm.Push(always(crmapitest.Fault{Member: member(1), Code: code}))
			r.backlog(inst,
				r.event("late", 1, 3, fields{"weixin": "older"}),
				r.change(1, fields{"position": "a"}), r.change(1, fields{"position": "b"}), r.change(1, fields{"qq": "1"}))
			r.settled()
			if n := len(r.callsOf(1)); n != 2 {
				t.Errorf("%d calls, want 2: no search", n)
			}
			letters := r.deadLetters()
			if len(letters) != 3 {
				t.Errorf("%d dead letters", len(letters))
			}
			for _, l := range letters {
				if l.Reason != "crm_not_found" || l.CRMCode != fmt.Sprint(code) || l.Attempts != 1 || l.ThirdTraceID == "" {
					t.Errorf("dead letter of %s: %s, code %s, %d attempts", l.EventID, l.Reason, l.CRMCode, l.Attempts)
				}
			}
			r.wantOutcomes("late", consumer.Superseded)
			r.crm.Clear() // the member exists now, and what died moved no version
			r.produce(r.event("after", 1, 4, fields{"position": "c"}))
			r.settled()
			r.wantField(1, "position", `"c"`)
		})
	}
}

// An event that died is a duplicate when it is delivered again.
func TestADeadEventDeliveredAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.crm.Push(crmapitest.Fault{Member: member(1), Code: 10001})
	r.start()
	m := r.change(1, fields{"position": "x"})
	r.produce(m)
	r.settled()
	r.produce(m)
	r.settled()
	r.wantOutcomes("ev-1", consumer.DeadLettered, consumer.Duplicate)
	r.wantCalls(1)
	if n := len(r.deadLetters()); n != 1 {
		t.Errorf("%d dead letters", n)
	}
}

// Two deliveries of an event lie in one backlog, and between them another with an equal order value. One after
// the other, the second delivery is a duplicate; in one fold it must not win.
func TestADuplicateWithinAFold(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	inst := r.start(oneByOne)
	now := time.Now()
	at := func(ms int, m message) message {
		m.Time = now.Add(time.Duration(ms) * time.Millisecond)
		return m
	}
	a, b := r.event("a", 1, 5, fields{"position": "A", "qq": "1"}), r.event("b", 1, 5, fields{"position": "B"})
	r.backlog(inst, at(1, a), at(2, b), at(3, a))
	r.settled()
	r.wantField(1, "position", `"B"`)
	r.wantField(1, "qq", `"1"`)
	r.wantOutcomes("a", consumer.Applied, consumer.Duplicate)
	r.wantOutcomes("b", consumer.Applied)
}
