package consumer

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"membersync/consumer/event"
	"membersync/consumer/intake"
	"membersync/consumer/schedule"
	"membersync/dedupe"
)

const (
	beatEvery = 5 * time.Second
	beatRetry = 200 * time.Millisecond // while calls wait for the heartbeats of the others
	endLimit  = time.Second            // for the last one: the end must not wait for Redis
)

// A HeartbeatStore keeps what the instances of a group report about themselves.
type HeartbeatStore interface {
	Beat(ctx context.Context, group string, b dedupe.Heartbeat) error
	Heartbeats(ctx context.Context, group string) ([]dedupe.Heartbeat, error)
}

// A heart reports this instance every 5 s, and finds out whether the group is in a storm before
// this instance dead-letters anything of partitions that were just assigned: another instance may
// have held their events. It is safe for concurrent use.
type heart struct {
	group    string
	store    HeartbeatStore // nil: there are none, and no other instance is known
	schedule *schedule.Schedule
	log      *slog.Logger
	self     dedupe.Heartbeat
	rates    rateMeter
	changed  chan struct{}
	unknown  chan struct{} // holds a value while the storm of the group is not known
}

func newHeart(cfg *Config, parts *Parts, plan *schedule.Schedule) *heart {
	h := &heart{
		group: cfg.Group, schedule: plan, log: parts.Logger, changed: make(chan struct{}, 1), unknown: make(chan struct{}, 1),
		self: dedupe.Heartbeat{ID: string(dedupe.NewToken()), Host: cfg.Host, Version: cfg.Version, Since: time.Now().UTC()},
	}
	if parts.Control != nil && !cfg.Replay {
		h.store = parts.Control
	}
	return h
}

// wake lets the next heartbeat be written at once.
func (h *heart) wake() { signal(h.changed) }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// joining is called before the records of a new generation are read.
func (h *heart) joining() {
	if h.store == nil {
		return
	}
	h.schedule.SetStormUnknown()
	signal(h.unknown)
	h.wake()
}

// run writes heartbeats until the context ends, and then a last one. Now returns what this instance
// reports.
func (h *heart) run(ctx context.Context, now func(self dedupe.Heartbeat) dedupe.Heartbeat) {
	if h.store == nil {
		return
	}
	wait := time.NewTimer(0)
	defer wait.Stop()
	for failing := false; ; {
		select {
		case <-ctx.Done():
			h.end(ctx)
			return
		case <-wait.C:
		case <-h.changed:
		}
		wait.Reset(beatEvery)
		if !h.learn(ctx) {
			wait.Reset(beatRetry)
			continue
		}
		h.self = now(h.self)
		err := h.store.Beat(ctx, h.group, h.self)
		if fails := err != nil && ctx.Err() == nil; fails != failing {
			if failing = fails; fails {
				h.log.LogAttrs(ctx, slog.LevelDebug, "heartbeat not written; trying again", errAttr(err))
			}
		}
	}
}

// end says that this instance has stopped, so that it is not taken for one that runs. What it last
// reported of a storm stays, for others to learn.
func (h *heart) end(ctx context.Context) {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), endLimit, errStopped)
	defer cancel()
	h.self.Ended = true
	_ = h.store.Beat(ctx, h.group, h.self) // otherwise it counts as running for 30 s
}

// learn finds out whether another instance is in a storm, where that is not known, and reports
// whether it is known now. The last report of an instance that has ended counts as long as Redis
// keeps it, longer than it makes an instance that runs: what it held is delivered again, perhaps to
// this one.
func (h *heart) learn(ctx context.Context) bool {
	select {
	case <-h.unknown:
	default:
		return true
	}
	all, err := h.store.Heartbeats(ctx, h.group)
	if err != nil {
		signal(h.unknown)
		return false
	}
	h.schedule.SetStormKnown(slices.ContainsFunc(all, func(b dedupe.Heartbeat) bool { return b.Storm && b.ID != h.self.ID }))
	return true
}

// heartbeat is what this instance reports now. A cause keeps the time since which it was reported.
func (s *Service) heartbeat(before dedupe.Heartbeat) dedupe.Heartbeat {
	now := time.Now()
	stats := s.schedule.Stats(now)
	b := before
	b.Partitions, b.InFlight, b.Held, b.Storm = len(s.intake.Lags(now)), stats.Calling, stats.Held, stats.Storm
	b.StuckFor, b.Rates = stats.StuckFor, s.beats.rates.measure(now, &s.report.activity)
	b.Causes = nil
	for _, name := range s.causes(s.intake.Status()) {
		since := now.UTC()
		if i := slices.IndexFunc(before.Causes, func(c dedupe.PauseCause) bool { return c.Cause == name }); i >= 0 {
			since = before.Causes[i].Since
		}
		b.Causes = append(b.Causes, dedupe.PauseCause{Cause: name, Since: since, Next: nextProbe(stats, name)})
	}
	return b
}

// nextProbe returns when a pause of calls for the cause ends or is tried; the zero time: that is
// not planned, or the cause does not pause calls.
func nextProbe(stats schedule.Stats, cause string) time.Time {
	if stats.NextProbe.IsZero() || !slices.ContainsFunc(stats.Causes, func(c event.Cause) bool { return c.String() == cause }) {
		return time.Time{}
	}
	return stats.NextProbe.UTC()
}

const (
	expiryEvery = 10 * time.Second
	// A held record is dead-lettered when this part of the topic's retention is left, an hour at
	// most.
	expiryPart, expiryAtMost = 10, time.Hour
)

// releaseExpiring lets held events be dead-lettered that the topic is about to forget: as dead
// letters they stay for longer.
func (s *Service) releaseExpiring(ctx context.Context) {
	tick := time.NewTicker(expiryEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if s.schedule.Stats(now).Held > 0 {
				s.report.released(ctx, s.schedule.ReleaseHeld(isExpiring(now, s.intake.Lags(now))), "the topic is about to forget them")
			}
		}
	}
}

func isExpiring(now time.Time, lags []intake.Lag) func(*event.Event) bool {
	return func(ev *event.Event) bool {
		i := slices.IndexFunc(lags, func(l intake.Lag) bool {
			return l.Topic == ev.Record.Topic() && l.Partition == ev.Record.Partition() && l.Retention > 0
		})
		if i < 0 {
			return false
		}
		left := lags[i].Retention - now.Sub(ev.Record.OriginTime())
		return left < min(lags[i].Retention/expiryPart, expiryAtMost)
	}
}
