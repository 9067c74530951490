package dedupetest

import (
	"time"

	"membersync/dedupe"
)

func heartbeatTests() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"each instance has one, and each group its own": heartbeatsPerInstance,
		"an old one is neither returned nor kept":       heartbeatsExpire,
	}
}

func heartbeatsPerInstance(f *fixture) {
	f.equal("no instance", f.view.beats("group"), map[string]dedupe.Heartbeat{})
	since := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	first := dedupe.Heartbeat{
		ID: "one", Host: "host-1", Version: "0.1.0", Since: since, Partitions: 3, InFlight: 2, Held: 7, Storm: true,
		Causes: []dedupe.PauseCause{{Cause: "redis", Since: since}},
	}
	f.must(f.store.Beat(f.Context(), "group", dedupe.Heartbeat{ID: "one", Since: since}))
	f.must(f.store.Beat(f.Context(), "group", dedupe.Heartbeat{ID: "two", Since: since}))
	f.must(f.store.Beat(f.Context(), "group", first))
	f.equal("the latest of each", f.view.beats("group"), map[string]dedupe.Heartbeat{"one": first, "two": {ID: "two", Since: since}})
	f.equal("another group", f.view.beats("another"), map[string]dedupe.Heartbeat{})
	f.store = f.newStore(func(o *dedupe.Options) { o.Scope = "another" })
	f.equal("another scope", f.view.beats("group"), map[string]dedupe.Heartbeat{})
}

func heartbeatsExpire(f *fixture) {
	f.must(f.store.Beat(f.Context(), "group", dedupe.Heartbeat{ID: "one"}))
	key := f.redis.keys()[0]
	ttl := f.redis.client.PTTL(f.Context(), key).Val()
	if ttl <= dedupe.HeartbeatTTL-time.Minute || ttl > dedupe.HeartbeatTTL {
		f.Errorf("TTL %v, want %v", ttl, dedupe.HeartbeatTTL)
	}
	text := f.redis.client.HGet(f.Context(), key, "one").Val()
	f.must(f.redis.client.HSet(f.Context(), key, "one", "1000:"+text[len(text)-2:]).Err())
	f.equal("an old one", f.view.beats("group"), map[string]dedupe.Heartbeat{})
	f.must(f.store.Beat(f.Context(), "group", dedupe.Heartbeat{ID: "two"}))
	f.equal("is removed by the next", f.redis.client.HLen(f.Context(), key).Val(), int64(1))
}
