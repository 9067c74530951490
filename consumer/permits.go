package consumer

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"time"

	"membersync/consumer/event"
	"membersync/consumer/schedule"
)

// A Limiter shares the vendor's rate limit over all instances.
type Limiter interface {
	// Permit asks for one call's place in the window, at one of [dedupe]'s ranks: granted, or how long
	// to wait.
	Permit(ctx context.Context, id string, rank int) (granted bool, wait time.Duration, err error)
	// Done ends the place: at the end of the window after a call that was sent, or at once.
	Done(ctx context.Context, id string, sent bool) error
	// Throttle stops the permits of all instances for a while.
	Throttle(ctx context.Context, d time.Duration) error
}

// spareFor bounds how long a permit that a batch did not need is kept for the next one: an unused
// permit occupies a place of all instances.
const spareFor = time.Second

// permits draw rate-limit permits, and keep at most one that a batch did not need. They are safe
// for concurrent use.
type permits struct {
	limiter  Limiter // nil: no limit
	schedule *schedule.Schedule
	redis    *redisGuard
	log      *slog.Logger

	mu    sync.Mutex
	spare event.Permit
}

// take draws a permit at one of the ranks and returns the batch that it is for. Without a batch it
// returns when to try again.
func (p *permits) take(ctx context.Context, next schedule.Next) (*event.Batch, time.Time) {
	until := next.Until
	for _, rank := range next.Ranks {
		permit, wait, err := p.draw(ctx, rank)
		if err != nil {
			p.redis.failed(ctx, "permit", err)
			return nil, time.Now()
		}
		if permit.ID == "" {
			until = earliest(until, wait)
			continue
		}
		b := p.schedule.Take(time.Now(), rank)
		if b == nil {
			p.keepOrReturn(ctx, permit)
			return nil, time.Now().Add(spareFor)
		}
		b.Permit = permit
		return b, time.Time{}
	}
	return nil, until
}

// draw returns the spare permit or a new one; if none is granted, when to ask again.
func (p *permits) draw(ctx context.Context, rank event.Rank) (permit event.Permit, until time.Time, err error) {
	if spare := p.takeSpare(); isStale(spare, time.Now()) {
		p.done(ctx, spare.ID, false)
	} else if spare.ID != "" {
		return spare, time.Time{}, nil
	}
	permit = event.Permit{ID: rand.Text(), DrawnAt: time.Now()}
	granted, wait, err := p.limiter.Permit(ctx, permit.ID, int(rank))
	if err != nil {
		return event.Permit{}, time.Time{}, err
	}
	if !granted {
		return event.Permit{}, p.schedule.RecordNoPermit(time.Now(), rank, wait), nil
	}
	return permit, time.Time{}, nil
}

func (p *permits) takeSpare() event.Permit {
	p.mu.Lock()
	defer p.mu.Unlock()
	spare := p.spare
	p.spare = event.Permit{}
	return spare
}

// returnStale gives a spare permit back that no batch has needed for a while, and returns when to
// look at the one that there is.
func (p *permits) returnStale(ctx context.Context) time.Time {
	p.mu.Lock()
	spare := p.spare
	stale := isStale(spare, time.Now())
	if stale {
		p.spare = event.Permit{}
	}
	p.mu.Unlock()
	switch {
	case spare.ID == "":
		return time.Time{}
	case stale:
		p.done(ctx, spare.ID, false)
		return time.Time{}
	}
	return spare.DrawnAt.Add(spareFor)
}

func isStale(p event.Permit, now time.Time) bool { return p.ID != "" && now.Sub(p.DrawnAt) >= spareFor }

// settle ends the batch's place in the window, or passes it on if it was not needed.
func (p *permits) settle(ctx context.Context, b *event.Batch) {
	switch {
	case b.Permit.ID == "":
	case b.Sent:
		p.done(ctx, b.Permit.ID, true)
	default:
		p.keepOrReturn(ctx, b.Permit)
	}
}

// keepOrReturn keeps the permit if another lane is ready for it, and gives it back otherwise. It is
// kept for a second from its draw at most: Redis holds it only for as long as one call may take.
func (p *permits) keepOrReturn(ctx context.Context, permit event.Permit) {
	now := time.Now()
	keep := !isStale(permit, now) && p.schedule.CanUsePermit(now)
	p.mu.Lock()
	if keep = keep && p.spare.ID == ""; keep {
		p.spare = permit
	}
	p.mu.Unlock()
	if !keep {
		p.done(ctx, permit.ID, false)
	}
}

func (p *permits) done(ctx context.Context, id string, sent bool) {
	if err := p.limiter.Done(ctx, id, sent); err != nil {
		p.log.LogAttrs(ctx, levelOf(ctx), "permit not given back; it expires by itself", errAttr(err))
	}
}

var errNoPermit = errors.New("consumer: no permit to send again")

// beforeResend draws a second permit when a renewed access token makes the client send the call
// again. Without one the call fails, and is tried again later. It is nil if there is no limit.
func (p *permits) beforeResend(b *event.Batch) func(context.Context) error {
	if p.limiter == nil {
		return nil
	}
	rank := schedule.RankOf(b.Events)
	return func(ctx context.Context) error {
		id := rand.Text()
		granted, _, err := p.limiter.Permit(ctx, id, int(rank))
		if err != nil || !granted {
			return errors.Join(errNoPermit, err)
		}
		p.done(ctx, b.Permit.ID, true)
		b.Permit = event.Permit{ID: id, DrawnAt: time.Now()}
		return nil
	}
}

// throttle slows all other instances down, too.
func (p *permits) throttle(ctx context.Context, d event.Decision) {
	if d.Cause != event.CauseThrottled || p.limiter == nil {
		return
	}
	if err := p.limiter.Throttle(ctx, max(d.Floor, time.Second)); err != nil {
		p.log.LogAttrs(ctx, levelOf(ctx), "throttling not reported to other instances", errAttr(err))
	}
}
