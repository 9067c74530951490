package consumer_test

import (
	"fmt"
	"testing"
	"time"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
)

// The service ends, or partitions are taken away, while calls run.

func TestShutdownLetsARunningCallEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.crm.Block(crmapitest.BeforeEffect)
	inst := r.start(oneByOne)
	r.produce(r.change(1, fields{"position": "Running"}))
	r.eventually("the call", func() bool { return r.crm.Blocked() == 1 })
	r.produce(r.change(2, fields{"position": "Waiting"}))
	r.waiting(inst, 2)
	inst.cancel()
	r.eventually("the drain", func() bool { ok, why := inst.service.Ready(); return !ok && why == "draining" })
	r.never("the call was given up", 300*time.Millisecond, func() bool { return r.crm.Blocked() != 1 })
	r.crm.Release()
	inst.stop() // well before the drain's limit
	if at := r.committed(0); at != 1 {
		t.Errorf("committed %d, want 1: what ended, and not what waited", at)
	}
	r.wantOutcomes("ev-2")
	r.start()
	r.settled()
	r.wantField(2, "position", `"Waiting"`)
	r.wantCalls(2)
	r.wantOutcomes("ev-1", consumer.Applied)
}

// A member that was acquired ahead of its call slot has not begun: its lease is given back, and no call goes out.
func TestShutdownLeavesWhatWaitsForASlot(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.crm.Block(crmapitest.BeforeEffect)
	inst := r.start(func(cfg *consumer.Config, _ *consumer.Parts) { cfg.Concurrency = 4 })
	for i := range 4 {
		r.produce(r.change(i, fields{"position": "Running"}))
	}
	r.eventually("the calls", func() bool { return r.crm.Blocked() == 4 })
	r.produce(r.change(9, fields{"position": "Waiting"}))
	r.eventually("its lease", func() bool { return r.leases() == 5 })
	inst.cancel()
	r.eventually("the drain", inst.service.Revoked)
	r.crm.Release()
	inst.stop()
	r.wantOutcomes("ev-5")
	r.wantCalls(4)
	if n := r.leases(); n != 0 {
		t.Errorf("%d leases left behind", n)
	}
	r.start()
	r.settled()
	r.wantField(9, "position", `"Waiting"`)
	r.wantCalls(5)
}

// leases is how many members are acquired.
func (r *rig) leases() int {
	r.t.Helper()
	return len(r.leaseKeys())
}

func TestShutdownInIdleness(t *testing.T) {
	t.Parallel()
	for name, partitions := range map[string]int{"with all partitions": 2, "with none": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, partitions, crmapitest.Options{})
			first, second := r.start(), r.start()
			for _, inst := range []*instance{first, second} {
				r.eventually("the join", func() bool { ok, _ := inst.service.Ready(); return ok })
			}
			r.some(2)
			r.settled()
			second.stop() // well before the drain's limit
			first.stop()
		})
	}
}

func TestTheDrainHasALimit(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.crm.Block(crmapitest.BeforeEffect)
	inst := r.start(func(cfg *consumer.Config, _ *consumer.Parts) { cfg.DrainLimit = 500 * time.Millisecond })
	r.produce(r.change(1, fields{"position": "x"}))
	r.eventually("the call", func() bool { return r.crm.Blocked() == 1 })
	inst.stop() // though the call does not end
	if at := r.committed(0); at > 0 {
		t.Errorf("committed %d: past a call that was given up", at)
	}
	r.crm.Release()
	r.expireLeases()
	r.start()
	r.settled()
	r.wantField(1, "position", `"x"`)
	r.wantOutcomes("ev-1", consumer.Applied)
	r.wantNoDeadLetters()
}

// A partition is taken away while a call for it runs, longer than the drain lets it.
func TestARebalanceWhileACallRuns(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]time.Duration{"that ends in time": unending, "that does not": 300 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2, crmapitest.Options{})
			drain := func(cfg *consumer.Config, _ *consumer.Parts) { cfg.DrainLimit = limit }
			first := r.start(drain)
			r.eventually("the assignment", func() bool { return r.committed(0) == 0 && r.committed(1) == 0 })
			for m := range 2 { // of either partition: one of them will be taken away
				r.crm.Push(crmapitest.Fault{Member: member(m), Block: true})
				r.produce(on(m, r.change(m, fields{"position": "Held"})))
			}
			r.eventually("the calls", func() bool { return r.crm.Blocked() == 2 })
			second := r.start(drain)
			for m := range 2 {
				r.produce(on(m, r.change(m, fields{"position": "Next", "qq": "1"})))
			}
			if limit < unending {
				r.eventually("the second to join", func() bool { ok, _ := second.service.Ready(); return ok })
			}
			r.never("a commit or a second call while one runs", 1500*time.Millisecond, func() bool {
				return r.committed(0)+r.committed(1) > 0 || len(r.crm.Calls()) > 2
			})
			r.crm.Release()
			r.settled()
			for m := range 2 {
				r.wantField(m, "position", `"Next"`)
			}
			r.wantNoDeadLetters()
			for _, inst := range []*instance{first, second} {
				if n := r.metric(inst, "membersync_late_calls_total"); n != 0 {
					t.Errorf("%v late calls", n)
				}
			}
			first.stop() // it had the lanes of a lost partition: what the other finished must not hurt it
			r.produce(on(0, r.change(7, fields{"position": "Last"})), on(1, r.change(8, fields{"position": "Last"})))
			r.settled()
		})
	}
}

// An instance with no partition drains at once, and so holds up no rebalance.
func TestMoreInstancesThanPartitions(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	for i := range 3 {
		inst := r.start()
		r.eventually("the join", func() bool { ok, _ := inst.service.Ready(); return ok })
		r.produce(r.change(i, fields{"position": fmt.Sprint(i)}))
		r.settled() // well before a drain's limit
	}
	r.wantNoDeadLetters()
}

// The lane of a held member keeps its work over a rebalance that takes nothing away from it in the end.
func TestWaitingEventsSurviveRebalances(t *testing.T) {
	t.Parallel()
	r := newRig(t, 4, crmapitest.Options{}).quick()
	for m := range 8 { // some lanes are pinned, some back off, some are searched
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
				r.produce(on(m%4, r.change(m, fields{"position": fmt.Sprint(round), []string{"qq", "email", "weixin"}[i]: fmt.Sprint(round)})))
			}
		}
		r.start() // each joins in the middle of it
	}
	r.instances[1].stop()
	r.settled()
	for m := range 8 {
		for _, f := range []string{"position", "qq", "email", "weixin"} {
			r.wantField(m, f, `"2"`)
		}
	}
	r.wantNoDeadLetters()
}
