package dedupe

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// A Pause is the operator's order to stop calling, to all instances of the scope.
type Pause struct {
	At    time.Time `json:"at"`
	Until time.Time `json:"until,omitzero"` // zero: until it is taken back
	Note  string    `json:"note,omitempty"`
	Actor string    `json:"actor,omitempty"`
}

// Pause stops all instances of the scope until the given time or, if that is zero,
// until Resume. It replaces an earlier pause.
func (s *Store) Pause(ctx context.Context, until time.Time, note, actor string) error {
	now := time.Now()
	var ttl time.Duration // none
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

// Resume takes a pause back. Without one it does nothing.
func (s *Store) Resume(ctx context.Context) error {
	if err := s.client.Del(ctx, s.scope+"pause").Err(); err != nil {
		return failed("resume", err)
	}
	return nil
}

// Paused returns the pause that is in force, if there is one.
func (s *Store) Paused(ctx context.Context) (p Pause, paused bool, err error) {
	text, err := s.client.Get(ctx, s.scope+"pause").Bytes()
	if errors.Is(err, redis.Nil) {
		return Pause{}, false, nil
	}
	if err != nil {
		return Pause{}, false, failed("paused", err)
	}
	if err := json.Unmarshal(text, &p); err != nil {
		return Pause{}, false, failed("paused", errReply) // the decoder's text could quote the note
	}
	return p, true, nil
}
