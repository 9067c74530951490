package consumer

import (
	"context"
	"log/slog"
	"time"

	"membersync/consumer/gate"
	"membersync/dedupe"
)

// ordersEvery is how often an instance looks for the operator's orders, and whether the state is still there.
const (
	ordersEvery = 2 * time.Second
	ordersFirst = 200 * time.Millisecond // until the first look has come to something
)

// A Control knows the operator's orders, and whether the state in Redis was lost.
type Control interface {
	Control(ctx context.Context, group string) (dedupe.Control, error)
	// MarkInitialized notes that the state exists, before the group commits its first offset.
	MarkInitialized(ctx context.Context, group string) error
}

// An oversight is what is known of the orders. The engine's lock guards it.
type oversight struct {
	known   bool           // a first look has succeeded; before it, nothing is called
	orders  dedupe.Control // as of the latest look
	looked  time.Time      // before that look
	offsets bool           // the group has committed offsets, so the state must be there
	lost    bool           // and it is not
}

// oversee looks for orders until the context ends.
func (s *Service) oversee(ctx context.Context) {
	wait := time.NewTimer(0)
	defer wait.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-wait.C:
		}
		if s.look(ctx) {
			wait.Reset(ordersEvery)
		} else {
			wait.Reset(ordersFirst)
		}
	}
}

// look takes one look at the orders, and reports whether it or one before it has succeeded.
func (s *Service) look(ctx context.Context) bool {
	e := s.engine
	e.mu.Lock()
	before := e.oversight
	e.mu.Unlock()
	began := time.Now()
	now, err := s.parts.Control.Control(ctx, s.cfg.Group)
	if err != nil {
		e.overlook(ctx, before.orders, err)
		return before.known
	}
	e.mu.Lock()
	e.oversight.known, e.oversight.orders, e.oversight.looked = true, now, began
	e.mu.Unlock()
	e.obey(ctx, before, now)
	// The group had offsets before the look, so its state was born before: another instance's birth cannot be missed.
	s.checkState(ctx, before.offsets && !now.Initialized)
	if !before.known {
		e.wake()
	}
	return true
}

// DigestTrust is how long after a look at the orders digests are believed. Whoever disbelieves them and waits that long knows
// that no event fetched later is left out for an older digest.
const DigestTrust = 5 * time.Second

// digests returns their generation, and whether it was looked up too long ago to believe any.
func (e *engine) digests() (generation int64, doubt bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.oversight.orders.DigestGeneration, e.parts.Control != nil && time.Since(e.oversight.looked) >= DigestTrust
}

// overlook keeps to the orders that are known while Redis does not answer. A pause that has run out meanwhile ends.
func (e *engine) overlook(ctx context.Context, known dedupe.Control, err error) {
	e.log.LogAttrs(ctx, slog.LevelDebug, "no look at the operator's orders", errAttr(err))
	if until := known.Pause.Until; known.Paused && !until.IsZero() && !until.After(time.Now()) {
		e.resumed(ctx)
	}
}

func (e *engine) obey(ctx context.Context, before oversight, now dedupe.Control) {
	switch {
	case now.Paused:
		e.pause(ctx, gate.Pause, 0)
	default:
		e.resumed(ctx)
	}
	if before.known && now.Resumes > before.orders.Resumes {
		e.letGo(ctx)
	}
}

// resumed ends the operator's pause.
func (e *engine) resumed(ctx context.Context) {
	e.mu.Lock()
	was := e.gate.Open(gate.Pause)
	if was {
		e.health.SetPaused(time.Now(), len(e.gate.Causes()) > 0)
	}
	e.mu.Unlock()
	if was {
		e.tellPause(ctx, gate.Pause, false)
		e.wake()
	}
}

// checkState tells once that the state in Redis is gone, and once that it is there again. Redis that was emptied
// lets late and repeated events bring old values back, so somebody must know.
func (s *Service) checkState(ctx context.Context, lost bool) {
	e := s.engine
	e.mu.Lock()
	news := lost != e.oversight.lost
	e.oversight.lost = lost
	e.mu.Unlock()
	if !news {
		return
	}
	s.parts.Metrics.setStateLost(lost)
	if lost {
		s.logger.LogAttrs(ctx, slog.LevelError, "the state in redis was lost; until membersync state rebuild has run, late and repeated events can bring old values back",
			slog.String("group", s.cfg.Group))
		return
	}
	s.logger.LogAttrs(ctx, slog.LevelInfo, "the state in redis is complete again", slog.String("group", s.cfg.Group))
}

// bear notes the state's birth before a group without offsets commits its first: offsets without it mean that
// the state was lost. It tries until Redis answers.
func (s *Service) bear(ctx context.Context, groupIsNew bool) error {
	if groupIsNew && s.parts.Control != nil {
		retry := newKafkaBackoff()
		for err := s.parts.Control.MarkInitialized(ctx, s.cfg.Group); err != nil; err = s.parts.Control.MarkInitialized(ctx, s.cfg.Group) {
			s.engine.redisFailed(ctx, "bear", err)
			if err := sleep(ctx, retry.Next(err)); err != nil {
				return err
			}
		}
		s.engine.redisWorks(ctx)
	}
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	s.engine.oversight.offsets = true
	return nil
}
