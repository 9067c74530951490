package dedupetest

import (
	"errors"
	"time"

	"membersync/dedupe"
)

func controlTests() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"without any state it is zero":                      func(f *fixture) { f.view.wantControl("nothing", dedupe.Control{}) },
		"a pause, its end and each release are reported":    pauseReported,
		"each invalidation begins a generation of digests":  generationsReported,
		"a state is initialized once per scope and group":   initializedOnce,
		"a state that was emptied is no longer initialized": initializedLost,
		"a loss is marked for one incarnation":              markedLost,
		"a rebuild begins a new incarnation":                rebuildMarks,
		"an interrupted rebuild marks nothing":              rebuildInterrupted,
		"a marker of another key is recognized":             otherKey,
	}
}

func pauseReported(f *fixture) {
	f.must(f.store.Pause(f.Context(), time.Time{}, "vendor maintenance", "oncall@test"))
	f.view.wantControl("paused", dedupe.Control{Paused: true, Pause: dedupe.Pause{Note: "vendor maintenance", Actor: "oncall@test"}})
	f.must(f.store.Resume(f.Context()))
	f.view.wantControl("resumed", dedupe.Control{})
	f.must(f.store.ReleaseHeld(f.Context()))
	f.must(f.store.ReleaseHeld(f.Context()))
	f.view.wantControl("released twice", dedupe.Control{Releases: 2})
	f.must(f.store.Pause(f.Context(), time.Now().Add(time.Hour), "", ""))
	f.equal("paused again", f.view.control("group").Paused, true)
	f.equal("releases", f.view.control("group").Releases, int64(2))
	f.store = f.newStore(func(o *dedupe.Options) { o.Scope = "another" })
	f.view.wantControl("another scope", dedupe.Control{})
}

func generationsReported(f *fixture) {
	f.must(f.store.InvalidateDigests(f.Context()))
	f.must(f.store.InvalidateDigests(f.Context()))
	f.view.wantControl("invalidated twice", dedupe.Control{DigestGeneration: 2})
	f.store = f.newStore(func(o *dedupe.Options) { o.Scope = "another" })
	f.view.wantControl("another scope", dedupe.Control{})
}

func initializedOnce(f *fixture) {
	f.must(f.store.MarkInitialized(f.Context(), "group"))
	keys := f.redis.keys()
	f.equal("keys", len(keys), 1)
	f.equal("TTL", f.redis.client.PTTL(f.Context(), keys[0]).Val(), time.Duration(-1))
	first := f.view.marker("")
	f.equal("the marker", first, dedupe.Marker{Incarnation: first.Incarnation})
	f.must(f.store.MarkInitialized(f.Context(), "group"))
	f.equal("marked again", f.view.marker(), first)

	f.view.wantControl("the group", dedupe.Control{Marker: first})
	f.equal("another group", f.view.control("another"), dedupe.Control{})
	f.store = f.newStore(func(o *dedupe.Options) { o.Scope = "another" })
	f.view.wantControl("another scope", dedupe.Control{})
}

func initializedLost(f *fixture) {
	f.must(f.store.MarkInitialized(f.Context(), "group"))
	first := f.view.marker()
	f.must(f.store.ReleaseHeld(f.Context()))
	f.redis.clear()
	f.view.wantControl("emptied", dedupe.Control{})
	f.must(f.store.MarkInitialized(f.Context(), "group"))
	f.equal("a rebuild has marked it", f.view.marker("", first.Incarnation).Rebuilt, false)
}

func markedLost(f *fixture) {
	f.must(f.store.MarkInitialized(f.Context(), "group"))
	second := f.view.marker("")
	f.must(f.store.MarkLost(f.Context(), "group", "another"))
	f.equal("lost for another incarnation", f.view.marker(), second)
	f.must(f.store.MarkLost(f.Context(), "group", second.Incarnation))
	f.must(f.store.MarkLost(f.Context(), "group", second.Incarnation))
	f.equal("lost", f.view.marker(), dedupe.Marker{})
}

func rebuildMarks(f *fixture) {
	f.must(f.store.MarkInitialized(f.Context(), "group"))
	first := f.view.marker()
	id, err := f.store.BeginRebuild(f.Context(), "group")
	f.must(err)
	f.equal("during the rebuild", f.view.marker(), first)
	for range 2 { // the second one is a repetition
		f.must(f.store.EndRebuild(f.Context(), "group", id))
		m := f.view.marker("", first.Incarnation)
		f.equal("rebuilt", m, dedupe.Marker{Incarnation: m.Incarnation, Rebuilt: true})
	}
	f.equal("keys", len(f.redis.keys()), 1)
}

func rebuildInterrupted(f *fixture) {
	interrupted := func(what, id string) {
		f.Helper()
		if err := f.store.EndRebuild(f.Context(), "group", id); !errors.Is(err, dedupe.ErrRebuildInterrupted) {
			f.Errorf("%s: error %v", what, err)
		}
	}
	first, err := f.store.BeginRebuild(f.Context(), "group")
	f.must(err)
	f.redis.clear()
	interrupted("emptied during the rebuild", first)
	f.must(f.store.MarkInitialized(f.Context(), "group"))
	interrupted("emptied, and initialized since", first)
	_, err = f.store.BeginRebuild(f.Context(), "group")
	f.must(err)
	interrupted("another rebuild began", first)
	f.equal("rebuilt", f.view.marker().Rebuilt, false)
}

// otherKey: the key changes by a rebuild alone.
func otherKey(f *fixture) {
	f.must(f.store.MarkInitialized(f.Context(), "group"))
	own := f.store
	for name, key := range map[string][]byte{"another key": []byte("another key made up for tests"), "no key": nil} {
		f.store = f.newStore(func(o *dedupe.Options) { o.Key = key })
		f.equal(name, f.view.marker("").OtherKey, true)
		f.must(f.store.MarkInitialized(f.Context(), "group"))
		f.equal(name+", marked again", f.view.marker("").OtherKey, true)
	}
	id, err := f.store.BeginRebuild(f.Context(), "group")
	f.must(err)
	f.must(f.store.EndRebuild(f.Context(), "group", id))
	f.equal("after a rebuild", f.view.marker("").OtherKey, false)
	f.store = own
	f.equal("the former key", f.view.marker("").OtherKey, true)
}
