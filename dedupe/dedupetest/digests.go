package dedupetest

import (
	"encoding/hex"
	"time"

	"membersync/dedupe"
)

func digestTests() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"a digest proves the value to a newer event":          digestProves,
		"another value is sent":                               digestOfAnotherValue,
		"unchanged keeps the digest and moves the version":    unchangedKeepsDigest,
		"superseded keeps the digest":                         supersededKeepsDigest,
		"a field handed out has no digest until its complete": handedOutHasNone,
		"a call that failed leaves no digest":                 failureLeavesNone,
		"a field not sent gets no digest":                     notSentGetsNone,
		"a field that no done event states gets no digest":    notDoneGetsNone,
		"a value older than the version gets no digest":       olderGetsNone,
		"an equal version sent again gets a digest":           equalGetsOne,
		"a digest is trusted for its TTL":                     digestGrowsOld,
		"another key, member or field proves nothing":         digestOfAnother,
		"without a key there are no digests":                  digestsOff,
		"a digest of another generation proves nothing":       digestOfAnotherGeneration,
		"a distrusted digest proves nothing":                  digestDistrusted,
		"a late completion leaves no digest of what it sent":  lateLeavesNone,
	}
}

func digestProves(f *fixture) {
	f.apply(event(1, "mobile", "a", "title", "a"))
	f.equal("title alone", f.decisions(event(2, "title", "a")), map[string]string{"title": "unchanged"})
	want := map[string]string{"mobile": "unchanged", "title": "send"}
	f.equal("decisions", f.decisions(event(2, "mobile", "a", "title", "b")), want)
}

func digestOfAnotherValue(f *fixture) {
	f.apply(event(1, "mobile", ""))
	f.equal("decisions", f.decisions(event(2, "mobile", "a")), map[string]string{"mobile": "send"})
}

func unchangedKeepsDigest(f *fixture) {
	f.apply(event(1, "mobile", "a"))
	e := event(2, "mobile", "a")
	f.finish(e, "unchanged")
	f.equal("versions", f.redis.versions(), map[string]string{"mobile": version(2)})
	f.equal("decisions", f.decisions(event(3, "mobile", "a")), map[string]string{"mobile": "unchanged"})
}

func supersededKeepsDigest(f *fixture) {
	f.apply(event(5, "mobile", "a"))
	e := event(4, "mobile", "b")
	f.finish(e, "superseded")
	f.equal("decisions", f.decisions(event(6, "mobile", "a")), map[string]string{"mobile": "unchanged"})
}

func handedOutHasNone(f *fixture) {
	f.apply(event(1, "mobile", "a"))
	// Its call may take effect before the process crashes.
	f.acquire(dedupe.NewToken(), event(2, "mobile", "b"))
	f.redis.expireLease()
	f.equal("decisions", f.decisions(event(3, "mobile", "a")), map[string]string{"mobile": "send"})
}

func failureLeavesNone(f *fixture) {
	f.apply(event(1, "mobile", "a"))
	e := event(2, "mobile", "b")
	f.finish(e, "dead_lettered")
	f.equal("decisions", f.decisions(event(3, "mobile", "a")), map[string]string{"mobile": "send"})
}

func lateLeavesNone(f *fixture) {
	stalled, next := dedupe.NewToken(), dedupe.NewToken()
	old, newer := event(1, "mobile", "old"), event(2, "mobile", "new", "title", "a")
	f.acquire(stalled, old)
	f.redis.expireLease()
	f.acquire(next, newer, old)
	f.complete(applied(next, newer))
	late := f.completeLate(applied(stalled, old))
	f.equal("late", late, true)
	// The CRM may hold the old value now. What the late call did not send is known as before.
	want := map[string]string{"mobile": "send", "title": "unchanged"}
	f.equal("decisions", f.decisions(event(3, "mobile", "new", "title", "a")), want)
}

func notSentGetsNone(f *fixture) {
	e, token := event(1, "mobile", "a", "title", "a"), dedupe.NewToken()
	f.acquire(token, e)
	f.complete(dedupe.Completion{Token: token, Done: []dedupe.DoneEvent{done(e, "applied")}, Sent: e.Fields[:1]})
	want := map[string]string{"mobile": "unchanged", "title": "send"}
	f.equal("decisions", f.decisions(event(2, "mobile", "a", "title", "a")), want)
}

func notDoneGetsNone(f *fixture) {
	e, token := event(1, "mobile", "a"), dedupe.NewToken()
	f.acquire(token, e)
	f.complete(dedupe.Completion{Token: token, Done: []dedupe.DoneEvent{done(e, "dead_lettered")}, Sent: e.Fields})
	f.equal("decisions", f.decisions(event(2, "mobile", "a")), map[string]string{"mobile": "send"})
}

func olderGetsNone(f *fixture) {
	f.apply(event(5, "mobile", "a"))
	f.must(f.redis.client.HDel(f.Context(), f.redis.key("f"), "d:mobile").Err())
	// No caller sends it, and a caller must not be able to make it look like the newest.
	f.apply(event(4, "mobile", "b"))
	f.equal("decisions", f.decisions(event(6, "mobile", "b")), map[string]string{"mobile": "send"})
}

func equalGetsOne(f *fixture) {
	e := event(1, "mobile", "a")
	f.apply(e)
	f.must(f.redis.client.HDel(f.Context(), f.redis.key("f"), "d:mobile").Err())
	f.apply(redrive(e, 1))
	f.equal("decisions", f.decisions(event(2, "mobile", "a")), map[string]string{"mobile": "unchanged"})
}

func digestGrowsOld(f *fixture) {
	f.store = f.newStore(func(o *dedupe.Options) { o.DigestTTL = time.Millisecond })
	f.apply(event(1, "mobile", "a"))
	// The server's clock decides, so the test waits for that clock.
	server := func() time.Time {
		now, err := f.redis.client.Time(f.Context()).Result()
		f.must(err)
		return now
	}
	for start := server(); server().Sub(start) < 5*time.Millisecond; {
		f.must(f.Context().Err())
	}
	f.equal("decisions", f.decisions(event(2, "mobile", "a")), map[string]string{"mobile": "send"})
}

func digestOfAnother(f *fixture) {
	f.apply(event(1, "mobile", "a"))
	// The digest of one member is stored for another member, and for a member under another key.
	digest, err := f.redis.client.HGet(f.Context(), f.redis.key("f"), "d:mobile").Result()
	f.must(err)
	f.redis.setDigest("gender", digest)
	f.equal("another field", f.decisions(event(2, "gender", "a")), map[string]string{"gender": "send"})
	f.member = memberNumber(2)
	f.redis.setDigest("mobile", digest)
	f.equal("another member", f.decisions(event(2, "mobile", "a")), map[string]string{"mobile": "send"})
	f.member = memberNumber(1)
	f.store = f.newStore(func(o *dedupe.Options) { o.Key = []byte("another key") })
	f.redis.setDigest("mobile", digest)
	f.equal("another key", f.decisions(event(2, "mobile", "a")), map[string]string{"mobile": "send"})
}

func digestsOff(f *fixture) {
	f.store = f.newStore(func(o *dedupe.Options) { o.Key = nil })
	f.apply(event(1, "mobile", "a"))
	all, err := f.redis.client.HGetAll(f.Context(), f.redis.key("f")).Result()
	f.must(err)
	packed := func(digits string) string {
		b, err := hex.DecodeString(digits)
		f.must(err)
		return string(b)
	}
	f.equal("fields", all, map[string]string{"v:mobile": packed(version(1))})
	f.equal("decisions", f.decisions(event(2, "mobile", "a")), map[string]string{"mobile": "send"})
}

func digestOfAnotherGeneration(f *fixture) {
	e, token := event(1, "mobile", "a", "title", "a"), dedupe.NewToken()
	f.acquire(token, e)
	f.complete(dedupe.Completion{Token: token, Done: []dedupe.DoneEvent{done(e, "applied")}, Sent: e.Fields, DigestGeneration: 7})
	next := []dedupe.Event{event(2, "mobile", "a")}
	f.equal("the same generation", f.decisionsOf(dedupe.AcquireRequest{Events: next, DigestGeneration: 7}), map[string]string{"mobile": "unchanged"})
	f.equal("a newer generation", f.decisionsOf(dedupe.AcquireRequest{Events: next, DigestGeneration: 8}), map[string]string{"mobile": "send"})
	next = []dedupe.Event{event(2, "title", "a")}
	f.equal("an older generation", f.decisionsOf(dedupe.AcquireRequest{Events: next, DigestGeneration: 6}), map[string]string{"title": "send"})
}

func digestDistrusted(f *fixture) {
	f.apply(event(1, "mobile", "a"))
	next := []dedupe.Event{event(2, "mobile", "a")}
	f.equal("trusted", f.decisionsOf(dedupe.AcquireRequest{Events: next}), map[string]string{"mobile": "unchanged"})
	f.equal("distrusted", f.decisionsOf(dedupe.AcquireRequest{Events: next, DistrustDigests: true}), map[string]string{"mobile": "send"})
}
