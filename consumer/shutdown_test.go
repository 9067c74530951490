package consumer_test

import (
	"fmt"
	"testing"
	"time"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
)

// In these tests a service stops, or partitions are taken away, while calls are in flight.

// On shutdown the service drains an in-flight call and commits it. It does not begin what waits.
func TestShutdownDrainsAnInFlightCall(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.crm.Block(crmapitest.BeforeEffect)
	inst := r.start(oneByOne)
	r.kafka.produce(r.change(1, fields{"position": "Running"}))
	r.eventually("the call", func() bool { return r.crm.Blocked() == 1 })
	r.kafka.produce(r.change(2, fields{"position": "Waiting"}))
	inst.waiting(2)
	inst.cancel()
	r.eventually("the drain", func() bool { ok, why := inst.service.Ready(); return !ok && why == "draining" })
	r.never("the call ended before its response", 300*time.Millisecond, func() bool { return r.crm.Blocked() != 1 })
	r.crm.Release()
	inst.stop() // well before the drain limit
	if at := r.kafka.committed(0); at != 1 {
		t.Errorf("committed %d, want 1: the finished event, without the waiting one", at)
	}
	r.wantOutcomes("ev-2")
	r.start()
	r.settled()
	r.crm.wantField(2, "position", `"Waiting"`)
	r.crm.wantCalls(2)
	r.wantOutcomes("ev-1", consumer.Applied)
}

// A batch that has acquired its member but waits for a call slot makes no call on shutdown, and its
// lease is released.
func TestShutdownReleasesTheLeaseOfABatchWithoutASlot(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.crm.Block(crmapitest.BeforeEffect)
	inst := r.start(func(cfg *consumer.Config, _ *consumer.Parts) { cfg.Concurrency = 4 })
	for i := range 4 {
		r.kafka.produce(r.change(i, fields{"position": "Running"}))
	}
	r.eventually("the calls", func() bool { return r.crm.Blocked() == 4 })
	r.kafka.produce(r.change(9, fields{"position": "Waiting"}))
	r.eventually("its lease", func() bool { return r.redis.leases() == 5 })
	inst.cancel()
	r.eventually("the drain", inst.service.Revoked)
	r.crm.Release()
	inst.stop()
	r.wantOutcomes("ev-5")
	r.crm.wantCalls(4)
	if n := r.redis.leases(); n != 0 {
		t.Errorf("%d leases are left", n)
	}
	r.start()
	r.settled()
	r.crm.wantField(9, "position", `"Waiting"`)
	r.crm.wantCalls(5)
}

// An idle instance stops at once, with or without partitions.
func TestShutdownWhileIdle(t *testing.T) {
	t.Parallel()
	for name, partitions := range map[string]int{"with all partitions": 2, "with none": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, partitions, crmapitest.Options{})
			first, second := r.start(), r.start()
			for _, inst := range []*instance{first, second} {
				inst.waitReady()
			}
			some(r, 2)
			r.settled()
			second.stop() // well before the drain limit
			first.stop()
		})
	}
}

// At the drain limit a call is given up: its record is not committed, and the next instance
// processes it.
func TestTheDrainEndsAtItsLimit(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.crm.Block(crmapitest.BeforeEffect)
	inst := r.start(func(cfg *consumer.Config, _ *consumer.Parts) { cfg.DrainLimit = 500 * time.Millisecond })
	r.kafka.produce(r.change(1, fields{"position": "x"}))
	r.eventually("the call", func() bool { return r.crm.Blocked() == 1 })
	inst.stop() // the call is still blocked
	if at := r.kafka.committed(0); at > 0 {
		t.Errorf("committed %d, past a call that was given up", at)
	}
	r.crm.Release()
	r.redis.expireLeases()
	r.start()
	r.settled()
	r.crm.wantField(1, "position", `"x"`)
	r.wantOutcomes("ev-1", consumer.Applied)
	r.wantNoDeadLetters()
}

// A partition is taken away while a call for it is in flight, which ends within the drain limit or
// after it.
func TestARebalanceDuringACall(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]time.Duration{
		"that ends within the drain limit": unending, "that ends after it": 300 * time.Millisecond,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2, crmapitest.Options{})
			drain := func(cfg *consumer.Config, _ *consumer.Parts) { cfg.DrainLimit = limit }
			first := r.start(drain)
			r.eventually("the assignment", func() bool { return r.kafka.committed(0) == 0 && r.kafka.committed(1) == 0 })
			for m := range 2 { // one per partition, since one of these will be taken away
				r.crm.Push(crmapitest.Fault{Member: member(m), Block: true})
				r.kafka.produce(on(m, r.change(m, fields{"position": "Blocked"})))
			}
			r.eventually("the calls", func() bool { return r.crm.Blocked() == 2 })
			second := r.start(drain)
			for m := range 2 {
				r.kafka.produce(on(m, r.change(m, fields{"position": "Next", "qq": "1"})))
			}
			if limit < unending {
				second.waitReady()
			}
			r.never("a commit or another call while the calls are blocked", 1500*time.Millisecond, func() bool {
				return r.kafka.committed(0)+r.kafka.committed(1) > 0 || len(r.crm.Calls()) > 2
			})
			r.crm.Release()
			r.settled()
			for m := range 2 {
				r.crm.wantField(m, "position", `"Next"`)
			}
			r.wantNoDeadLetters()
			for _, inst := range []*instance{first, second} {
				inst.wantMetric(0, "membersync_late_calls_total")
			}
			first.stop() // it had lanes of a lost partition, whose events the other instance has finished
			r.process(on(0, r.change(7, fields{"position": "Last"})), on(1, r.change(8, fields{"position": "Last"})))
		})
	}
}

// An instance without a partition drains at once, so it delays no rebalance.
func TestAnInstanceWithoutPartitionsDelaysNoRebalance(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	for i := range 3 {
		inst := r.start()
		inst.waitReady()
		r.process(r.change(i, fields{"position": fmt.Sprint(i)})) // well before the drain limit
	}
	r.wantNoDeadLetters()
}

// The waiting events of members whose calls fail survive rebalances, also those that take nothing
// away from their lanes in the end.
func TestWaitingEventsSurviveRebalances(t *testing.T) {
	t.Parallel()
	r := newRig(t, 4, crmapitest.Options{}).quick()
	for m := range 8 { // some lanes are pinned, some back off, some search for the offending event
		f := crmapitest.Fault{Member: member(m), Times: 3}
		switch m % 4 {
		case 0:
			f.Close = true
		case 1:
			f.Status = 503
		case 2:
			f.Code = -1
		default:
			f.Code, f.Times = 201112011, 2
		}
		r.crm.Push(f)
	}
	r.start()
	for round := range 3 {
		for m := range 8 {
			for i := range 3 {
				field := []string{"qq", "email", "weixin"}[i]
				r.kafka.produce(on(m%4, r.change(m, fields{"position": fmt.Sprint(round), field: fmt.Sprint(round)})))
			}
		}
		r.start() // each joins while events are processed
	}
	r.instances[1].stop()
	r.settled()
	for m := range 8 {
		for _, f := range []string{"position", "qq", "email", "weixin"} {
			r.crm.wantField(m, f, `"2"`)
		}
	}
	r.wantNoDeadLetters()
}
