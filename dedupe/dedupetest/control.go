package dedupetest

import (
	"time"

	"membersync/dedupe"
)

func orderTests() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"without orders and state there are none":       func(f *fixture) { f.wantOrders("nothing", dedupe.Control{}) },
		"a pause, its end and each resume are told":     ordersTold,
		"each disbelief begins a generation of digests": generationsTold,
		"a state is born once for each scope and group": bornOnce,
		"a state that was emptied is not born":          bornLost,
	}
}

func (f *fixture) orders(group string) dedupe.Control {
	f.Helper()
	o, err := f.store.Control(f.Context(), group)
	f.must(err)
	return o
}

func (f *fixture) wantOrders(what string, want dedupe.Control) {
	f.Helper()
	got := f.orders("group")
	got.Pause.At = time.Time{}
	f.equal(what, got, want)
}

func ordersTold(f *fixture) {
	f.must(f.store.Pause(f.Context(), time.Time{}, "vendor maintenance", "oncall@test"))
	f.wantOrders("paused", dedupe.Control{Paused: true, Pause: dedupe.Pause{Note: "vendor maintenance", Actor: "oncall@test"}})
	f.must(f.store.Resume(f.Context()))
	f.wantOrders("resumed", dedupe.Control{Resumes: 1})
	f.must(f.store.Resume(f.Context()))
	f.wantOrders("resumed without a pause", dedupe.Control{Resumes: 2})
	f.must(f.store.Pause(f.Context(), time.Now().Add(time.Hour), "", ""))
	f.equal("paused again", f.orders("group").Paused, true)
	f.equal("resumes", f.orders("group").Resumes, int64(2))
	f.store = f.newStore(func(o *dedupe.Options) { o.Scope = "another" })
	f.wantOrders("another scope", dedupe.Control{})
}

func generationsTold(f *fixture) {
	f.must(f.store.InvalidateDigests(f.Context()))
	f.must(f.store.InvalidateDigests(f.Context()))
	f.wantOrders("disbelieved", dedupe.Control{DigestGeneration: 2})
	f.store = f.newStore(func(o *dedupe.Options) { o.Scope = "another" })
	f.wantOrders("another scope", dedupe.Control{})
}

func bornOnce(f *fixture) {
	f.must(f.store.MarkInitialized(f.Context(), "group"))
	keys := f.keys(f.Context())
	f.equal("keys", len(keys), 1)
	since := f.client.Get(f.Context(), keys[0]).Val()
	if _, err := time.Parse(time.RFC3339, since); err != nil {
		f.Errorf("the key holds %q, want a time", since)
	}
	f.equal("lives", f.client.PTTL(f.Context(), keys[0]).Val(), time.Duration(-1))
	f.must(f.client.Set(f.Context(), keys[0], "before", 0).Err())
	f.must(f.store.MarkInitialized(f.Context(), "group"))
	f.equal("born", f.client.Get(f.Context(), keys[0]).Val(), "before")

	f.wantOrders("the group", dedupe.Control{Initialized: true})
	f.equal("another group", f.orders("another"), dedupe.Control{})
	f.store = f.newStore(func(o *dedupe.Options) { o.Scope = "another" })
	f.wantOrders("another scope", dedupe.Control{})
}

func bornLost(f *fixture) {
	f.must(f.store.MarkInitialized(f.Context(), "group"))
	f.must(f.store.Resume(f.Context()))
	f.deleteKeys()
	f.wantOrders("emptied", dedupe.Control{})
	f.must(f.store.MarkInitialized(f.Context(), "group"))
	f.wantOrders("born again", dedupe.Control{Initialized: true})
}
