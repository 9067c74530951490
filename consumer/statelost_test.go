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

// rejectedThenOvertaken makes a dead letter of an older event, whose value a newer event has
// overtaken. Without the versions, a redrive of it, or a replay, would bring the older value back.
func rejectedThenOvertaken(r *rig) {
	r.t.Helper()
	r.crm.refuse(1, 1)
	r.process(event("old", 1, 10, fields{"position": "Old"}))
	r.process(event("new", 1, 20, fields{"position": "New"}))
	r.crm.wantField(1, "position", `"New"`)
}

// The state is lost while a redrive is in its lane already, where it waits for a call slot.
func TestStateLostWhileARedriveIsInItsLane(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	inst := r.start(r.dlq.redriving, oneByOne)
	rejectedThenOvertaken(r)
	r.crm.Push(crmapitest.Fault{Member: member(99), Block: true})
	r.kafka.produce(event("blocker", 99, 1, fields{"position": "x"}))
	r.eventually("the slot to be taken", func() bool { return r.crm.Blocked() == 1 })
	r.dlq.redrive(r.dlq.items()["old"])
	r.eventually("the redrive in its lane", func() bool { return inst.service.Redrives() == 1 })
	r.redis.empty()
	r.eventually("the loss to be noticed", inst.isLost)
	r.crm.Release()
	r.process(event("live", 2, 1, fields{"position": "L"}), event("same", 1, 30, fields{"qq": "1"}))
	r.crm.wantField(2, "position", `"L"`) // live traffic continues,
	r.crm.wantField(1, "qq", `"1"`)       // also that of the redrive's member
	r.never("a redrive without the state", 1500*time.Millisecond, func() bool { return r.crm.field(1, "position") != `"New"` })
	if n := inst.service.Redrives(); n != 1 {
		t.Errorf("%d redrives are in lanes, want 1 that waits", n)
	}
}

// The state is lost between a redrive's acquire and its call, and no read of the control state has
// noticed yet.
func TestStateLostBeforeARedriveIsSent(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.start(r.dlq.redriving, func(_ *consumer.Config, p *consumer.Parts) {
		p.Store = &losingStore{Store: p.Store, after: func(req acquireRequest) {
			if req.Events[0].Redrive == 1 {
				r.redis.empty()
			}
		}}
	})
	rejectedThenOvertaken(r)
	r.dlq.redrive(r.dlq.items()["old"])
	r.eventually("the loss", func() bool { return len(r.redis.keys("*:f")) == 0 })
	r.never("the older value", 3*time.Second, func() bool { return r.crm.field(1, "position") != `"New"` })
}

// The state is lost while a replay runs: the replay watches the state of the live service's group.
// It continues after the rebuild.
func TestStateLostWhileAReplayRuns(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	live := r.start(r.dlq.redriving)
	for i := range 20 {
		r.kafka.produce(r.change(100+i, fields{"position": "x"}))
	}
	r.kafka.produce(event("old", 1, 10, fields{"position": "Old"}))
	old := r.kafka.all()
	r.process(event("new", 1, 20, fields{"position": "New"}))
	r.crm.wantField(1, "position", `"New"`)
	records, lose := 0, r.redis.empty
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
	r.eventually("the live service to notice the loss", live.isLost)
	for i := range 5 {
		if calls := r.crm.callsOf(104 + i + 1); len(calls) > 1 {
			t.Errorf("%d calls of a member whose state was lost", len(calls))
		}
	}
	r.crm.wantField(1, "position", `"New"`)
}

// The state is lost and rebuilt between a redrive's acquire and its call. The acquire found no
// versions, so what it handed out must not be sent; the next acquire finds them.
func TestStateLostAndRebuiltBeforeARedriveIsSent(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	var lost atomic.Bool
	r.start(r.dlq.redriving, func(_ *consumer.Config, p *consumer.Parts) {
		p.Store = &losingStore{Store: p.Store, before: func(req acquireRequest) {
			if req.Events[0].Redrive == 1 && lost.CompareAndSwap(false, true) {
				r.redis.empty()
			}
		}, after: func(req acquireRequest) {
			if req.Events[0].Redrive != 1 || r.redis.marker(r.kafka.group).Exists() {
				return
			}
			newer := req.Events[0]
			newer.Version = "9" + newer.Version[1:]
			done := dedupe.DoneEvent{
				ID: dedupe.NewEventID(r.kafka.topic, "new", 0, "20"), Outcome: "applied", Version: newer.Version, Fields: []string{"position"},
			}
			if err := r.redis.store().Restore(context.WithoutCancel(t.Context()), req.Member, []dedupe.DoneEvent{done}); err != nil {
				t.Error(err)
			}
			r.redis.rebuilt(r.kafka.group)
		}}
	})
	rejectedThenOvertaken(r)
	r.processRedrive(r.dlq.items()["old"])
	r.crm.wantField(1, "position", `"New"`)
	if item := r.dlq.items()["old"]; item.State != dlq.StateSuperseded {
		t.Errorf("the redrive is %s", item.State)
	}
}

// The state is lost and a group that seems new marks it again, between two reads of the control
// state. The incarnation has changed without a rebuild, so it was lost; the marker goes, so that
// processes that start later know it too.
func TestStateBegunAgainCountsAsLost(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	inst := r.start(r.dlq.redriving)
	rejectedThenOvertaken(r)
	r.never("a loss", 2500*time.Millisecond, inst.isLost)
	r.redis.empty()
	if err := r.redis.store().MarkInitialized(t.Context(), r.kafka.group); err != nil {
		t.Fatal(err)
	}
	r.dlq.redrive(r.dlq.items()["old"])
	r.eventually("the loss to be noticed", func() bool { return inst.isLost() && !r.redis.marker(r.kafka.group).Exists() })
	inst.stop()
	inst = r.start(r.dlq.redriving)
	r.eventually("the loss to be noticed after a restart", inst.isLost)
	r.never("the older value", time.Second, func() bool { return r.crm.field(1, "position") != `"New"` })
	r.redis.rebuilt(r.kafka.group)
	r.eventually("the state to be back", func() bool { return !inst.isLost() })
	r.redrivesSettled()
}

// A replay that waits for a lost state continues after the rebuild.
func TestAReplayContinuesAfterTheRebuild(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.start(r.dlq.redriving)
	r.process(event("e1", 1, 10, fields{"position": "A"}))
	r.redis.empty()
	time.AfterFunc(3*time.Second, func() {
		if n := len(r.crm.callsOf(1)); n != 1 {
			t.Errorf("%d calls while the state was lost, want none after the first", n-1)
		}
		r.redis.rebuilt(r.kafka.group)
	})
	r.replay(true, r.kafka.all()...)
	if n := len(r.crm.callsOf(1)); n != 2 {
		t.Errorf("%d calls, want one more after the rebuild", n-1)
	}
}

// The state was written under another key. Nothing of it would be found, so the group is not joined
// until the former key is back or the state is rebuilt under this one.
func TestAnotherStateKeyPausesCalls(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	first := r.start()
	r.process(event("e1", 1, 10, fields{"position": "A"}))
	first.stop()
	r.redis.key = "another key made up for tests, of 32 bytes"
	inst := r.start()
	r.kafka.produce(event("e2", 1, 11, fields{"position": "B"}))
	r.eventually("the pause", func() bool { return inst.paused("state_key") })
	r.never("a call", time.Second, func() bool { return len(r.crm.callsOf(1)) > 1 })
	if ok, cause := inst.service.Ready(); ok || cause != "state_key" {
		t.Errorf("ready %v, cause %q, want not ready and the cause state_key", ok, cause)
	}
	if !strings.Contains(r.logs.String(), "another MEMBERSYNC_STATE_KEY") || inst.isLost() {
		t.Error("the log does not name the key, or the state counts as lost")
	}
	r.redis.rebuilt(r.kafka.group)
	r.settled()
	r.crm.wantField(1, "position", `"B"`)
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

type controlStore = consumer.Control

// A controlReads counts the reads that find a marker.
type controlReads struct {
	controlStore
	marked atomic.Int32
}

func (c *controlReads) Control(ctx context.Context, group string) (dedupe.Control, error) {
	now, err := c.controlStore.Control(ctx, group)
	if err == nil && now.Marker.Exists() {
		c.marked.Add(1)
	}
	return now, err
}

// A rebuild restores what is below the group's offsets. A newer event was finished above an older
// one that the storm guard holds: when that is tried again after a rebuild, the newer value must
// win.
func TestWhatWasFinishedAboveAHeldEventRunsAgainAfterARebuild(t *testing.T) {
	t.Parallel()
	for name, isNoticed := range map[string]bool{"that an instance saw": true, "between two of its reads": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runsAgainAfterARebuild(t, isNoticed)
		})
	}
}

func runsAgainAfterARebuild(t *testing.T, isNoticed bool) {
	t.Helper()
	r := newRig(t, 1, crmapitest.Options{})
	broken := &brokenMapper{breaks: func(ev mapper.Event) bool { return strings.HasPrefix(ev.ID, "bad") }}
	for i := range 60 {
		r.kafka.produce(event(fmt.Sprint("bad ", i), 1+i, 1, fields{"position": "Old"}))
	}
	reads := &controlReads{}
	inst := r.start(holding, broken.install, func(cfg *consumer.Config, p *consumer.Parts) {
		cfg.HeldRetry = 3 * time.Second
		reads.controlStore, p.Control = p.Control, reads
	})
	inst.holds(60)
	r.kafka.produce(event("new", 1, 2, fields{"position": "New"}))
	r.eventually("the end of the newer event", func() bool { // the CRM holds its value before that
		return inst.metric("membersync_events_total", "outcome", "applied", "path", "live") == 1
	})
	// An instance that has not read the marker of the group does not know that it is another one.
	r.eventually("the marker to be read", func() bool { return reads.marked.Load() > 1 })
	r.redis.empty()
	if isNoticed {
		r.eventually("the loss to be noticed", inst.isLost)
	}
	r.redis.rebuilt(r.kafka.group)
	broken.fixed.Store(true)
	r.settled()
	r.crm.wantField(1, "position", `"New"`)
	r.wantNoDeadLetters()
}
