package dedupetest

import (
	"strings"

	"membersync/dedupe"
)

func keyTests() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"under a key no identity can be guessed":         identitiesKeyed,
		"without a key identities are plain hashes":      identitiesPlain,
		"another key finds nothing of what was stored":   keyOfAnother,
		"pause, limit and lock do not depend on the key": keyless,
	}
}

// A guess is a part of an identity that a reader of Redis can compute who knows or guesses the ids.
func guesses(f *fixture, e dedupe.Event) []string {
	plain := f.newStore(func(o *dedupe.Options) { o.Key = nil })
	name, id := plain.EventHash(e.ID)
	return []string{plain.MemberHash(f.member), name, id}
}

// storeAll stores something of each kind: lease, versions, digests, pending values and a done mark.
func storeAll(f *fixture) dedupe.Event {
	f.Helper()
	e := event(1, "mobile", "a")
	f.apply(e)
	f.acquire(dedupe.NewToken(), event(2, "mobile", "b"))
	return e
}

func identitiesKeyed(f *fixture) {
	e := storeAll(f)
	stored := f.redis.dump()
	for _, guess := range guesses(f, e) {
		if strings.Contains(stored, guess) {
			f.Errorf("Redis holds the plain hash %q", guess)
		}
	}
}

func identitiesPlain(f *fixture) {
	f.store = f.newStore(func(o *dedupe.Options) { o.Key = nil })
	e := storeAll(f)
	stored := f.redis.dump()
	for _, guess := range guesses(f, e) {
		if !strings.Contains(stored, guess) {
			f.Errorf("Redis does not hold the hash %q", guess)
		}
	}
}

func keyOfAnother(f *fixture) {
	e := event(1, "mobile", "a")
	f.apply(e)
	f.store = f.newStore(func(o *dedupe.Options) { o.Key = []byte("another key made up for tests") })
	f.equal("the event", f.view.outcomes(e), []dedupe.EventGrant{{}})
	f.equal("decisions", f.decisions(event(0, "mobile", "b")), map[string]string{"mobile": "send"})
}

func keyless(f *fixture) {
	f.must(f.store.ReleaseHeld(f.Context()))
	unlock, err := f.store.NewLock("token").Lock(f.Context())
	f.must(err)
	defer unlock()
	limit := dedupe.PermitRequest{ID: "a", Limit: 1, Window: f.opts.DoneTTL, Hold: f.opts.Lease}
	_, _, _, err = f.store.Permit(f.Context(), limit)
	f.must(err)
	before := len(f.redis.keys())
	f.store = f.newStore(func(o *dedupe.Options) { o.Key = []byte("another key made up for tests") })
	f.equal("releases", f.view.control("group").Releases, int64(1))
	limit.ID = "b"
	granted, _, _, err := f.store.Permit(f.Context(), limit)
	f.must(err)
	f.equal("another permit is granted", granted, false)
	f.must(f.store.ReleaseHeld(f.Context()))
	f.equal("keys that were added", len(f.redis.keys())-before, 1) // the rank that waits
}
