package dedupe

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"
)

// A Marker says that the state of a consumer group exists, and which one it is. While it stays the
// same, Redis was not emptied. The zero Marker: there is none.
type Marker struct {
	// Incarnation is random. Another one than before means that the state was lost in between, and
	// marked or rebuilt again; empty: there is no marker.
	Incarnation string
	// Rebuilt: a rebuild has written the marker, so nothing is missing.
	Rebuilt bool
	// OtherKey: the state was written under another state key, or under none while there is one now.
	OtherKey bool
}

// Exists reports whether there is a marker.
func (m Marker) Exists() bool { return m.Incarnation != "" }

// ErrRebuildInterrupted reports that the state was lost again during a rebuild, or that another
// rebuild began.
var ErrRebuildInterrupted = errors.New("dedupe: the state was lost again during the rebuild, or another rebuild began; run it again")

const (
	markerNew     = "new"
	markerRebuilt = "rebuilt"
)

// Marker reads the marker of a consumer group.
func (s *GroupStore) Marker(ctx context.Context, group string) (Marker, error) {
	m, err := s.readMarker(s.client.Get(ctx, s.groupKey(group, "marker")))
	if err != nil {
		return Marker{}, failed("marker", err)
	}
	return m, nil
}

// readMarker reads incarnation:kind:fingerprint:format.
func (s *GroupStore) readMarker(cmd *redis.StringCmd) (Marker, error) {
	text, err := cmd.Result()
	if errors.Is(err, redis.Nil) {
		return Marker{}, nil
	}
	if err != nil {
		return Marker{}, err
	}
	parts := strings.Split(text, ":")
	if len(parts) < 3 || parts[0] == "" {
		return Marker{}, errReply
	}
	if len(parts) != 4 || parts[3] != stateFormat {
		return Marker{}, ErrFormat
	}
	return Marker{Incarnation: parts[0], Rebuilt: parts[1] == markerRebuilt, OtherKey: parts[2] != s.fingerprint()}, nil
}

// fingerprint identifies the state key without saying anything about it.
func (s *GroupStore) fingerprint() string {
	if len(s.opts.Key) == 0 {
		return "none"
	}
	return hex.EncodeToString(s.hasher().sum("fingerprint", make([]byte, 16)))
}

func (s *GroupStore) newMarker(kind string) string {
	return strings.Join([]string{rand.Text(), kind, s.fingerprint(), stateFormat}, ":")
}

// MarkInitialized records that the state exists for a consumer group that begins. If there is a
// marker, nothing changes.
func (s *GroupStore) MarkInitialized(ctx context.Context, group string) error {
	if err := s.client.SetNX(ctx, s.groupKey(group, "marker"), s.newMarker(markerNew), 0).Err(); err != nil {
		return failed("mark initialized", err)
	}
	return nil
}

// markLostLua removes the marker of one incarnation only: a rebuild may have replaced it since.
const markLostLua = `
local marker = redis.call('GET', KEYS[1])
if marker and string.match(marker, '^[^:]*') == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`

// MarkLost removes the marker of an incarnation, for a process that knows that the state was lost
// before that incarnation began. Then every process knows it, also after a restart.
func (s *GroupStore) MarkLost(ctx context.Context, group, incarnation string) error {
	err := s.scripts.markLost.Run(ctx, s.client, []string{s.groupKey(group, "marker")}, incarnation).Err()
	if err != nil {
		return failed("mark lost", err)
	}
	return nil
}

// BeginRebuild begins a rebuild of the group's state. The rebuild is passed to EndRebuild once all
// members are restored.
func (s *GroupStore) BeginRebuild(ctx context.Context, group string) (rebuild string, err error) {
	rebuild = s.newMarker(markerRebuilt)
	if err := s.client.Set(ctx, s.groupKey(group, "rebuild"), rebuild, 0).Err(); err != nil {
		return "", failed("begin rebuild", err)
	}
	return rebuild, nil
}

// endRebuildLua writes the marker if the rebuild is the one that began last, and if Redis was not
// emptied since. A repetition after a lost reply finds the marker.
const endRebuildLua = `
if redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return redis.call('GET', KEYS[1]) == ARGV[1] and 1 or 0
end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('DEL', KEYS[2])
return 1`

// EndRebuild writes a new marker with the fingerprint of this store's key. It fails with
// [ErrRebuildInterrupted] if the state was lost since BeginRebuild: part of what was restored is
// gone then.
func (s *GroupStore) EndRebuild(ctx context.Context, group, rebuild string) error {
	keys := []string{s.groupKey(group, "marker"), s.groupKey(group, "rebuild")}
	n, err := s.scripts.endRebuild.Run(ctx, s.client, keys, rebuild).Int()
	switch {
	case err != nil:
		return failed("end rebuild", err)
	case n == 0:
		return ErrRebuildInterrupted
	}
	return nil
}

// groupKey returns a key of a consumer group within the scope. It does not depend on the state key,
// which has its fingerprint in the marker.
func (s *keyspace) groupKey(group, name string) string {
	return s.opts.Prefix + ":{state:" + sumOf("state", s.opts.Scope, group).String() + "}:" + name
}
