package dedupetest

import (
	"context"
	"encoding/hex"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"membersync/dedupe"
)

// stored is what Redis holds of a test and of its member, read and changed past the store.
type stored struct {
	f      *fixture
	client redis.UniversalClient
}

func (s stored) key(name string) string {
	return s.f.opts.Prefix + ":{" + s.f.store.MemberHash(s.f.member) + "}:" + name
}

// ttl returns for how long a key of the member lives; negative: forever, or it does not exist.
func (s stored) ttl(name string) time.Duration {
	return s.client.PTTL(s.f.Context(), s.key(name)).Val()
}

// wantTTL checks for how long a key of the member lives, to a minute; 0: forever.
func (s stored) wantTTL(name string, want time.Duration) {
	s.f.Helper()
	got := s.ttl(name)
	if want == 0 && got != -1 || want > 0 && (got <= want-time.Minute || got > want) {
		s.f.Errorf("key %s has a TTL of %v, want %v", name, got, want)
	}
}

// expireIn changes for how long a key of the member lives.
func (s stored) expireIn(name string, ttl time.Duration) {
	s.f.Helper()
	if !s.client.PExpire(s.f.Context(), s.key(name), ttl).Val() {
		s.f.Fatalf("no key %s is stored", name)
	}
}

// expireLease deletes the lease, as its TTL does.
func (s stored) expireLease() {
	s.f.Helper()
	s.f.must(s.client.Del(s.f.Context(), s.key("lease")).Err())
}

// holder returns the token that owns the lease, or an empty token.
func (s stored) holder() dedupe.Token {
	s.f.Helper()
	return dedupe.Token(s.client.Get(s.f.Context(), s.key("lease")).Val())
}

// versions returns the stored versions by field.
func (s stored) versions() map[string]string {
	s.f.Helper()
	all, err := s.client.HGetAll(s.f.Context(), s.key("f")).Result()
	s.f.must(err)
	return versionsOf(all)
}

func versionsOf(stored map[string]string) map[string]string {
	versions := map[string]string{}
	for name, v := range stored {
		if field, ok := strings.CutPrefix(name, "v:"); ok {
			versions[field] = hex.EncodeToString([]byte(v)) // two digits in each byte
		}
	}
	return versions
}

func (s stored) setDigest(field, digest string) {
	s.f.Helper()
	s.f.must(s.client.HSet(s.f.Context(), s.key("f"), "d:"+field, digest).Err())
}

// wantCompact checks how the server stores the fields, at its default settings: one value of more
// than 64 bytes would make a hash table of them, which takes several times as much memory.
func (s stored) wantCompact() {
	s.f.Helper()
	encoding, err := s.client.ObjectEncoding(s.f.Context(), s.key("f")).Result()
	if err != nil && strings.Contains(err.Error(), "unknown") {
		return // miniredis knows no encodings
	}
	s.f.must(err)
	if encoding != "listpack" && encoding != "ziplist" { // the latter before Redis 7
		s.f.Errorf("the fields are a %s", encoding)
	}
}

// A mark is what the done marks say of one event.
type mark struct {
	redrive int
	entries int // of all events of its name
}

// markBytes is the size of an entry without a redrive number, of an outcome that has a code.
const markBytes = 20

// mark returns what is stored of the event. Not ok: nothing.
func (s stored) mark(e dedupe.Event) (m mark, ok bool) {
	s.f.Helper()
	name, _ := s.f.store.EventHash(e.ID)
	return s.markIn(s.client.HGet(s.f.Context(), s.key("d"), name).Val(), e)
}

func (s stored) markIn(stored string, e dedupe.Event) (m mark, ok bool) {
	s.f.Helper()
	_, id := s.f.store.EventHash(e.ID)
	_, rest, ok := strings.Cut(stored, id)
	if kind := markBytes - len(id) - 1; ok && rest[kind]&8 != 0 {
		m.redrive = int(rest[kind+1])<<8 | int(rest[kind+2])
	}
	m.entries = len(stored) / markBytes
	return m, ok
}

// eachServer runs fn on each server that stores keys.
func (s stored) eachServer(ctx context.Context, fn func(context.Context, redis.Cmdable) error) error {
	if cluster, ok := s.client.(*redis.ClusterClient); ok {
		return cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error { return fn(ctx, c) })
	}
	return fn(ctx, s.client)
}

func (s stored) flushScripts() {
	s.f.Helper()
	s.f.must(s.eachServer(s.f.Context(), func(ctx context.Context, c redis.Cmdable) error { return c.ScriptFlush(ctx).Err() }))
}

// keys lists the keys of the test.
func (s stored) keys() []string {
	s.f.Helper()
	ctx := context.WithoutCancel(s.f.Context())
	var mu sync.Mutex
	var keys []string
	err := s.eachServer(ctx, func(ctx context.Context, c redis.Cmdable) error {
		iter := c.Scan(ctx, 0, s.f.opts.Prefix+"*", 1000).Iterator()
		for iter.Next(ctx) {
			mu.Lock()
			keys = append(keys, iter.Val())
			mu.Unlock()
		}
		return iter.Err()
	})
	s.f.must(err)
	return keys
}

// clear deletes the keys of the test.
func (s stored) clear() {
	ctx := context.WithoutCancel(s.f.Context())
	for _, key := range s.keys() {
		s.f.must(s.client.Del(ctx, key).Err())
	}
}

// dump returns all keys of the test and their contents.
func (s stored) dump() string {
	s.f.Helper()
	ctx := s.f.Context()
	var all []string
	for _, key := range s.keys() {
		all = append(all, key)
		switch kind := s.client.Type(ctx, key).Val(); kind {
		case "string":
			all = append(all, s.client.Get(ctx, key).Val())
		case "hash":
			for name, value := range s.client.HGetAll(ctx, key).Val() {
				all = append(all, name, value)
			}
		case "zset":
			all = append(all, s.client.ZRange(ctx, key, 0, -1).Val()...)
		default:
			s.f.Errorf("a key has the unexpected type %s", kind)
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}
