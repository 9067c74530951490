package consumer_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"membersync/crmapi/crmapitest"
)

// In these tests, each step of the pipeline fails once, or the process crashes at it: before the
// step has its effect, and after it. Whichever step it is, in the end every event has its outcome,
// the CRM holds the newest values, and the offending events are dead-lettered.

// A stepBreaker counts the points that a service passes, and fails at one of them.
type stepBreaker struct {
	mu      sync.Mutex
	n       int    // points passed
	at      int    // where to fail, from 1; 0: nowhere
	where   op     // that failed
	crash   func() // not nil: from there on the process has crashed, and nothing has an effect any more
	crashed bool
}

func (b *stepBreaker) tap() tap {
	return tap{at: func(o op, _ bool) error {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.crashed {
			return errInjected
		}
		if b.n++; b.n != b.at {
			return nil
		}
		b.where = o
		if b.crash != nil {
			b.crashed = true
			b.crash()
		}
		return errInjected
	}}
}

func (b *stepBreaker) passed() (int, op) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.n, b.where
}

// newStepRig has one event for each kind of outcome in its topic.
func newStepRig(t *testing.T) *rig {
	t.Helper()
	r := newRig(t, 1, crmapitest.Options{Departments: []int64{1}})
	r.callTimeout, r.redis.lease = time.Millisecond, 2*time.Second // nearly all of the lease is left for the call to begin
	r.crm.Push(crmapitest.Fault{Member: member(3), Code: -1}, always(crmapitest.Fault{Member: member(5), Code: 10001}))
	twice := event("twice", 1, 10, fields{"position": "A", "qq": "1"})
	r.kafka.produce(twice,
		event("offending", 2, 1, fields{"mainDepartmentId": 404}),
		event("valid", 2, 2, fields{"email": "a@test.invalid"}),
		message{Key: []byte("k"), Value: []byte("{")},
		event("newer", 1, 11, fields{"position": "B"}),
		event("older", 1, 9, fields{"position": "Z", "weixin": "w"}), twice,
		event("invalid", 4, 1, fields{"gender": "X"}), event("retried", 3, 1, fields{"position": "C"}),
		event("refused", 5, 1, fields{"position": "D"}))
	return r
}

// wantConverged waits for the outcome of all events of a step rig, and checks the result.
func wantConverged(r *rig) {
	r.t.Helper()
	r.settled()
	r.crm.wantField(1, "position", `"B"`)
	r.crm.wantField(1, "qq", `"1"`)
	r.crm.wantField(1, "weixin", `"w"`)
	r.crm.wantField(2, "email", `"a@test.invalid"`)
	r.crm.wantField(3, "position", `"C"`)
	r.crm.wantField(5, "position", "")
	rejected := r.dlq.rejections()
	want := map[string]string{
		"offending": "crm_not_found", "": "malformed", "invalid": "invalid_field", "refused": "crm_invalid",
	}
	for id, reason := range want {
		if string(rejected[id]) != reason {
			r.t.Errorf("event %q is dead-lettered as %q, want %s", id, rejected[id], reason)
		}
	}
	if len(rejected) != len(want) {
		r.t.Errorf("dead letters %v", rejected)
	}
	for _, id := range []string{"twice", "newer", "older", "valid", "retried"} {
		if len(r.outcome.of(id)) == 0 {
			r.t.Errorf("event %s has no outcome", id)
		}
	}
	r.wantNoOverlap()
}

// wantNoRegression checks that the position only changed from Z via A to B.
func wantNoRegression(r *rig, employee int) {
	r.t.Helper()
	rank, reached := map[string]int{"Z": 1, "A": 2, "B": 3}, 0
	for _, c := range r.crm.callsOf(employee) {
		user := userOf(r.t, c)
		if now := rank[user["position"]]; now > 0 && c.Applied {
			if now < reached {
				r.t.Errorf("position went back to %s", user["position"])
			}
			reached = now
		}
	}
}

// steps runs the pipeline without a fault, and returns how many points it passes.
func steps(t *testing.T) int {
	t.Helper()
	r := newStepRig(t)
	var b stepBreaker
	inst := r.start(b.tap().install, oneByOne)
	wantConverged(r)
	inst.stop()
	n, _ := b.passed()
	return n
}

func TestEachStepCanFailOnce(t *testing.T) {
	t.Parallel()
	total := steps(t)
	for n := 1; n <= total; n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			r := newStepRig(t)
			b := stepBreaker{at: n}
			r.start(b.tap().install, oneByOne)
			wantConverged(r)
			wantNoRegression(r, 1)
			if _, where := b.passed(); t.Failed() {
				t.Logf("the step that failed: %s", where)
			}
		})
	}
}

func TestProcessCanCrashAtEachStep(t *testing.T) {
	t.Parallel()
	total := steps(t)
	for n := 1; n <= total; n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			r := newStepRig(t)
			crashed := make(chan struct{})
			b := stepBreaker{at: n, crash: sync.OnceFunc(func() { close(crashed) })}
			inst := r.start(b.tap().install, oneByOne, hasty)
			r.eventually("the crash", func() bool {
				select {
				case <-crashed:
					return true
				default:
					return r.kafka.lag(r.kafka.topic) == 0 // with other folds it passes fewer points
				}
			})
			inst.stop()
			r.start(oneByOne)
			wantConverged(r)
			if _, where := b.passed(); t.Failed() {
				t.Logf("the last step: %s", where)
			}
		})
	}
}

// Instances crash one after the other under load. No event is lost, no field returns to an older
// value, and every field ends at its newest value.
func TestInstancesCrashUnderLoad(t *testing.T) {
	t.Parallel()
	const members = 20
	r := newRig(t, 4, crmapitest.Options{Latency: 2 * time.Millisecond})
	r.callTimeout, r.crm.timeout, r.redis.lease = 500*time.Millisecond, 500*time.Millisecond, 2*time.Second
	survivor := r.start()
	const crashes = 5
	for round := range crashes {
		crashed := make(chan struct{})
		b := stepBreaker{at: 30 + 7*round, crash: sync.OnceFunc(func() { close(crashed) })}
		inst := r.start(b.tap().install, hasty)
		for i := range 10 {
			var msgs []message
			for m := range members {
				msgs = append(msgs, on(m%4, r.change(m, fields{"position": fmt.Sprintf("%03d", 10*round+i)})))
			}
			r.kafka.produce(msgs...)
		}
		r.eventually("the crash, or the end of the lag", func() bool {
			select {
			case <-crashed:
				return true
			default:
				return r.kafka.lag(r.kafka.topic) == 0
			}
		})
		inst.stop()
	}
	r.settled()
	for m := range members {
		r.crm.wantField(m, "position", `"049"`)
		newest := ""
		for _, c := range r.crm.callsOf(m) {
			if v := userOf(t, c)["position"]; c.Applied {
				if v < newest {
					t.Errorf("member %d went back from %s to %s", m, newest, v)
				}
				newest = v
			}
		}
	}
	for i := 1; i <= r.seq; i++ {
		if len(r.outcome.of(fmt.Sprintf("ev-%d", i))) == 0 {
			t.Errorf("event %d has no outcome", i)
		}
	}
	r.wantNoDeadLetters()
	survivor.wantMetric(0, "membersync_late_calls_total")
}
