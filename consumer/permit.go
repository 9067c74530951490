package consumer

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"time"

	"membersync/dedupe"
)

// A permit is a place in the rate limit's window.
type permit struct {
	id    string
	drawn time.Time
}

// spareFor bounds how long a permit that a run did not need is kept for the next
// one: a permit that nobody uses blocks a place for all instances.
const spareFor = time.Second

// redrivesTurn is every how many runs redrives are asked for first, so that live traffic beyond what is called at once does not
// starve them in this process. It is the share that the limit keeps for them over all processes.
const redrivesTurn = 20

// rankOf is the rank of the most urgent of events.
func rankOf(events []*event) int {
	if slices.ContainsFunc(events, func(ev *event) bool { return ev.rec.redrive == nil }) {
		return dedupe.RankLive
	}
	return dedupe.RankRedrive
}

// ranked picks the lanes of a rank, which is that of all that waits in them.
func ranked(rank int) func(*lane) bool {
	return func(l *lane) bool { return rankOf(l.Waiting()) == rank }
}

// ranks are those to ask for a permit now, in this order; wait is when there may be more. The lock is held.
func (e *engine) ranks(now time.Time) (ranks []int, wait time.Time) {
	if wait := e.paced(now); !wait.IsZero() {
		return nil, wait
	}
	all := []int{dedupe.RankLive, dedupe.RankRedrive}
	if e.turn%redrivesTurn == redrivesTurn-1 {
		slices.Reverse(all)
	}
	for _, rank := range all {
		switch {
		case !e.has(now, rank):
		case e.noPermit[rank].After(now):
			wait = earliest(wait, e.noPermit[rank])
		default:
			ranks = append(ranks, rank)
		}
	}
	return ranks, wait
}

// has reports whether a lane of the rank is ready. One always is when this is asked, and mostly there are no redrives at all. A
// storm chooses by itself, as live traffic.
func (e *engine) has(now time.Time, rank int) bool {
	if e.redrives == 0 || e.guard.On() {
		return rank == dedupe.RankLive
	}
	return e.lanes.Any(now, ranked(rank))
}

// withPermit draws a permit and takes a lane for it. Without a permit it returns when to try again.
func (e *engine) withPermit(ctx context.Context) (*run, time.Time) {
	e.mu.Lock()
	ranks, until := e.ranks(time.Now())
	until = earliest(until, wakeOf(e.lanes)) // perhaps of a rank that is not refused
	e.mu.Unlock()
	for _, rank := range ranks {
		r, wait, refused := e.withPermitAt(ctx, rank)
		if !refused {
			return r, wait
		}
		until = earliest(until, wait)
	}
	return nil, until
}

func (e *engine) withPermitAt(ctx context.Context, rank int) (r *run, until time.Time, refused bool) {
	p := e.takeSpare()
	if p.stale(time.Now()) {
		e.permitDone(ctx, p.id, false)
		p = permit{}
	}
	if p.id == "" {
		p = permit{id: rand.Text(), drawn: time.Now()}
		granted, wait, err := e.parts.Limiter.Permit(ctx, p.id, rank)
		switch {
		case err != nil:
			e.redisFailed(ctx, "permit", err)
			return nil, time.Now(), false
		case !granted:
			return nil, e.permitRefused(time.Now(), rank, wait), true
		}
		e.permitDrawn(time.Now())
	}
	e.mu.Lock()
	r = e.takeOpen(time.Now(), ranked(rank))
	e.mu.Unlock()
	if r == nil {
		e.keepOrReturn(ctx, p)
		return nil, time.Now().Add(spareFor), false
	}
	r.permit = p
	return r, time.Time{}, false
}

// permitRefused keeps the engine from asking again before a place can be free. Waiting
// for the vendor's limit is no standstill.
func (e *engine) permitRefused(now time.Time, rank int, wait time.Duration) time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.noPermit[rank] = now.Add(max(wait, time.Millisecond))
	e.progress = now
	return e.noPermit[rank]
}

func (e *engine) takeSpare() permit {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.spare
	e.spare = permit{}
	return p
}

// returnStale gives back a spare permit that no lane has wanted for a while, and
// returns when to look at the one that there is.
func (e *engine) returnStale(ctx context.Context) time.Time {
	e.mu.Lock()
	p, stale := e.spare, e.spare.stale(time.Now())
	if stale {
		e.spare = permit{}
	}
	e.mu.Unlock()
	switch {
	case p.id == "":
		return time.Time{}
	case stale:
		e.permitDone(ctx, p.id, false)
		return time.Time{}
	}
	return p.drawn.Add(spareFor)
}

func (p permit) stale(now time.Time) bool { return p.id != "" && now.Sub(p.drawn) >= spareFor }

// settlePermit ends the run's place in the window, or hands it on if it was not needed.
func (e *engine) settlePermit(ctx context.Context, r *run) {
	switch {
	case r.permit.id == "":
	case r.sent:
		e.permitDone(ctx, r.permit.id, true)
	default:
		e.keepOrReturn(ctx, r.permit)
	}
}

// keepOrReturn keeps the permit if another lane is ready for it, and gives it back otherwise. It is
// kept for a second from its draw at most: in Redis it is held only as long as one call may take.
func (e *engine) keepOrReturn(ctx context.Context, p permit) {
	now := time.Now()
	e.mu.Lock()
	keep := e.spare.id == "" && !p.stale(now) && e.lanes.Ready(now) && e.gate.Peek(now).Open
	if keep {
		e.spare = p
	}
	e.mu.Unlock()
	if !keep {
		e.permitDone(ctx, p.id, false)
	}
}

func (e *engine) permitDone(ctx context.Context, id string, sent bool) {
	if err := e.parts.Limiter.Done(ctx, id, sent); err != nil {
		e.log.LogAttrs(ctx, levelOf(ctx), "permit not given back; it runs out by itself", errAttr(err))
	}
}

var errNoPermit = errors.New("consumer: no permit for sending again")

// permitForResend draws a second permit when a renewed token makes the client send the
// call again. Without one the call fails, and is tried again later.
func (e *engine) permitForResend(r *run) func(context.Context) error {
	if e.parts.Limiter == nil {
		return nil
	}
	rank := rankOf(r.batch)
	return func(ctx context.Context) error {
		id := rand.Text()
		granted, _, err := e.parts.Limiter.Permit(ctx, id, rank)
		if err != nil || !granted {
			return errors.Join(errNoPermit, err)
		}
		e.permitDone(ctx, r.permit.id, true)
		r.permit = permit{id, time.Now()}
		return nil
	}
}
