package wiring

import (
	"context"
	"sync"
	"time"

	"membersync/cmd/internal/config"
	"membersync/dedupe"
)

// A Limiter draws permits under the vendor's limit.
type Limiter struct {
	store *dedupe.Store
	rate  config.Rate
	hold  time.Duration
	least int // no permit is drawn at a higher rank, which is a lower number

	mu   sync.Mutex
	used float64   // share of the limit that was taken when a permit was last asked for
	seen time.Time // when that was
}

// NewLimiter returns the limiter that the configuration asks for, and false if it asks for no
// limit.
func NewLimiter(cfg config.Config, store *dedupe.Store) (*Limiter, bool) {
	if cfg.CRM.Rate.Calls == 0 {
		return nil, false
	}
	return &Limiter{store: store, rate: cfg.CRM.Rate, hold: Lease(cfg)}, true
}

// ForReplay lets live traffic and redrives of the service go first, whatever is asked for.
func (l *Limiter) ForReplay() *Limiter {
	l.least = dedupe.RankReplay
	return l
}

// Permit asks for one call's place in the window at a rank: granted, or how long to wait.
func (l *Limiter) Permit(ctx context.Context, id string, rank int) (granted bool, wait time.Duration, err error) {
	granted, wait, used, err := l.store.Permit(ctx, dedupe.PermitRequest{
		Limit: l.rate.Calls, Window: l.rate.Window, Rank: max(rank, l.least), ID: id, Hold: l.hold,
	})
	if err == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.used, l.seen = float64(used)/float64(l.rate.Calls), time.Now()
	}
	return granted, wait, err
}

// Used is the share of the limit that all instances have taken, as of the latest permit; nothing is
// taken when no instance has asked for a window's time. It is safe for concurrent use.
func (l *Limiter) Used() float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.seen) > l.rate.Window {
		return 0
	}
	return l.used
}

// Done ends the place in the window that a call took, or gives it back if nothing was sent.
func (l *Limiter) Done(ctx context.Context, id string, sent bool) error {
	return l.store.PermitDone(ctx, id, sent)
}

// Throttle stops the permits of all instances for a while.
func (l *Limiter) Throttle(ctx context.Context, d time.Duration) error {
	return l.store.Throttle(ctx, d)
}
