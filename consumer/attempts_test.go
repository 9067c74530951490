package consumer

import (
	"testing"
	"time"

	"membersync/consumer/gate"
	"membersync/crmapi"
	"membersync/dedupe"
	"membersync/dlq"
)

func memberOf(id string) dedupe.Member { return dedupe.NewMember("https://crm.test", "CORP_TEST", id) }

// calm is an engine whose latest calls succeeded for enough members.
func calm(now time.Time) *engine {
	e := newEngine(&Config{Concurrency: 1}, &Parts{})
	for _, id := range []string{"a", "b", "c", "d"} {
		e.health.Record(now, memberOf(id), true)
	}
	return e
}

// Only what the CRM said of the event itself, while it worked for others, is an attempt of its budget.
func TestWhatCountsAsAnAttempt(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	transient := judgement{kind: kindTransient, final: dlq.ReasonRetriesExhausted, err: &crmapi.Error{Class: crmapi.ClassTransient}}
	throttled := judgement{kind: kindPause, cause: gate.Throttled, err: &crmapi.Error{Class: crmapi.ClassThrottled}}
	quota := judgement{kind: kindPause, cause: gate.Quota, err: &crmapi.Error{Class: crmapi.ClassQuota}}
	operator := judgement{kind: kindOperator, cause: gate.Operator, final: dlq.ReasonCRMRejected, err: &crmapi.Error{Class: crmapi.ClassRefused}}
	for name, tc := range map[string]struct {
		j      judgement
		before func(*engine)
		want   int
	}{
		"a failure while others succeed":   {transient, func(*engine) {}, 5},
		"a refusal of this member alone":   {operator, func(*engine) {}, 5},
		"throttled":                        {throttled, func(*engine) {}, 0},
		"the quota is used up":             {quota, func(*engine) {}, 0},
		"a probe, while calling is paused": {transient, func(e *engine) { e.health.SetPaused(now, true) }, 0},
		"while a part of the CRM is down": {transient, func(e *engine) {
			for _, id := range []string{"1", "2", "3", "4", "5"} {
				e.health.Record(now, memberOf(id), false)
			}
		}, 0},
		"while nobody else is called": {transient, func(e *engine) { e.health.Reset(now) }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, ev := calm(now), &event{}
			tc.before(e)
			w := &work{givers: []*event{ev}}
			for range 5 {
				e.countTrials(now, &run{probe: e.gate.Paused(gate.Throttled)}, w, tc.j)
			}
			if ev.trials.counted != tc.want || ev.trials.attempts != 5 {
				t.Errorf("%d of %d calls count, want %d of 5", ev.trials.counted, ev.trials.attempts, tc.want)
			}
			if dies := len(e.spent(now, w, tc.j)) > 0; dies != (tc.want == minAttempts) {
				t.Errorf("with no time of the budget left it dies: %v", dies)
			}
		})
	}
}

// Held events of all partitions come to their turn, so that one partition of which nothing succeeds does not keep a storm up.
func TestHeldEventsAreTriedByPartitionsInTurn(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	e := newEngine(&Config{Concurrency: 8, StormShare: 0.5}, &Parts{})
	for id := range 3 {
		for _, name := range []string{"x", "y"} {
			key := laneKey{member: memberOf(string(rune('0'+id)) + name)}
			ev := &event{rec: &record{part: &partition{id: id}}, key: key, doom: &doom{}, held: true}
			e.lanes.Add(key, ev)
		}
	}
	for range 100 {
		e.guard.Dies()
	}
	e.gate.Close(now, gate.Storm, 0)
	var tried []int
	for range 6 {
		if r := e.takeDuringStorm(now.Add(29*time.Second), e.lanes); r != nil {
			t.Fatal("a held event is tried within 30 s of the last")
		}
		now = now.Add(30 * time.Second)
		r := e.takeDuringStorm(now, e.lanes)
		if r == nil || len(r.batch) != 1 || !r.batch[0].afresh || !r.storm {
			t.Fatalf("after 30 s: %+v", r)
		}
		tried = append(tried, r.batch[0].rec.part.id)
		r.batch[0].afresh = false // it dies again, and is held as before
		e.lanes.Return(r.lane, nil, time.Time{})
	}
	for i, id := range tried {
		if id != i%3 {
			t.Fatalf("partitions were tried in the order %v", tried)
		}
	}
}
