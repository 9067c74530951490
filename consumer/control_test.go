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
)

// The operator's pause stops all calls. Processing that needs no call continues.
func TestOperatorPauseStopsCalls(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	store := r.redis.store()
	if err := store.Pause(t.Context(), time.Time{}, "test", "tester"); err != nil {
		t.Fatal(err)
	}
	inst := r.start() // a pause that is in force blocks even the first call
	for i := range 5 {
		r.kafka.produce(r.change(i, fields{"position": "Engineer"}))
	}
	r.kafka.produce(message{Value: []byte("no event")})
	r.eventually("the pause", func() bool { return inst.paused("operator") })
	inst.waiting(5)
	r.never("a call in the pause", 2500*time.Millisecond, func() bool { return len(r.crm.Calls()) > 0 })
	inst.wantReady("operator")
	if n := len(r.dlq.read()); n != 1 {
		t.Errorf("%d dead letters, want 1: processing without a call continues in a pause", n)
	}
	if err := store.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.settled()
	r.crm.wantCalls(5)

	until := time.Now().Add(5 * time.Second)
	if err := store.Pause(t.Context(), until, "test", "tester"); err != nil {
		t.Fatal(err)
	}
	r.eventually("the pause", func() bool { return inst.paused("operator") })
	r.process(r.change(9, fields{"position": "Engineer"}))
	if time.Now().Before(until) {
		t.Error("the call went out before the pause ended")
	}
	r.crm.wantCalls(6)
}

// The state is deleted from Redis while the group has committed offsets. The service reports the
// loss, and live traffic continues.
func TestLostStateIsReported(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.kafka.produce(r.change(1, fields{"position": "Engineer"}))
	inst := r.start()
	r.settled()
	lost := func() bool { return inst.isLost() }
	r.never("the state of a new group is reported as lost", 2500*time.Millisecond, lost)
	r.redis.empty()
	r.eventually("the loss to be noticed", lost)
	if !strings.Contains(r.logs.String(), "the state in redis was lost") {
		t.Error("the loss is not logged")
	}
	r.process(r.change(2, fields{"position": "Engineer"})) // live traffic continues
	r.crm.wantCalls(2)
	inst.stop()
	inst = r.start() // another process notices the loss, too
	r.eventually("the loss to be noticed", lost)
	r.redis.rebuilt(r.kafka.group)
	r.eventually("the state to be reported as present again", func() bool { return !lost() })
}

// Redis becomes unavailable between a call and its completion, and then the service is stopped. It
// waits for Redis. Otherwise the next owner would repeat the call.
func TestShutdownWaitsForACompletion(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.redis.throughAProxy()
	r.crm.Block(crmapitest.AfterEffect)
	inst := r.start()
	r.kafka.produce(r.change(1, fields{"position": "Once"}), r.change(2, fields{"position": "Next"}))
	r.eventually("the calls", func() bool { return r.crm.Blocked() == 2 })
	r.redis.awayAndBack(func() {
		r.crm.Release()
		r.eventually("the pause", func() bool { return inst.paused("redis") })
		inst.cancel()
		r.eventually("the drain", inst.service.Revoked)
		r.never("committed without a completion", 500*time.Millisecond, func() bool { return r.kafka.committed(0) > 0 })
	})
	inst.stop()
	if at := r.kafka.committed(0); at != 2 {
		t.Errorf("committed %d, want 2", at)
	}
	r.start()
	r.settled()
	r.crm.wantCalls(2)
}

// The same id with another order value is another event. It is counted, since it shows that the
// source reuses its event ids.
func TestReusedIDsAreCounted(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	inst := r.start()
	for sequence := 1; sequence <= 3; sequence++ {
		r.process(event("the same id", 1, sequence, fields{"position": fmt.Sprint(sequence)}))
	}
	r.process(event("the same id", 1, 3, fields{"position": "3"})) // a duplicate is not a reuse
	r.wantOutcomes("the same id", consumer.Applied, consumer.Applied, consumer.Applied, consumer.Duplicate)
	inst.wantMetric(2, "membersync_reused_event_ids_total")
}

// A failableControl is a Control that can no longer be read once failing is set.
type failableControl struct {
	consumer.HeartbeatStore

	inner   consumer.Control
	failing atomic.Bool
}

func (c *failableControl) install(_ *consumer.Config, p *consumer.Parts) {
	c.HeartbeatStore, c.inner, p.Control = p.Control, p.Control, c
}

var errControlUnavailable = errors.New("control state unavailable")

func (c *failableControl) Control(ctx context.Context, group string) (dedupe.Control, error) {
	if c.failing.Load() {
		return dedupe.Control{}, errControlUnavailable
	}
	return c.inner.Control(ctx, group)
}

func (c *failableControl) MarkInitialized(ctx context.Context, group string) error {
	return c.inner.MarkInitialized(ctx, group)
}

// Digests are trusted until they are invalidated. They are not trusted either while the instance
// cannot read the control state, since it would not learn of an invalidation.
func TestInvalidatedDigestsAreNotTrusted(t *testing.T) {
	t.Parallel()
	for name, distrust := range map[string]func(*testing.T, *dedupe.Store, *failableControl){
		"invalidated": func(t *testing.T, store *dedupe.Store, _ *failableControl) {
			t.Helper()
			if err := store.InvalidateDigests(t.Context()); err != nil {
				t.Fatal(err)
			}
		},
		"control state unavailable": func(_ *testing.T, _ *dedupe.Store, control *failableControl) {
			control.failing.Store(true)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, control := newRig(t, 1, crmapitest.Options{}), &failableControl{}
			r.start(control.install)
			produceAgain := func() int {
				r.process(r.change(1, fields{"position": "Engineer"}))
				return len(r.crm.Calls())
			}
			if first, second := produceAgain(), produceAgain(); first != 1 || second != 1 {
				t.Errorf("%d calls, and then %d; want 1: the value is sent once", first, second)
			}
			distrust(t, r.redis.store(), control)
			r.eventually("the value to be sent again", func() bool { return produceAgain() == 2 })
		})
	}
}

func (c *failableControl) Marker(ctx context.Context, group string) (dedupe.Marker, error) {
	return c.inner.Marker(ctx, group)
}

func (c *failableControl) MarkLost(ctx context.Context, group, incarnation string) error {
	return c.inner.MarkLost(ctx, group, incarnation)
}
