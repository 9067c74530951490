package ops

import (
	"cmp"
	"context"
	"slices"
	"time"

	"membersync/cmd/internal/wiring"
	"membersync/dedupe"
	"membersync/dlq"
)

// A Pause is a pause by an operator, as JSON shows it.
type Pause struct {
	At    Time   `json:"at"`
	Until Time   `json:"until"`
	Actor string `json:"actor"`
	Note  string `json:"note"`
}

// Paused returns the operator's pause that is in force; nil: none is.
func (s *Control) Paused(ctx context.Context) (*Pause, error) {
	p, paused, err := s.parts.Store.Paused(ctx)
	if err != nil || !paused {
		return nil, err
	}
	return &Pause{Time{p.At}, Time{p.Until}, p.Actor, p.Note}, nil
}

// An UnrecordedError is returned by an action that is in force although the audit topic has no
// record of it.
type UnrecordedError struct{ Err error }

// Error returns a text with the cause.
func (e *UnrecordedError) Error() string {
	return "it is in force, but the audit topic has no record of it: " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *UnrecordedError) Unwrap() error { return e.Err }

// A SeenPause is the pause that an operator saw before deciding to replace or end it.
type SeenPause struct {
	At  time.Time // when it began; zero: none was in force
	Any bool      // whatever is in force now
}

// Seen returns what an operator has seen who was shown this pause.
func (p *Pause) Seen() SeenPause {
	if p == nil {
		return SeenPause{}
	}
	return SeenPause{At: p.At.Time}
}

// ErrOtherPause is returned for a pause that began after the operator looked: another one may have
// a reason for it, such as a CRM that is being restored.
var ErrOtherPause = &RefusedError{"refused: another operator has paused the calls since you looked; nothing was changed; see membersync status"}

// checkPause refuses to replace or end a pause that the operator has not seen.
func (s *Control) checkPause(ctx context.Context, seen SeenPause) error {
	if seen.Any {
		return nil
	}
	now, err := s.Paused(ctx)
	if err == nil && now != nil && !now.At.Equal(seen.At) {
		err = ErrOtherPause
	}
	return err
}

// Pause stops the calls of all instances until a time; the zero time: until they are resumed. It
// comes before its audit record: it must work without Kafka.
func (s *Control) Pause(ctx context.Context, seen SeenPause, until time.Time, who Who) error {
	if err := s.checkPause(ctx, seen); err != nil {
		return err
	}
	if err := s.parts.Store.Pause(ctx, until, who.Note, who.Actor); err != nil {
		return err
	}
	text := ""
	if !until.IsZero() {
		text = until.UTC().Format(time.RFC3339)
	}
	return s.recordInForce(ctx, dlq.ActionPause, who, dlq.Detail{Until: text})
}

// Resume ends an operator's pause. With release, the events that the storm guard holds at this
// moment are dead-lettered.
func (s *Control) Resume(ctx context.Context, seen SeenPause, release bool, who Who) error {
	if err := s.checkPause(ctx, seen); err != nil {
		return err
	}
	if err := s.parts.Store.Resume(ctx); err != nil {
		return err
	}
	if release {
		if err := s.parts.Store.ReleaseHeld(ctx); err != nil {
			return err
		}
	}
	return s.recordInForce(ctx, dlq.ActionResume, who, dlq.Detail{})
}

func (s *Control) recordInForce(ctx context.Context, action dlq.Action, who Who, detail dlq.Detail) error {
	err := s.audit.Write(ctx, dlq.AuditRecord{
		Actor: who.Actor, Action: action, Subject: s.cfg.Kafka.Group, Note: who.Note, Result: dlq.ResultDone, Detail: detail,
	})
	if err != nil {
		return &UnrecordedError{err}
	}
	return nil
}

// beatAge is the age up to which a heartbeat is that of a running instance.
const beatAge = 30 * time.Second

// Heartbeats returns those of the instances that are running.
func (s *Control) Heartbeats(ctx context.Context) ([]dedupe.Heartbeat, error) {
	return s.heartbeats(ctx, s.cfg.Kafka.Group)
}

// heartbeats returns those of the running instances of a group.
func (s *base) heartbeats(ctx context.Context, group string) ([]dedupe.Heartbeat, error) {
	return heartbeatsOf(ctx, s.parts, group)
}

func heartbeatsOf(ctx context.Context, parts *wiring.Parts, group string) ([]dedupe.Heartbeat, error) {
	all, err := parts.Store.Heartbeats(ctx, group)
	return slices.DeleteFunc(all, func(b dedupe.Heartbeat) bool { return b.Ended || b.Age > beatAge }), err
}

// Held returns the number of events that the storm guards of the running instances hold.
func (s *Control) Held(ctx context.Context) (n int, err error) {
	beats, err := s.Heartbeats(ctx)
	for _, b := range beats {
		n += b.Held
	}
	return n, err
}

// causes returns why the running instances do not call the CRM, the oldest of each cause, by name.
func (s *base) causes(ctx context.Context) ([]dedupe.PauseCause, error) {
	beats, err := s.heartbeats(ctx, s.cfg.Kafka.Group)
	return causesOf(beats), err
}

func causesOf(beats []dedupe.Heartbeat) (causes []dedupe.PauseCause) {
	for _, b := range beats {
		causes = append(causes, b.Causes...)
	}
	slices.SortFunc(causes, func(a, b dedupe.PauseCause) int {
		return cmp.Or(cmp.Compare(a.Cause, b.Cause), a.Since.Compare(b.Since))
	})
	return slices.CompactFunc(causes, func(a, b dedupe.PauseCause) bool { return a.Cause == b.Cause })
}
