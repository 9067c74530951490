package consumer_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
	"membersync/dedupe"
)

// An uninitializable is a Control that cannot mark the state as initialized until it is fixed.
type uninitializable struct {
	consumer.HeartbeatStore

	inner    consumer.Control
	fixed    atomic.Bool
	attempts atomic.Int32
}

func (u *uninitializable) Control(ctx context.Context, group string) (dedupe.Control, error) {
	return u.inner.Control(ctx, group)
}

func (u *uninitializable) MarkInitialized(ctx context.Context, group string) error {
	u.attempts.Add(1)
	if !u.fixed.Load() {
		return errControlUnavailable
	}
	return u.inner.MarkInitialized(ctx, group)
}

// Committed offsets without the marker of an initialized state mean that the state was lost. So a
// new group must not commit before the marker is written.
func TestNothingIsCommittedBeforeTheStateIsInitialized(t *testing.T) {
	t.Parallel()
	r, control := newRig(t, 1, crmapitest.Options{}), &uninitializable{}
	r.kafka.produce(r.change(1, fields{"position": "A"}))
	inst := r.start(func(_ *consumer.Config, p *consumer.Parts) {
		control.HeartbeatStore, control.inner, p.Control = p.Control, p.Control, control
	})
	r.eventually("two attempts", func() bool { return control.attempts.Load() >= 2 })
	r.never("a commit or a call", 300*time.Millisecond, func() bool {
		return r.kafka.committed(0) >= 0 || len(r.crm.Calls()) > 0
	})
	control.fixed.Store(true)
	r.settled()
	r.crm.wantField(1, "position", `"A"`)
	r.never("the state counts as lost", 2500*time.Millisecond, func() bool {
		return inst.metric("membersync_state_lost") == 1
	})
}

func (u *uninitializable) Marker(ctx context.Context, group string) (dedupe.Marker, error) {
	return u.inner.Marker(ctx, group)
}

func (u *uninitializable) MarkLost(ctx context.Context, group, incarnation string) error {
	return u.inner.MarkLost(ctx, group, incarnation)
}
