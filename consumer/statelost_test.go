package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
	"membersync/dedupe"
	"membersync/dlq"
	"membersync/mapper"
)

// emptyRedis deletes all that membersync keeps in Redis, as the loss of Redis does.
func (r *rig) emptyRedis() {
	r.t.Helper()
	keys, err := r.redis.Keys(context.WithoutCancel(r.t.Context()), r.prefix+":*").Result()
	if err == nil {
		err = r.redis.Del(context.WithoutCancel(r.t.Context()), keys...).Err()
	}
	if err != nil {
		r.t.Error(err)
	}
	r.recorder.forget()
}

// rebuilt marks the state as rebuilt.
func (r *rig) rebuilt() {
	r.t.Helper()
	store := r.store(r.redis)
	id, err := store.BeginRebuild(r.t.Context(), r.group)
	if err == nil {
		err = store.EndRebuild(r.t.Context(), r.group, id)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) isLost(inst *instance) bool { return r.metric(inst, "membersync_state_lost") == 1 }

// A rejectedThenOvertaken has a dead letter of an older event, whose value a newer event has
// overtaken. Without the versions, a redrive of it, or a replay, would bring the older value back.
func (r *rig) rejectedThenOvertaken() {
	r.t.Helper()
	r.refuse(1, 1)
	r.settledAfter(r.event("old", 1, 10, fields{"position": "Old"}))
	r.settledAfter(r.event("new", 1, 20, fields{"position": "New"}))
	r.wantField(1, "position", `"New"`)
}

// The state is lost while a redrive is in its lane already, where it waits for a call slot.
func TestStateLostWhileARedriveIsInItsLane(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	inst := r.start(r.redriving, oneByOne)
	r.rejectedThenOvertaken()
	r.crm.Push(crmapitest.Fault{Member: member(99), Block: true})
	r.produce(r.event("blocker", 99, 1, fields{"position": "x"}))
	r.eventually("the slot to be taken", func() bool { return r.crm.Blocked() == 1 })
	r.redrive(r.items()["old"])
	r.eventually("the redrive in its lane", func() bool { return inst.service.Redrives() == 1 })
	r.emptyRedis()
	r.eventually("the loss to be noticed", func() bool { return r.isLost(inst) })
	r.crm.Release()
	r.settledAfter(r.event("live", 2, 1, fields{"position": "L"}), r.event("same", 1, 30, fields{"qq": "1"}))
	r.wantField(2, "position", `"L"`) // live traffic continues,
	r.wantField(1, "qq", `"1"`)       // also that of the redrive's member
	r.never("a redrive without the state", 1500*time.Millisecond, func() bool { return r.field(1, "position") != `"New"` })
	if n := inst.service.Redrives(); n != 1 {
		t.Errorf("%d redrives are in lanes, want 1 that waits", n)
	}
}

// The state is lost between a redrive's acquire and its call, and no read of the control state has
// noticed yet.
func TestStateLostBeforeARedriveIsSent(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.start(r.redriving, func(_ *consumer.Config, p *consumer.Parts) {
		p.Store = &losingStore{Store: p.Store, after: func(req acquireRequest) {
			if req.Events[0].Redrive == 1 {
				r.emptyRedis()
			}
		}}
	})
	r.rejectedThenOvertaken()
	r.redrive(r.items()["old"])
	r.eventually("the loss", func() bool { return len(r.redis.Keys(t.Context(), r.prefix+":*:fields").Val()) == 0 })
	r.never("the older value", 3*time.Second, func() bool { return r.field(1, "position") != `"New"` })
}

// The state is lost while a replay runs: the replay watches the state of the live service's group.
// It continues after the rebuild.
func TestStateLostWhileAReplayRuns(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	live := r.start(r.redriving)
	for i := range 20 {
		r.produce(r.change(100+i, fields{"position": "x"}))
	}
	r.produce(r.event("old", 1, 10, fields{"position": "Old"}))
	old := r.all()
	r.settledAfter(r.event("new", 1, 20, fields{"position": "New"}))
	r.wantField(1, "position", `"New"`)
	records, lose := 0, r.emptyRedis
	_, err := r.replayFor(10*time.Second, func(_ *consumer.Config, p *consumer.Parts) {
		p.Pace = func(ctx context.Context) error {
			if records++; records == 5 {
				lose()
			}
			return ctx.Err()
		}
	}, old...)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the replay ended with %v, want it to wait until its time is over", err)
	}
	r.eventually("the live service to notice the loss", func() bool { return r.isLost(live) })
	for i := range 5 {
		if calls := r.callsOf(104 + i + 1); len(calls) > 1 {
			t.Errorf("%d calls of a member whose state was lost", len(calls))
		}
	}
	r.wantField(1, "position", `"New"`)
}

// The state is lost and rebuilt between a redrive's acquire and its call. The acquire found no
// versions, so what it handed out must not be sent; the next acquire finds them.
func TestStateLostAndRebuiltBeforeARedriveIsSent(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	var lost atomic.Bool
	r.start(r.redriving, func(_ *consumer.Config, p *consumer.Parts) {
		p.Store = &losingStore{Store: p.Store, before: func(req acquireRequest) {
			if req.Events[0].Redrive == 1 && lost.CompareAndSwap(false, true) {
				r.emptyRedis()
			}
		}, after: func(req acquireRequest) {
			if req.Events[0].Redrive != 1 || r.marker().Exists() {
				return
			}
			newer := req.Events[0]
			newer.Version = "9" + newer.Version[1:]
			done := dedupe.DoneEvent{
				ID: dedupe.NewEventID(r.topic, "new", 0, "20"), Outcome: "applied", Version: newer.Version, Fields: []string{"position"},
			}
			if err := r.store(r.redis).Restore(context.WithoutCancel(t.Context()), req.Member, []dedupe.DoneEvent{done}); err != nil {
				t.Error(err)
			}
			r.rebuilt()
		}}
	})
	r.rejectedThenOvertaken()
	r.redrive(r.items()["old"])
	r.redrivesSettled()
	r.wantField(1, "position", `"New"`)
	if item := r.items()["old"]; item.State != dlq.StateSuperseded {
		t.Errorf("the redrive is %s", item.State)
	}
}

// The state is lost and a group that seems new marks it again, between two reads of the control
// state. The incarnation has changed without a rebuild, so it was lost; the marker goes, so that
// processes that start later know it too.
func TestStateBegunAgainCountsAsLost(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	inst := r.start(r.redriving)
	r.rejectedThenOvertaken()
	r.never("a loss", 2500*time.Millisecond, func() bool { return r.isLost(inst) })
	r.emptyRedis()
	if err := r.store(r.redis).MarkInitialized(t.Context(), r.group); err != nil {
		t.Fatal(err)
	}
	r.redrive(r.items()["old"])
	r.eventually("the loss to be noticed", func() bool { return r.isLost(inst) && !r.marker().Exists() })
	inst.stop()
	inst = r.start(r.redriving)
	r.eventually("the loss to be noticed after a restart", func() bool { return r.isLost(inst) })
	r.never("the older value", time.Second, func() bool { return r.field(1, "position") != `"New"` })
	r.rebuilt()
	r.eventually("the state to be back", func() bool { return !r.isLost(inst) })
	r.redrivesSettled()
}

// A replay that waits for a lost state continues after the rebuild.
func TestAReplayContinuesAfterTheRebuild(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.start(r.redriving)
	r.settledAfter(r.event("e1", 1, 10, fields{"position": "A"}))
	r.emptyRedis()
	time.AfterFunc(3*time.Second, func() {
		if n := len(r.callsOf(1)); n != 1 {
			t.Errorf("%d calls while the state was lost, want none after the first", n-1)
		}
		r.rebuilt()
	})
	r.replay(true, r.all()...)
	if n := len(r.callsOf(1)); n != 2 {
		t.Errorf("%d calls, want one more after the rebuild", n-1)
	}
}

// The state was written under another key. Nothing of it would be found, so no call is made until
// the former key is back or the state is rebuilt under this one.
func TestAnotherStateKeyPausesCalls(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	first := r.start()
	r.settledAfter(r.event("e1", 1, 10, fields{"position": "A"}))
	first.stop()
	r.key = "another key made up for tests, of 32 bytes"
	inst := r.start()
	r.produce(r.event("e2", 1, 11, fields{"position": "B"}))
	r.eventually("the pause", func() bool { return r.paused(inst, "state_key") })
	r.waiting(inst, 1)
	r.never("a call", time.Second, func() bool { return len(r.callsOf(1)) > 1 })
	if ok, cause := inst.service.Ready(); !ok || cause != "state_key" {
		t.Errorf("ready %v, cause %q", ok, cause)
	}
	if !strings.Contains(r.logs.String(), "another MEMBERSYNC_STATE_KEY") || r.isLost(inst) {
		t.Error("the log does not name the key, or the state counts as lost")
	}
	r.rebuilt()
	r.settled()
	r.wantField(1, "position", `"B"`)
}

func (r *rig) marker() dedupe.Marker {
	r.t.Helper()
	m, err := r.store(r.redis).Marker(context.WithoutCancel(r.t.Context()), r.group)
	if err != nil {
		r.t.Error(err)
	}
	return m
}

type acquireRequest = dedupe.AcquireRequest

// A losingStore calls functions around each acquire; nil: none.
type losingStore struct {
	consumer.Store

	before, after func(acquireRequest)
}

func (s *losingStore) Acquire(ctx context.Context, req acquireRequest) (dedupe.Grant, error) {
	if s.before != nil {
		s.before(req)
	}
	g, err := s.Store.Acquire(ctx, req)
	s.after(req)
	return g, err
}

// A rebuild restores what is below the group's offsets. A newer event was finished above an older
// one that the storm guard holds: when that is tried again after a rebuild, the newer value must
// win.
func TestWhatWasFinishedAboveAHeldEventRunsAgainAfterARebuild(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	broken := &brokenMapper{breaks: func(ev mapper.Event) bool { return strings.HasPrefix(ev.ID, "bad") }}
	for i := range 60 {
		r.produce(r.event(fmt.Sprint("bad ", i), 1+i, 1, fields{"position": "Old"}))
	}
	inst := r.start(holding, broken.install, func(cfg *consumer.Config, _ *consumer.Parts) { cfg.HeldRetry = 3 * time.Second })
	r.holds(inst, 60)
	r.produce(r.event("new", 1, 2, fields{"position": "New"}))
	r.eventually("the end of the newer event", func() bool { // the CRM holds its value before that
		return r.metric(inst, "membersync_events_total", "outcome", "applied", "path", "live") == 1
	})
	r.emptyRedis()
	r.eventually("the loss to be noticed", func() bool { return r.isLost(inst) })
	r.rebuilt()
	broken.fixed.Store(true)
	r.settled()
	r.wantField(1, "position", `"New"`)
	r.wantNoDeadLetters()
}
