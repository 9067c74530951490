package consumer

import (
	"context"
	"slices"

	"membersync/consumer/event"
)

// Redrives and replays deliver events that newer ones have overtaken, so without the versions in
// Redis they would bring older values back. This file keeps them from it (invariant 12).

// relies reports whether an event may only be sent while the versions in Redis are complete.
func (a *attempt) relies(ev *event.Event) bool { return a.cfg.Replay || ev.IsRedrive() }

// withoutRedrives returns the batch without the events that rely on the state; nil: none is left.
// They stay in their lane, and in the batch itself, which settles them if they are taken away.
func (a *attempt) withoutRedrives() *event.Batch {
	b := *a.batch
	b.Events = slices.DeleteFunc(slices.Clone(b.Events), a.relies)
	if len(b.Events) == 0 {
		return nil
	}
	return &b
}

// confirmState asks, immediately before a call that relies on the state, whether it is still the
// one on which acquire has decided. If not, no call is made, and the lane asks again later.
func (a *attempt) confirmState(ctx context.Context, u *event.Update) (r event.Result, ok bool) {
	if !slices.ContainsFunc(u.Events, a.relies) {
		return event.Result{}, true
	}
	still, err := a.control.isStill(ctx, stateMark(u.StateMark))
	if err != nil {
		a.redisFailed(ctx, "marker", err)
		return a.tryAgain(ctx, u, event.Result{Wait: stateWait}), false
	}
	if !still {
		return a.tryAgain(ctx, u, event.Result{Wait: stateWait}), false
	}
	return event.Result{}, true
}
