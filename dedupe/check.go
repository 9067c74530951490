package dedupe

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// ErrEviction reports that Redis may drop keys when its memory is full. A dropped lease or version
// would break the order of updates silently.
var ErrEviction = errors.New("dedupe: redis must run with maxmemory-policy noeviction")

// ErrEvictionUnknown reports that Redis is reachable but does not report its maxmemory-policy.
var ErrEvictionUnknown = errors.New("dedupe: redis does not report its maxmemory-policy")

// Check returns nil if Redis is reachable, lets the user run what the service needs, and never
// evicts a key. In a cluster it checks every master, and the permissions at one of them. See
// [PermissionError], [ErrEviction] and [ErrEvictionUnknown]. It modifies nothing.
func (s *Store) Check(ctx context.Context) error {
	if err := s.checkPermissions(ctx); err != nil {
		return failed("check", err)
	}
	if cluster, ok := s.client.(*redis.ClusterClient); ok {
		return cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error { return checkServer(ctx, c) })
	}
	return checkServer(ctx, s.client)
}

func checkServer(ctx context.Context, c redis.Cmdable) error {
	if err := c.Ping(ctx).Err(); err != nil {
		return failed("check", err)
	}
	policy, err := evictionPolicy(ctx, c)
	switch {
	case err != nil:
		return failed("check", err)
	case policy != "noeviction":
		return fmt.Errorf("%w: it is %q", ErrEviction, policy)
	}
	return nil
}

// evictionPolicy asks INFO first, and then CONFIG, which hosted servers often forbid.
func evictionPolicy(ctx context.Context, c redis.Cmdable) (string, error) {
	info, err := c.Info(ctx, "memory").Result()
	if err != nil && !isServerReply(err) {
		return "", err
	}
	for line := range strings.Lines(info) {
		if policy, ok := strings.CutPrefix(strings.TrimSpace(line), "maxmemory_policy:"); ok {
			return policy, nil
		}
	}
	config, err := c.ConfigGet(ctx, "maxmemory-policy").Result()
	if err != nil && !isServerReply(err) {
		return "", err
	}
	if policy := config["maxmemory-policy"]; policy != "" {
		return policy, nil
	}
	return "", ErrEvictionUnknown
}

// isServerReply reports whether the error is a reply from the server.
func isServerReply(err error) bool {
	_, ok := errors.AsType[redis.Error](err)
	return ok
}
