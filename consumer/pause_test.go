package consumer_test

import (
	"sync"
	"testing"
	"time"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
)

// These tests show what stops all calls, and what does not.

// always repeats a fault until the faults are cleared.
func always(f crmapitest.Fault) crmapitest.Fault {
	f.Times = -1
	return f
}

// stream produces changes of the members continuously, so that there are always calls that can
// succeed.
func (r *rig) stream(members ...int) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-quit:
				return
			case <-tick.C:
				r.kafka.Produce(r.t, r.kafka.topic, event(
					"stream "+time.Now().String(), members[n%len(members)], n, fields{"qq": time.Now().String()}))
			}
		}
	}()
	stop = sync.OnceFunc(func() { close(quit); <-done })
	r.t.Cleanup(stop)
	return stop
}

// Calls of other members succeed. So the refusal is this event's own, and only this event is
// dead-lettered.
func TestRefusalOfOneMemberDeadLettersItsEvent(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]crmapitest.Fault{
		"forbidden":     {Status: 403},
		"no permission": {Code: 15003},
		"not found":     {Status: 404},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1, crmapitest.Options{})
			f.Member = member(1)
			r.crm.Push(always(f))
			stop := r.stream(2, 3, 4, 5, 6)
			inst := r.start(func(cfg *consumer.Config, _ *consumer.Parts) { cfg.RetryBudget = 100 * time.Millisecond })
			r.kafka.produce(r.change(1, fields{"position": "x"}))
			r.eventually("the dead letter", func() bool { return len(r.dlq.rejections()) > 0 })
			stop()
			r.settled()
			deadLetters := r.dlq.read()
			if len(deadLetters) != 1 || deadLetters[0].EventID != "ev-1" ||
				deadLetters[0].Reason != "crm_rejected" || deadLetters[0].Attempts < 5 {
				t.Errorf("dead letters %+v", deadLetters)
			}
			// The last refusal paused all calls once more. The next member's call ends this pause
			// at once.
			r.process(r.change(2, fields{"position": "next"}))
			if inst.paused("crm_refused") {
				t.Error("the pause did not end")
			}
		})
	}
}

// No other member is called, so it is not known whether the refusal is this event's own. Nothing is
// dead-lettered, and the next member is tried at once.
func TestRefusalOfALoneMemberDeadLettersNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.crm.Push(always(crmapitest.Fault{Member: member(1), Status: 403}))
	inst := r.start(noBudget)
	r.kafka.produce(r.change(1, fields{"position": "x"}))
	r.eventually("three attempts", func() bool { return len(r.crm.callsOf(1)) >= 3 })
	began := time.Now()
	r.kafka.produce(r.change(2, fields{"position": "y"}))
	r.eventually("the other member", func() bool { return r.crm.field(2, "position") == `"y"` })
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the other member waited %v", took)
	}
	r.never("the lone failing event finished", time.Second, func() bool { return len(r.outcome.of("ev-1")) > 0 })
	r.dlq.wantCount(0)
	r.crm.Clear()
	r.settled()
	r.crm.wantField(1, "position", `"x"`)
	if inst.paused("crm_refused") {
		t.Error("the pause did not end")
	}
}

// All members are refused. Calls stop, and nothing is dead-lettered.
func TestRefusalOfAllMembersStopsCalls(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]crmapitest.Fault{
		"unauthorized": {Status: 401}, "wrong host": {Status: 302},
		"no quota purchased": {Code: 30003}, "bad app": {Code: 20006},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1, crmapitest.Options{})
			r.crm.Push(always(f))
			inst := r.start(noBudget)
			for i := range 20 {
				r.kafka.produce(r.change(i, fields{"position": "x"}))
			}
			r.eventually("the pause", func() bool {
				return inst.paused("crm_refused") && len(r.crm.Calls()) > 1
			})
			// What began before the pause is called: that of some lanes may have taken no CPU for a while.
			r.eventually("the in-flight calls to end", func() bool { return inst.service.Calling() == 0 })
			calls := len(r.crm.Calls())
			r.never("more than two probes within three seconds", 3*time.Second, func() bool {
				return len(r.crm.Calls()) > calls+2
			})
			inst.wantReady("crm_refused")
			r.crm.Clear()
			r.settled()
			r.wantNoDeadLetters()
			for i := range 20 {
				r.crm.wantField(i, "position", `"x"`)
			}
		})
	}
}

func TestNoCallBeforeTheQuotaReset(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.crm.Push(always(crmapitest.Fault{Code: 30002}))
	reset := time.Now().Add(4 * time.Second)
	inst := r.start(func(cfg *consumer.Config, _ *consumer.Parts) {
		cfg.QuotaReset = func(time.Time) time.Time { return reset }
		cfg.RetryBudget = 0
	}, oneByOne)
	for i := range 5 {
		r.kafka.produce(r.change(i, fields{"position": "x"}))
	}
	r.eventually("the pause", func() bool { return inst.paused("crm_quota") })
	r.never("a call before the reset", time.Until(reset)-500*time.Millisecond, func() bool {
		return len(r.crm.Calls()) > 1
	})
	r.crm.Clear()
	r.settled()
	if wait := r.crm.Calls()[1].Arrived.Sub(reset); wait < 0 || wait > 5*time.Second {
		t.Errorf("the next call came %v after the reset", wait)
	}
	r.wantNoDeadLetters()
}

func TestOutageDeadLettersNothing(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]crmapitest.Fault{
		"server errors": {Status: 503}, "system busy": {Code: -1}, "no connection": {Close: true},
		"a code in no table": {Code: 987654}, "of a proxy": {Status: 502, Body: "<html>bad gateway</html>"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1, crmapitest.Options{}).quick()
			for i := range 12 {
				r.kafka.produce(r.change(i, fields{"position": "before"}))
			}
			inst := r.start(noBudget)
			r.settled()
			r.crm.Push(always(f))
			for i := range 12 {
				r.kafka.produce(r.change(i, fields{"position": "after"}))
			}
			r.eventually("the pause", func() bool { return inst.paused("crm_outage") })
			if s := inst.breaker(); s == "closed" {
				t.Errorf("the breaker is %s", s)
			}
			// Fetching continues while calls are paused, and the group membership is kept.
			r.kafka.produce(r.change(20, fields{"position": "during"}))
			r.eventually("a record to arrive in the outage", func() bool { return r.outcome.records() == 25 })
			r.never("an event was dead-lettered in the outage", 9*time.Second, func() bool {
				return len(r.outcome.deadLettered()) > 0
			})
			if at := r.kafka.committed(0); at != 12 {
				t.Errorf("committed %d, want 12", at)
			}
			r.crm.Clear()
			r.settled()
			r.wantNoDeadLetters()
			for i := range 12 {
				r.crm.wantField(i, "position", `"after"`)
			}
			if s := inst.breaker(); s != "closed" {
				t.Errorf("the breaker is %s", s)
			}
			inst.wantMetric(1, "membersync_rebalances_total")
		})
	}
}

// Probes rotate over the members: one that always fails must not keep the breaker open.
func TestProbesRotateOverMembers(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	inst := r.start()
	r.crm.Push(always(crmapitest.Fault{Status: 503}))
	for i := range 8 {
		r.kafka.produce(r.change(i, fields{"position": "x"}))
	}
	r.eventually("the pause", func() bool { return inst.paused("crm_outage") })
	r.crm.Clear()
	r.crm.Push(always(crmapitest.Fault{Member: member(0), Status: 503}))
	r.eventually("the others", func() bool {
		for i := 1; i < 8; i++ {
			if r.crm.field(i, "position") != `"x"` {
				return false
			}
		}
		return true
	})
	r.eventually("the breaker to close", func() bool { return inst.breaker() == "closed" })
	r.crm.Clear()
	r.settled()
	r.wantNoDeadLetters()
}
