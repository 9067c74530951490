package consumer_test

import (
	"fmt"
	"testing"
	"time"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
)

// While Redis is unavailable, no call is made and nothing is committed. Redis is tried rarely.
func TestNothingIsCalledWithoutRedis(t *testing.T) {
	t.Parallel()
	for _, limited := range []bool{false, true} {
		t.Run(fmt.Sprintf("limited %v", limited), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1, crmapitest.Options{})
			r.redis.throughAProxy()
			r.kafka.produce(r.change(1, fields{"position": "Before"}))
			var ops counting
			limiter := &limiter{store: r.redis.store(), limit: 1000, window: time.Second, hold: r.redis.lease}
			inst := r.start(ops.tap().install, func(_ *consumer.Config, p *consumer.Parts) {
				if limited {
					p.Limiter = limiter
				}
			})
			r.settled()
			tries := func() int { return ops.of(opAcquire) + limiter.asked() }
			r.redis.awayAndBack(func() {
				before, began := tries(), time.Now()
				for i := range 30 {
					r.kafka.produce(r.change(i, fields{"position": "After"}))
				}
				r.eventually("the pause", func() bool { return inst.metric("membersync_paused", "cause", "redis") == 1 })
				r.never("a call or a commit without Redis", 2*time.Second, func() bool {
					return len(r.crm.Calls()) > 1 || r.kafka.committed(0) > 1
				})
				// The tries after 100, 200, 400, 800 and 1600 ms, and those that had begun before.
				if n, took := tries()-before, time.Since(began); n > 28+int(took/time.Second) {
					t.Errorf("%d tries in %v without Redis", n, took)
				}
				// The control state was read at most 2 s before, and counts as known for 5 s.
				known := time.Since(began) < consumer.DigestTrust-2*time.Second
				if ok, cause := inst.service.Ready(); !ok || cause != "redis" && (known || cause != "redis, control") {
					t.Errorf("ready %v, cause %q, want the cause redis; control state known: %v", ok, cause, known)
				}
			})
			r.settled()
			for i := range 30 {
				r.crm.wantField(i, "position", `"After"`)
			}
			r.wantNoDeadLetters()
			r.crm.wantCalls(31)
			if inst.metric("membersync_paused", "cause", "redis") != 0 {
				t.Error("the pause has not ended")
			}
		})
	}
}

// Redis becomes unavailable while a call is in flight. Its completion is made later, and the call
// is not repeated.
func TestCompletionFollowsWhenRedisIsBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.redis.throughAProxy()
	r.crm.Block(crmapitest.AfterEffect)
	inst := r.start()
	r.kafka.produce(r.change(1, fields{"position": "Once"}))
	r.eventually("the call", func() bool { return r.crm.Blocked() == 1 })
	r.redis.awayAndBack(func() {
		r.crm.Release()
		r.eventually("the pause", func() bool { return inst.metric("membersync_paused", "cause", "redis") == 1 })
		r.kafka.produce(r.change(1, fields{"position": "Next"}))
		r.never("committed without a completion", 1200*time.Millisecond, func() bool { return r.kafka.committed(0) > 0 })
	})
	r.settled()
	r.crm.wantField(1, "position", `"Next"`)
	r.crm.wantCalls(2)
	r.wantOutcomes("ev-1", consumer.Applied)
	r.wantNoDeadLetters()
}

// A reply of Redis is lost after its request took effect. The event must not count as a duplicate,
// and no call may be made twice.
func TestALostReplyOfRedisIsNoDuplicate(t *testing.T) {
	t.Parallel()
	for name, key := range map[string]string{"fields": "}:f", "done marks": "}:d", "lease": "}:lease"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1, crmapitest.Options{})
			r.redis.throughAProxy()
			inst := r.start()
			r.process(r.change(1, fields{"position": "0"}))
			for i := 1; i <= 6; i++ { // the lost reply is one of acquire or of complete
				r.redis.proxy.LoseReply(key)
				if i%2 == 0 {
					r.crm.Block(crmapitest.BeforeEffect)
				}
				r.kafka.produce(r.change(1, fields{"position": fmt.Sprint(i)}))
				if i%2 == 0 {
					r.eventually("the call", func() bool { return r.crm.Blocked() == 1 })
					r.redis.proxy.LoseReply(key)
					r.crm.Release()
				}
				r.settled()
				r.crm.wantField(1, "position", fmt.Sprintf("%q", fmt.Sprint(i)))
				r.wantOutcomes(fmt.Sprintf("ev-%d", i+1), consumer.Applied)
			}
			if r.redis.proxy.Lost() < 6 {
				t.Errorf("%d replies were lost", r.redis.proxy.Lost())
			}
			r.crm.wantCalls(7)
			r.wantNoDeadLetters()
			inst.wantMetric(0, "membersync_late_calls_total")
		})
	}
}
