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

func TestTheOperatorsPause(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	store := r.store(r.redis)
	if err := store.Pause(t.Context(), time.Time{}, "test", "tester"); err != nil {
		t.Fatal(err)
	}
	inst := r.start() // a pause that is in force holds the very first call
	for i := range 5 {
		r.produce(r.change(i, fields{"position": "Engineer"}))
	}
	r.produce(message{Value: []byte("no event")})
	r.eventually("the pause", func() bool { return r.metric(inst, "membersync_paused", "cause", "operator") == 1 })
	r.waiting(inst, 5)
	r.never("a call in the pause", 2500*time.Millisecond, func() bool { return len(r.crm.Calls()) > 0 })
	if ok, cause := inst.service.Ready(); !ok || cause != "operator" {
		t.Errorf("ready %v, cause %q", ok, cause)
	}
	if n := len(r.deadLetters()); n != 1 {
		t.Errorf("%d dead letters: what needs no call goes on", n)
	}
	if err := store.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.settled()
	r.wantCalls(5)

	until := time.Now().Add(5 * time.Second)
	if err := store.Pause(t.Context(), until, "test", "tester"); err != nil {
		t.Fatal(err)
	}
	r.eventually("the pause", func() bool { return r.metric(inst, "membersync_paused", "cause", "operator") == 1 })
	r.produce(r.change(9, fields{"position": "Engineer"}))
	r.settled()
	if time.Now().Before(until) {
		t.Error("the call went out before the pause was over")
	}
	r.wantCalls(6)
}

func TestStateLost(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.produce(r.change(1, fields{"position": "Engineer"}))
	inst := r.start()
	r.settled()
	lost := func() bool { return r.metric(inst, "membersync_state_lost") == 1 }
	r.never("a new group's state is missing", 2500*time.Millisecond, lost)
	keys, err := r.redis.Keys(t.Context(), r.prefix+":*").Result()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.redis.Del(t.Context(), keys...).Err(); err != nil {
		t.Fatal(err)
	}
	r.eventually("the loss to be noticed", lost)
	if !strings.Contains(r.logs.String(), "the state in redis was lost") {
		t.Error("the log does not say it")
	}
	r.produce(r.change(2, fields{"position": "Engineer"})) // live traffic goes on
	r.settled()
	r.wantCalls(2)
	inst.stop()
	inst = r.start() // and another process notices too
	r.eventually("the loss to be noticed", lost)
	if err := r.store(r.redis).MarkInitialized(t.Context(), r.group); err != nil {
		t.Fatal(err)
	}
	r.eventually("the news that it is there again", func() bool { return !lost() })
}

// Redis goes between a call and its completion, and the service ends: it waits for Redis rather than leave the call to be repeated.
func TestShutdownWaitsForACompletion(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.throughAProxy()
	r.crm.Block(crmapitest.AfterEffect)
	inst := r.start()
	r.produce(r.change(1, fields{"position": "Once"}), r.change(2, fields{"position": "Next"}))
	r.eventually("the calls", func() bool { return r.crm.Blocked() == 2 })
	r.awayAndBack(func() {
		r.crm.Release()
		r.eventually("the pause", func() bool { return r.metric(inst, "membersync_paused", "cause", "redis") == 1 })
		inst.cancel()
		r.eventually("the drain", inst.service.Revoked)
		r.never("committed without a completion", 500*time.Millisecond, func() bool { return r.committed(0) > 0 })
	})
	inst.stop()
	if at := r.committed(0); at != 2 {
		t.Errorf("committed %d, want 2", at)
	}
	r.start()
	r.settled()
	r.wantCalls(2)
}

// The same id with another order value is another event, and is counted: somebody numbers events anew.
func TestReusedIDsAreCounted(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	inst := r.start()
	for sequence := 1; sequence <= 3; sequence++ {
		r.produce(r.event("the same id", 1, sequence, fields{"position": fmt.Sprint(sequence)}))
		r.settled()
	}
	r.produce(r.event("the same id", 1, 3, fields{"position": "3"})) // a duplicate is no reuse
	r.settled()
	r.wantOutcomes("the same id", consumer.Applied, consumer.Applied, consumer.Applied, consumer.Duplicate)
	if n := r.metric(inst, "membersync_reused_event_ids_total"); n != 2 {
		t.Errorf("%v reused ids, want 2", n)
	}
}

// A blindable overseer sees nothing any more once it is blind.
type blindable struct {
	inner consumer.Control
	blind atomic.Bool
}

var errBlind = errors.New("blind")

func (b *blindable) Control(ctx context.Context, group string) (dedupe.Control, error) {
	if b.blind.Load() {
		return dedupe.Control{}, errBlind
	}
	return b.inner.Control(ctx, group)
}

func (b *blindable) MarkInitialized(ctx context.Context, group string) error {
	return b.inner.MarkInitialized(ctx, group)
}

// Digests are believed until somebody disbelieves them, or an instance would not hear of that.
func TestDigestsAreDisbelieved(t *testing.T) {
	t.Parallel()
	for name, disbelieve := range map[string]func(*testing.T, *dedupe.Store, *blindable){
		"told": func(t *testing.T, store *dedupe.Store, _ *blindable) {
			t.Helper()
			if err := store.InvalidateDigests(t.Context()); err != nil {
				t.Fatal(err)
			}
		},
		"blind": func(_ *testing.T, _ *dedupe.Store, eyes *blindable) { eyes.blind.Store(true) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, eyes := newRig(t, 1, crmapitest.Options{}), &blindable{}
			r.start(func(_ *consumer.Config, p *consumer.Parts) { eyes.inner, p.Control = p.Control, eyes })
			again := func() int {
				r.produce(r.change(1, fields{"position": "Engineer"}))
				r.settled()
				return len(r.crm.Calls())
			}
			if first, second := again(), again(); first != 1 || second != 1 {
				t.Errorf("%d calls, and then %d; want 1, which is enough", first, second)
			}
			disbelieve(t, r.store(r.redis), eyes)
			r.eventually("the value to be sent again", func() bool { return again() == 2 })
		})
	}
}
