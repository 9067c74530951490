package dedupe

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// Control is what an instance looks up every few seconds.
type Control struct {
	Pause  Pause // valid when Paused
	Paused bool
	// Resumes counts how often Resume was called, with or without a pause; a reply that
	// was lost may count twice. Only its growth is an order: when Redis is
	// emptied, it falls back to 0.
	Resumes int64
	// DigestGeneration is that of digests: those of an earlier one prove nothing any more.
	DigestGeneration int64
	// Initialized says that Bear was called for the group since Redis was last emptied.
	Initialized bool
}

// Control looks up the operator's orders, and whether the state was born for the
// consumer group, in one round trip.
func (s *Store) Control(ctx context.Context, group string) (Control, error) {
	pipe := s.client.Pipeline() // of a cluster, the born key is in another slot
	pause, resumes, born := pipe.Get(ctx, s.scope+"pause"), pipe.Get(ctx, s.scope+"resumes"), pipe.Exists(ctx, s.bornKey(group))
	generation := pipe.Get(ctx, s.scope+"digests")
	_, _ = pipe.Exec(ctx) // each command has its own error
	o := Control{Initialized: born.Val() == 1}
	var err error
	if o.Pause, o.Paused, err = readPause(pause); err != nil {
		return Control{}, failed("orders", err)
	}
	if o.Resumes, err = readCount(resumes); err != nil {
		return Control{}, failed("orders", err)
	}
	if o.DigestGeneration, err = readCount(generation); err != nil {
		return Control{}, failed("orders", err)
	}
	if err := born.Err(); err != nil {
		return Control{}, failed("orders", err)
	}
	return o, nil
}

// InvalidateDigests begins a new generation of digests: for a CRM that may not hold any more what it was sent. An instance
// hears of it at its next look at the orders.
func (s *Store) InvalidateDigests(ctx context.Context) error {
	if err := s.client.Incr(ctx, s.scope+"digests").Err(); err != nil { // repeated after a lost reply it counts twice, which does no harm
		return failed("disbelieve", err)
	}
	return nil
}

func readCount(cmd *redis.StringCmd) (int64, error) {
	text, err := cmd.Result()
	if errors.Is(err, redis.Nil) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, errReply
	}
	return n, nil
}

// MarkInitialized notes that the state of the scope exists for the consumer group. While that key is
// there, Redis was not emptied since. Called again it changes nothing.
func (s *Store) MarkInitialized(ctx context.Context, group string) error {
	now := time.Now().UTC().Format(time.RFC3339)
	if err := s.client.SetNX(ctx, s.bornKey(group), now, 0).Err(); err != nil {
		return failed("bear", err)
	}
	return nil
}

func (s *Store) bornKey(group string) string {
	return s.opts.Prefix + ":born:" + sumOf("born", s.opts.Scope, group).String()
}
