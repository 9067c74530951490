package dedupe

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// A Pause is the operator's request that all instances of the scope stop calling the CRM.
type Pause struct {
	At    time.Time `json:"at"`
	Until time.Time `json:"until,omitzero"` // zero: until Resume
	Note  string    `json:"note,omitempty"`
	Actor string    `json:"actor,omitempty"`
}

// Pause stops all instances of the scope until the given time. If that is zero, it stops them until
// Resume. It replaces an earlier pause.
func (s *ControlStore) Pause(ctx context.Context, until time.Time, note, actor string) error {
	now := time.Now()
	var ttl time.Duration // 0: no expiry
	if !until.IsZero() {
		if ttl = until.Sub(now); ttl < time.Millisecond {
			return &RequestError{What: "pause: must end in the future"}
		}
	}
	text, err := json.Marshal(Pause{At: now.UTC(), Until: until.UTC(), Note: note, Actor: actor})
	if err != nil {
		return failed("pause", err)
	}
	if err := s.client.Set(ctx, s.scope+"pause", text, ttl).Err(); err != nil {
		return failed("pause", err)
	}
	return nil
}

// Resume ends a pause, if there is one.
func (s *ControlStore) Resume(ctx context.Context) error {
	if err := s.client.Del(ctx, s.scope+"pause").Err(); err != nil {
		return failed("resume", err)
	}
	return nil
}

// ReleaseHeld asks all instances of the scope to dead-letter what their storm guards hold now.
func (s *ControlStore) ReleaseHeld(ctx context.Context) error {
	if err := s.client.Incr(ctx, s.scope+"releases").Err(); err != nil {
		return failed("release held", err)
	}
	return nil
}

// Paused returns the active pause. The result paused is false if no pause is active.
func (s *ControlStore) Paused(ctx context.Context) (p Pause, paused bool, err error) {
	if p, paused, err = readPause(s.client.Get(ctx, s.scope+"pause")); err != nil {
		return Pause{}, false, failed("paused", err)
	}
	return p, paused, nil
}

func readPause(cmd *redis.StringCmd) (p Pause, paused bool, err error) {
	text, err := cmd.Bytes()
	if errors.Is(err, redis.Nil) {
		return Pause{}, false, nil
	}
	if err != nil {
		return Pause{}, false, err
	}
	if err := json.Unmarshal(text, &p); err != nil {
		return Pause{}, false, errReply // the decoder's error text could quote the note
	}
	return p, true, nil
}
