package dedupetest

import (
	"time"

	"membersync/dedupe"
)

func expiryTests() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"versions never expire without a member TTL":          versionsStay,
		"a completion renews the versions":                    completionRenews,
		"a dead letter renews versions that it does not move": deadLetterRenews,
		"a restore renews the versions":                       restoreRenews,
		"a late completion renews nothing":                    lateRenewsNothing,
		"a member TTL that is raised or removed is corrected": expiryIsCorrected,
		"versions do not expire before the done marks":        marksExpireFirst,
	}
}

// memberTTL differs from the other TTLs of a fixture.
const memberTTL = 3 * time.Hour

// expiring gives a store a member TTL.
func expiring(ttl time.Duration) func(*dedupe.Options) {
	return func(o *dedupe.Options) { o.MemberTTL = ttl }
}

func versionsStay(f *fixture) {
	f.apply(event(1, "mobile", "a"))
	f.redis.wantTTL("f", 0)
	f.restore(done(event(2, "mobile", "b"), "applied"))
	f.redis.wantTTL("f", 0)
}

func completionRenews(f *fixture) {
	f.store = f.newStore(expiring(memberTTL))
	f.apply(event(1, "mobile", "a"))
	f.redis.wantTTL("f", memberTTL)
	f.redis.expireIn("f", time.Minute)
	f.apply(event(2, "title", "a"))
	f.redis.wantTTL("f", memberTTL)
	f.equal("versions", f.redis.versions(), map[string]string{"mobile": version(1), "title": version(2)})
}

func deadLetterRenews(f *fixture) {
	f.store = f.newStore(expiring(memberTTL))
	f.apply(event(5, "mobile", "a"))
	for what, fail := range map[string]func(dedupe.Event) dedupe.DoneEvent{
		"dead-lettered": func(e dedupe.Event) dedupe.DoneEvent { return done(e, "dead_lettered") },
		"held": func(e dedupe.Event) dedupe.DoneEvent {
			return dedupe.DoneEvent{ID: e.ID, Held: &dedupe.Held{Reason: "crm_invalid"}}
		},
	} {
		f.Log(what)
		f.redis.expireIn("f", time.Minute)
		older, token := event(4, "mobile", "b", "title", "b"), dedupe.NewToken()
		older.TryHeld, older.Redrive = true, 1
		f.acquire(token, older)
		f.complete(dedupe.Completion{Token: token, Done: []dedupe.DoneEvent{fail(older)}})
		f.redis.wantTTL("f", memberTTL)
	}
}

func restoreRenews(f *fixture) {
	f.store = f.newStore(expiring(memberTTL))
	f.restore(done(event(2, "mobile", "a"), "applied"))
	f.redis.wantTTL("f", memberTTL)
	f.redis.expireIn("f", time.Minute)
	f.restore(done(event(1, "mobile", "b"), "superseded")) // moves nothing
	f.redis.wantTTL("f", memberTTL)
}

func lateRenewsNothing(f *fixture) {
	f.store = f.newStore(expiring(memberTTL))
	f.apply(event(1, "mobile", "a"))
	f.redis.expireIn("f", time.Minute)
	e, token := event(2, "mobile", "b"), dedupe.NewToken()
	f.acquire(token, e)
	f.redis.expireLease()
	f.equal("late", f.completeLate(applied(token, e)), true)
	f.redis.wantTTL("f", time.Minute)
}

func expiryIsCorrected(f *fixture) {
	for _, correct := range []func(dedupe.Event){
		func(e dedupe.Event) { f.apply(e) },
		func(e dedupe.Event) { f.restore(done(e, "applied")) },
	} {
		f.store = f.newStore(expiring(memberTTL))
		f.apply(event(1, "mobile", "a"))
		f.store = f.newStore(expiring(2 * memberTTL))
		correct(event(2, "mobile", "b"))
		f.redis.wantTTL("f", 2*memberTTL)
		f.store = f.newStore(expiring(0))
		correct(event(3, "mobile", "c"))
		f.redis.wantTTL("f", 0)
		f.must(f.store.Forget(f.Context(), f.member, event(1).ID, event(2).ID, event(3).ID))
	}
}

// A mark without versions would keep the newest value out when a replay has let an older one in. So
// many events take Redis some milliseconds, which must not come between the two expiries.
func marksExpireFirst(f *fixture) {
	f.store = f.newStore(expiring(f.opts.DoneTTL))
	const many = 3000
	completed := dedupe.Completion{Token: dedupe.NewToken()}
	var restored []dedupe.DoneEvent
	for n := range many {
		completed.Done = append(completed.Done, done(event(n, "mobile", "a"), "superseded"))
		restored = append(restored, done(event(many+n, "mobile", "a"), "superseded"))
	}
	f.acquire(completed.Token, event(0, "mobile", "a"))
	for what, write := range map[string]func(){
		"completed": func() { f.complete(completed) },
		"restored":  func() { f.restore(restored...) },
	} {
		write()
		versions := f.redis.ttl("f")
		marks := f.redis.ttl("d") // read later, so not the longer one
		if versions < marks || marks <= 0 {
			f.Errorf("%s: the versions expire in %v, the marks in %v", what, versions, marks)
		}
	}
}
