package wiring

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"membersync/mapper"
)

// ErrNoHash means that the key of a lookup holds something else than a hash.
var ErrNoHash = errors.New("is no hash")

// Hashes are the lookups that are kept in Redis. They are safe for concurrent use.
type Hashes struct {
	client redis.UniversalClient
	keys   map[string]string // by the names of the lookups
}

// NewHashes returns the lookups of a mapping that Redis holds, and false if there is none.
func NewHashes(m *mapper.Mapping, client redis.UniversalClient) (*Hashes, bool) {
	h := &Hashes{client: client, keys: map[string]string{}}
	for _, l := range m.Lookups() {
		if l.Redis != "" {
			h.keys[l.Name] = l.Redis
		}
	}
	return h, len(h.keys) > 0
}

// Find asks for all references at once, and returns those that are there. An entry that is empty
// counts as none.
func (h *Hashes) Find(ctx context.Context, refs []mapper.Reference) (map[mapper.Reference]string, error) {
	pipe := h.client.Pipeline()
	answers := make([]*redis.StringCmd, len(refs))
	for i, ref := range refs {
		answers[i] = pipe.HGet(ctx, h.keys[ref.Lookup], ref.Key)
	}
	_, _ = pipe.Exec(ctx) // each answer has its own error
	found := make(map[mapper.Reference]string, len(refs))
	for i, ref := range refs {
		value, err := answers[i].Result()
		switch {
		case errors.Is(err, redis.Nil):
		case err != nil:
			return nil, fmt.Errorf("lookup %s: %w", ref.Lookup, err)
		case value != "":
			found[ref] = value
		}
	}
	return found, nil
}

// Check looks whether the lookups are hashes, or not there yet. It modifies nothing.
func (h *Hashes) Check(ctx context.Context) error {
	for name, key := range h.keys {
		switch kind, err := h.client.Type(ctx, key).Result(); {
		case err != nil:
			return fmt.Errorf("lookup %s: %w", name, err)
		case kind != "hash" && kind != "none":
			return fmt.Errorf("lookup %s: key %q in Redis %w", name, key, ErrNoHash)
		}
	}
	return nil
}
