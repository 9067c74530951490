package dedupetest

import (
	"time"

	"membersync/dedupe"
)

func controlTests() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"without any state it is zero":                      func(f *fixture) { f.wantControl("nothing", dedupe.Control{}) },
		"a pause, its end and each release are reported":    pauseReported,
		"each invalidation begins a generation of digests":  generationsReported,
		"a state is initialized once per scope and group":   initializedOnce,
		"a state that was emptied is no longer initialized": initializedLost,
	}
}

func (f *fixture) control(group string) dedupe.Control {
	f.Helper()
	c, err := f.store.Control(f.Context(), group)
	f.must(err)
	return c
}

func (f *fixture) wantControl(what string, want dedupe.Control) {
	f.Helper()
	got := f.control("group")
	got.Pause.At = time.Time{}
	f.equal(what, got, want)
}

func pauseReported(f *fixture) {
	f.must(f.store.Pause(f.Context(), time.Time{}, "vendor maintenance", "oncall@test"))
	f.wantControl("paused", dedupe.Control{Paused: true, Pause: dedupe.Pause{Note: "vendor maintenance", Actor: "oncall@test"}})
	f.must(f.store.Resume(f.Context()))
	f.wantControl("resumed", dedupe.Control{})
	f.must(f.store.ReleaseHeld(f.Context()))
	f.must(f.store.ReleaseHeld(f.Context()))
	f.wantControl("released twice", dedupe.Control{Releases: 2})
	f.must(f.store.Pause(f.Context(), time.Now().Add(time.Hour), "", ""))
	f.equal("paused again", f.control("group").Paused, true)
	f.equal("releases", f.control("group").Releases, int64(2))
	f.store = f.newStore(func(o *dedupe.Options) { o.Scope = "another" })
	f.wantControl("another scope", dedupe.Control{})
}

func generationsReported(f *fixture) {
	f.must(f.store.InvalidateDigests(f.Context()))
	f.must(f.store.InvalidateDigests(f.Context()))
	f.wantControl("invalidated twice", dedupe.Control{DigestGeneration: 2})
	f.store = f.newStore(func(o *dedupe.Options) { o.Scope = "another" })
	f.wantControl("another scope", dedupe.Control{})
}

func initializedOnce(f *fixture) {
	f.must(f.store.MarkInitialized(f.Context(), "group"))
	keys := f.keys(f.Context())
	f.equal("keys", len(keys), 1)
	since := f.client.Get(f.Context(), keys[0]).Val()
	if _, err := time.Parse(time.RFC3339, since); err != nil {
		f.Errorf("the key holds %q, want a time", since)
	}
	f.equal("TTL", f.client.PTTL(f.Context(), keys[0]).Val(), time.Duration(-1))
	f.must(f.client.Set(f.Context(), keys[0], "before", 0).Err())
	f.must(f.store.MarkInitialized(f.Context(), "group"))
	f.equal("stored value", f.client.Get(f.Context(), keys[0]).Val(), "before")

	f.wantControl("the group", dedupe.Control{Initialized: true})
	f.equal("another group", f.control("another"), dedupe.Control{})
	f.store = f.newStore(func(o *dedupe.Options) { o.Scope = "another" })
	f.wantControl("another scope", dedupe.Control{})
}

func initializedLost(f *fixture) {
	f.must(f.store.MarkInitialized(f.Context(), "group"))
	f.must(f.store.ReleaseHeld(f.Context()))
	f.deleteKeys()
	f.wantControl("emptied", dedupe.Control{})
	f.must(f.store.MarkInitialized(f.Context(), "group"))
	f.wantControl("initialized again", dedupe.Control{Initialized: true})
}
