package dedupetest

import (
	"time"

	"membersync/dedupe"
)

func digestTests() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"a digest proves the value to a newer event":                         digestProves,
		"another value is sent":                                              digestOfAnotherValue,
		"unchanged keeps the digest and moves the version":                   unchangedKeepsDigest,
		"superseded keeps the digest":                                        supersededKeepsDigest,
		"a field handed out has no digest until its complete":                handedOutHasNone,
		"a field handed out without digests configured loses its digest too": handedOutWithoutKey,
		"a call that failed leaves no digest":                                failureLeavesNone,
		"what is not sent gets no digest":                                    notSentGetsNone,
		"what no done event states gets no digest":                           notDoneGetsNone,
		"a value older than the version gets no digest":                      olderGetsNone,
		"an equal version sent again gets a digest":                          equalGetsOne,
		"a digest is believed for its time":                                  digestGrowsOld,
		"another key, member or field proves nothing":                        digestOfAnother,
		"without a key there are no digests":                                 digestsOff,
		"a digest of another generation proves nothing":                      digestOfAnotherGeneration,
		"in doubt no digest proves anything":                                 digestDoubted,
	}
}

func digestProves(f *fixture) {
	f.apply(event(1, "mobile", "a", "title", "a"))
	f.equal("title alone", f.verdicts(event(2, "title", "a")), map[string]string{"title": "unchanged"})
	want := map[string]string{"mobile": "unchanged", "title": "send"}
	f.equal("verdicts", f.verdicts(event(2, "mobile", "a", "title", "b")), want)
}

func digestOfAnotherValue(f *fixture) {
	f.apply(event(1, "mobile", ""))
	f.equal("verdicts", f.verdicts(event(2, "mobile", "a")), map[string]string{"mobile": "send"})
}

func unchangedKeepsDigest(f *fixture) {
	f.apply(event(1, "mobile", "a"))
	e, token := event(2, "mobile", "a"), dedupe.NewToken()
	f.acquire(token, e)
	f.complete(dedupe.Completion{Token: token, Done: []dedupe.DoneEvent{done(e, "unchanged")}})
	f.equal("versions", f.versions(), map[string]string{"mobile": version(2)})
	f.equal("verdicts", f.verdicts(event(3, "mobile", "a")), map[string]string{"mobile": "unchanged"})
}

func supersededKeepsDigest(f *fixture) {
	f.apply(event(5, "mobile", "a"))
	e, token := event(4, "mobile", "b"), dedupe.NewToken()
	f.acquire(token, e)
	f.complete(dedupe.Completion{Token: token, Done: []dedupe.DoneEvent{done(e, "superseded")}})
	f.equal("verdicts", f.verdicts(event(6, "mobile", "a")), map[string]string{"mobile": "unchanged"})
}

func handedOutHasNone(f *fixture) {
	f.apply(event(1, "mobile", "a"))
	f.acquire(dedupe.NewToken(), event(2, "mobile", "b")) // its call may take effect, and the process die
	f.expire()
	f.equal("verdicts", f.verdicts(event(3, "mobile", "a")), map[string]string{"mobile": "send"})
}

func handedOutWithoutKey(f *fixture) {
	f.apply(event(1, "mobile", "a"))
	with := f.store
	f.store = f.newStore(func(o *dedupe.Options) { o.DigestKey = nil })
	f.apply(event(2, "mobile", "b"))
	f.store = with
	f.equal("verdicts", f.verdicts(event(3, "mobile", "a")), map[string]string{"mobile": "send"})
}

func failureLeavesNone(f *fixture) {
	f.apply(event(1, "mobile", "a"))
	e, token := event(2, "mobile", "b"), dedupe.NewToken()
	f.acquire(token, e)
	f.complete(dedupe.Completion{Token: token, Done: []dedupe.DoneEvent{done(e, "dead_lettered")}})
	f.equal("verdicts", f.verdicts(event(3, "mobile", "a")), map[string]string{"mobile": "send"})
}

func notSentGetsNone(f *fixture) {
	e, token := event(1, "mobile", "a", "title", "a"), dedupe.NewToken()
	f.acquire(token, e)
	f.complete(dedupe.Completion{Token: token, Done: []dedupe.DoneEvent{done(e, "applied")}, Sent: e.Fields[:1]})
	want := map[string]string{"mobile": "unchanged", "title": "send"}
	f.equal("verdicts", f.verdicts(event(2, "mobile", "a", "title", "a")), want)
}

func notDoneGetsNone(f *fixture) {
	e, token := event(1, "mobile", "a"), dedupe.NewToken()
	f.acquire(token, e)
	f.complete(dedupe.Completion{Token: token, Done: []dedupe.DoneEvent{done(e, "dead_lettered")}, Sent: e.Fields})
	f.equal("verdicts", f.verdicts(event(2, "mobile", "a")), map[string]string{"mobile": "send"})
}

func olderGetsNone(f *fixture) {
	f.store = f.newStore(func(o *dedupe.Options) { o.DigestKey = nil })
	f.apply(event(5, "mobile", "a"))
	f.store = f.newStore(func(*dedupe.Options) {})
	f.apply(event(4, "mobile", "b")) // no caller sends it, and none may make it look like the newest
	f.equal("verdicts", f.verdicts(event(6, "mobile", "b")), map[string]string{"mobile": "send"})
}

func equalGetsOne(f *fixture) {
	e := event(1, "mobile", "a")
	f.apply(e)
	f.must(f.client.HDel(f.Context(), f.key("fields"), "d:mobile").Err())
	f.apply(redrive(e, 1))
	f.equal("verdicts", f.verdicts(event(2, "mobile", "a")), map[string]string{"mobile": "unchanged"})
}

func digestGrowsOld(f *fixture) {
	f.store = f.newStore(func(o *dedupe.Options) { o.DigestTTL = time.Millisecond })
	f.apply(event(1, "mobile", "a"))
	// The server's clock counts, so it is the one to wait for.
	server := func() time.Time {
		now, err := f.client.Time(f.Context()).Result()
		f.must(err)
		return now
	}
	for start := server(); server().Sub(start) < 5*time.Millisecond; {
		f.must(f.Context().Err())
	}
	f.equal("verdicts", f.verdicts(event(2, "mobile", "a")), map[string]string{"mobile": "send"})
}

func digestOfAnother(f *fixture) {
	f.apply(event(1, "mobile", "a"))
	// The digest of one member, put in another's place, and then read under another key.
	digest, err := f.client.HGet(f.Context(), f.key("fields"), "d:mobile").Result()
	f.must(err)
	f.must(f.client.HSet(f.Context(), f.key("fields"), "d:gender", digest).Err())
	f.equal("another field", f.verdicts(event(2, "gender", "a")), map[string]string{"gender": "send"})
	f.member = memberNumber(2)
	f.must(f.client.HSet(f.Context(), f.key("fields"), "d:mobile", digest).Err())
	f.equal("another member", f.verdicts(event(2, "mobile", "a")), map[string]string{"mobile": "send"})
	f.member = memberNumber(1)
	f.store = f.newStore(func(o *dedupe.Options) { o.DigestKey = []byte("another key") })
	f.equal("another key", f.verdicts(event(2, "mobile", "a")), map[string]string{"mobile": "send"})
}

func digestsOff(f *fixture) {
	f.store = f.newStore(func(o *dedupe.Options) { o.DigestKey = nil })
	f.apply(event(1, "mobile", "a"))
	all, err := f.client.HGetAll(f.Context(), f.key("fields")).Result()
	f.must(err)
	f.equal("fields", all, map[string]string{"v:mobile": version(1)})
	f.equal("verdicts", f.verdicts(event(2, "mobile", "a")), map[string]string{"mobile": "send"})
}

// askUnder asks what of the events is to be sent, and gives the lease back.
func (f *fixture) askUnder(req dedupe.AcquireRequest) map[string]string {
	f.Helper()
	req.Member, req.Token = f.member, dedupe.NewToken()
	g, err := f.store.Acquire(f.Context(), req)
	f.must(err)
	f.must(f.store.Release(f.Context(), f.member, req.Token))
	return fieldVerdicts(g)
}

func digestOfAnotherGeneration(f *fixture) {
	e, token := event(1, "mobile", "a", "title", "a"), dedupe.NewToken()
	f.acquire(token, e)
	f.complete(dedupe.Completion{Token: token, Done: []dedupe.DoneEvent{done(e, "applied")}, Sent: e.Fields, DigestGeneration: 7})
	next := []dedupe.Event{event(2, "mobile", "a")}
	f.equal("the same", f.askUnder(dedupe.AcquireRequest{Events: next, DigestGeneration: 7}), map[string]string{"mobile": "unchanged"})
	f.equal("a newer one", f.askUnder(dedupe.AcquireRequest{Events: next, DigestGeneration: 8}), map[string]string{"mobile": "send"})
	next = []dedupe.Event{event(2, "title", "a")}
	f.equal("an older one", f.askUnder(dedupe.AcquireRequest{Events: next, DigestGeneration: 6}), map[string]string{"title": "send"})
}

func digestDoubted(f *fixture) {
	f.apply(event(1, "mobile", "a"))
	next := []dedupe.Event{event(2, "mobile", "a")}
	f.equal("without doubt", f.askUnder(dedupe.AcquireRequest{Events: next}), map[string]string{"mobile": "unchanged"})
	f.equal("in doubt", f.askUnder(dedupe.AcquireRequest{Events: next, DistrustDigests: true}), map[string]string{"mobile": "send"})
}
