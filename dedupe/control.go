package dedupe

import (
	"context"
	"errors"
	"strconv"

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
	// Marker is that of the consumer group.
	Marker Marker
}

// Control reads the operator's requests and the marker of the consumer group, in one round trip.
func (s *ControlStore) Control(ctx context.Context, group string) (Control, error) {
	pipe := s.client.Pipeline() // in a cluster, the marker is in another slot
	pause, releases := pipe.Get(ctx, s.scope+"pause"), pipe.Get(ctx, s.scope+"releases")
	marker := pipe.Get(ctx, s.groupKey(group, "marker"))
	generation := pipe.Get(ctx, s.scope+"digests")
	_, _ = pipe.Exec(ctx) // each command has its own error
	var c Control
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
	if c.Marker, err = s.groups.readMarker(marker); err != nil {
		return Control{}, failed("control", err)
	}
	return c, nil
}

// InvalidateDigests begins a new generation of digests, for a CRM that may no longer hold what was
// sent to it. An instance learns of it when it next reads the control state.
func (s *ControlStore) InvalidateDigests(ctx context.Context) error {
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
