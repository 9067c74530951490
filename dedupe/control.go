package dedupe

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// Control is the control state, which an instance reads every few seconds.
type Control struct {
	Pause  Pause // valid when Paused
	Paused bool
	// Releases counts the calls of ReleaseHeld. A call whose reply was lost may count twice. Only an
	// increase is a request: when Redis is emptied, the count falls back to 0.
	Releases int64
	// DigestGeneration is the current generation of digests. Digests of an earlier one prove
	// nothing.
	DigestGeneration int64
	// Initialized reports that MarkInitialized was called for the group since Redis was last
	// emptied.
	Initialized bool
}

// Control reads the operator's requests, and whether the state was initialized for the consumer
// group, in one round trip.
func (s *Store) Control(ctx context.Context, group string) (Control, error) {
	pipe := s.client.Pipeline() // in a cluster, the initialized key is in another slot
	pause, releases := pipe.Get(ctx, s.scope+"pause"), pipe.Get(ctx, s.scope+"releases")
	initialized := pipe.Exists(ctx, s.initializedKey(group))
	generation := pipe.Get(ctx, s.scope+"digests")
	_, _ = pipe.Exec(ctx) // each command has its own error
	c := Control{Initialized: initialized.Val() == 1}
	var err error
	if c.Pause, c.Paused, err = readPause(pause); err != nil {
		return Control{}, failed("control", err)
	}
	if c.Releases, err = readCount(releases); err != nil {
		return Control{}, failed("control", err)
	}
	if c.DigestGeneration, err = readCount(generation); err != nil {
		return Control{}, failed("control", err)
	}
	if err := initialized.Err(); err != nil {
		return Control{}, failed("control", err)
	}
	return c, nil
}

// InvalidateDigests begins a new generation of digests, for a CRM that may no longer hold what was
// sent to it. An instance learns of it when it next reads the control state.
func (s *Store) InvalidateDigests(ctx context.Context) error {
	// A repetition after a lost reply counts twice, which does no harm.
	if err := s.client.Incr(ctx, s.scope+"digests").Err(); err != nil {
		return failed("invalidate digests", err)
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

// MarkInitialized records that the state of the scope exists for the consumer group. As long as its
// key exists, Redis has not been emptied since then. Calling it again changes nothing.
func (s *Store) MarkInitialized(ctx context.Context, group string) error {
	now := time.Now().UTC().Format(time.RFC3339)
	if err := s.client.SetNX(ctx, s.initializedKey(group), now, 0).Err(); err != nil {
		return failed("mark initialized", err)
	}
	return nil
}

// initializedName is part of the stored key and of the hash in it, so it must stay as it is.
const initializedName = "initialized"

func (s *Store) initializedKey(group string) string {
	return s.opts.Prefix + ":" + initializedName + ":" + sumOf(initializedName, s.opts.Scope, group).String()
}
