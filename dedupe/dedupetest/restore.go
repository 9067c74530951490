package dedupetest

import (
	"fmt"

	"membersync/dedupe"
)

func restoreTests() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"what was lost is known again":                       restoreLost,
		"what became known since is kept":                    restoreKeeps,
		"a mark is replaced only by a higher redrive number": restoreRedrives,
		"no digest is made or lost":                          restoreDigests,
		"order values known since are dropped last":          restoreBounded,
		"more events than one request takes":                 restoreMany,
		"alongside the owner of the lease":                   restoreAlongsideOwner,
		"invalid requests are rejected":                      invalidRestores,
	}
}

func restoreLost(f *fixture) {
	a, b, dead := event(1, "mobile", "a", "title", "a"), event(2, "mobile", "b"), event(3, "name", "a")
	all := []dedupe.DoneEvent{done(b, "applied"), done(a, "superseded"), done(redrive(dead, 1), "dead_lettered")}
	f.restore(all...)
	f.restore(all...)
	f.equal("versions", f.redis.versions(), map[string]string{"mobile": version(2), "title": version(1)})
	f.equal("events", f.acquire(dedupe.NewToken(), a, b, redrive(dead, 1)).Events, []dedupe.EventGrant{
		{Done: true, Outcome: "superseded"}, {Done: true, Outcome: "applied"}, {Done: true, Outcome: "dead_lettered", Redrive: 1},
	})
	f.redis.wantTTL("d", f.opts.DoneTTL)
}

func restoreKeeps(f *fixture) {
	live := event(5, "mobile", "a")
	f.apply(live)
	f.restore(done(live, "duplicate"))
	f.restore(done(event(4, "mobile", "b", "title", "b"), "applied"))
	f.equal("versions", f.redis.versions(), map[string]string{"mobile": version(5), "title": version(4)})
	f.equal("the live event", f.view.outcomes(live), []dedupe.EventGrant{{Done: true, Outcome: "applied"}})
	f.restore(done(event(6, "mobile", "b"), "applied"))
	f.equal("versions", f.redis.versions(), map[string]string{"mobile": version(6), "title": version(4)})
}

func restoreRedrives(f *fixture) {
	e := event(1, "mobile", "a")
	f.restore(done(redrive(e, 1), "dead_lettered"))
	f.restore(done(e, "applied"))
	f.equal("lower", f.view.outcomes(e), []dedupe.EventGrant{{Done: true, Outcome: "dead_lettered", Redrive: 1}})
	f.restore(done(redrive(e, 1), "applied"))
	f.equal("the same", f.view.outcomes(e), []dedupe.EventGrant{{Done: true, Outcome: "dead_lettered", Redrive: 1}})
	f.restore(done(redrive(e, 2), "applied"), done(e, "superseded"))
	f.equal("higher", f.view.outcomes(e), []dedupe.EventGrant{{Done: true, Outcome: "applied", Redrive: 2}})
}

func restoreDigests(f *fixture) {
	f.apply(event(1, "mobile", "a"))
	f.restore(done(event(2, "mobile", "b", "title", "b"), "applied"))
	f.equal("fields", f.view.state().Fields, []dedupe.FieldState{
		{Name: "mobile", Version: version(2), Digest: true}, {Name: "title", Version: version(2)},
	})
}

func restoreBounded(f *fixture) {
	for n := 2; n < 9; n++ {
		f.apply(reused(n, "mobile", "a"))
	}
	f.restore(done(reused(1, "mobile", "a"), "applied"), done(reused(0, "mobile", "a"), "applied"))
	for n := range 9 {
		f.equal(fmt.Sprint("event ", n), f.view.outcomes(reused(n))[0].Done, n > 0)
	}
	f.apply(reused(9, "mobile", "a"))
	f.equal("the restored one after one more event", f.view.outcomes(reused(1))[0].Done, false)
}

func restoreMany(f *fixture) {
	var all []dedupe.DoneEvent
	var events []dedupe.Event
	for n := range 1201 {
		events = append(events, event(n, fmt.Sprint("field", n%3), "a"))
		all = append(all, done(events[n], "applied"))
	}
	f.restore(all...)
	for n, v := range f.view.outcomes(events...) {
		f.equal(fmt.Sprint("event ", n), v, dedupe.EventGrant{Done: true, Outcome: "applied"})
	}
	f.equal("versions", f.redis.versions(), map[string]string{"field0": version(1200), "field1": version(1198), "field2": version(1199)})
}

func restoreAlongsideOwner(f *fixture) {
	e, token := event(5, "mobile", "a"), dedupe.NewToken()
	f.acquire(token, e)
	f.restore(done(event(6, "mobile", "b"), "applied"), done(e, "applied"))
	f.equal("holder", f.redis.holder(), token)
	f.complete(dedupe.Completion{Token: token, Done: []dedupe.DoneEvent{done(e, "superseded")}, Sent: e.Fields})
	f.equal("versions", f.redis.versions(), map[string]string{"mobile": version(6)})
	f.equal("the event", f.view.outcomes(e), []dedupe.EventGrant{{Done: true, Outcome: "superseded"}})
}

func invalidRestores(f *fixture) {
	for what, d := range map[string]dedupe.DoneEvent{
		"outcome not a word":    {Outcome: "secret-value"},
		"redrive below 0":       {Outcome: "applied", Redrive: -1},
		"fields but no version": {Outcome: "applied", Fields: []string{"mobile"}},
		"a value as field name": {Outcome: "applied", Version: "1", Fields: []string{"secret value"}},
	} {
		f.isFault(what, f.store.Restore(f.Context(), f.member, []dedupe.DoneEvent{done(event(1), "applied"), d}))
	}
	f.equal("keys", len(f.redis.keys()), 0)
}
