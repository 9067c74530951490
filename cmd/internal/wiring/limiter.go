package wiring

import (
	"context"
	"time"

	"membersync/cmd/internal/config"
	"membersync/dedupe"
)

// A Limiter draws permits of live traffic under the vendor's limit.
type Limiter struct {
	store *dedupe.Store
	rate  config.Rate
	hold  time.Duration
}

// NewLimiter returns the limiter that the configuration asks for, and false if it asks for no limit.
func NewLimiter(cfg config.Config, store *dedupe.Store) (*Limiter, bool) {
	if cfg.CRM.Rate.Calls == 0 {
		return nil, false
	}
	return &Limiter{store: store, rate: cfg.CRM.Rate, hold: Lease(cfg)}, true
}

// Permit asks for one call's place in the window: granted, or how long to wait.
func (l *Limiter) Permit(ctx context.Context, id string) (granted bool, wait time.Duration, err error) {
	granted, wait, _, err = l.store.Permit(ctx, dedupe.PermitRequest{
		Limit: l.rate.Calls, Window: l.rate.Window, Rank: dedupe.RankLive, ID: id, Hold: l.hold,
	})
	return granted, wait, err
}

// Done ends the place in the window that a call took, or gives it back if nothing was sent.
func (l *Limiter) Done(ctx context.Context, id string, sent bool) error {
	return l.store.PermitDone(ctx, id, sent)
}

// Throttle stops the permits of all instances for a while.
func (l *Limiter) Throttle(ctx context.Context, d time.Duration) error {
	return l.store.Throttle(ctx, d)
}
