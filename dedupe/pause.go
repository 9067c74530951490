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

// Resume takes a pause back, and counts: see [Control]. Without a pause it only counts.
func (s *Store) Resume(ctx context.Context) error {
	_, err := s.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Del(ctx, s.scope+"pause")
		p.Incr(ctx, s.scope+"resumes")
		return nil
	})
	if err != nil {
		return failed("resume", err)
	}
	return nil
}

// Paused returns the pause that is in force, if there is one.
func (s *Store) Paused(ctx context.Context) (p Pause, paused bool, err error) {
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
		return Pause{}, false, errReply // the decoder's text could quote the note
	}
	return p, true, nil
}
