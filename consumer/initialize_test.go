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

// A uninitializable overseer cannot note the state's birth until it is healed.
type uninitializable struct {
	inner  consumer.Control
	healed atomic.Bool
	tries  atomic.Int32
}

func (b *uninitializable) Control(ctx context.Context, group string) (dedupe.Control, error) {
	return b.inner.Control(ctx, group)
}

func (b *uninitializable) MarkInitialized(ctx context.Context, group string) error {
	b.tries.Add(1)
	if !b.healed.Load() {
		return errBlind
	}
	return b.inner.MarkInitialized(ctx, group)
}

// Offsets without a note of the state's birth mean that the state was lost, so a new group has none before the note is there.
func TestNothingIsCommittedBeforeTheStateIsBorn(t *testing.T) {
	t.Parallel()
	r, b := newRig(t, 1, crmapitest.Options{}), &uninitializable{}
	r.produce(r.change(1, fields{"position": "A"}))
	inst := r.start(func(_ *consumer.Config, p *consumer.Parts) { b.inner, p.Control = p.Control, b })
	r.eventually("two tries", func() bool { return b.tries.Load() >= 2 })
	r.never("a commit or a call", 300*time.Millisecond, func() bool { return r.committed(0) >= 0 || len(r.crm.Calls()) > 0 })
	b.healed.Store(true)
	r.settled()
	r.wantField(1, "position", `"A"`)
	r.never("the state counts as lost", 2500*time.Millisecond, func() bool { return r.metric(inst, "membersync_state_lost") == 1 })
}
