package dedupetest

import (
	"fmt"
	"time"

	"membersync/dedupe"
)

func reuseTests() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"the same id with another order value is a new event":        reuseIsNew,
		"reuse is reported within one fold":                          reuseInFold,
		"another topic or index or a record without ids is no reuse": noReuse,
		"each order value has its own redrive number":                reuseRedrives,
		"repeated acquire and complete of a reused id agree":         reuseRepeated,
		"a stalled fold that reuses an id completes nothing":         reuseLate,
		"another event's completion under the id keeps the entry":    reuseKeepsEntry,
		"only the last eight order values of an id are remembered":   reuseBounded,
		"of many order values in one fold the last eight are kept":   reuseManyInFold,
		"an event whose entry was dropped is superseded by version":  reuseDropped,
		"the TTL of a mark starts at its last order value":           reuseTTL,
	}
}

// reused returns event n under an id that all reused events share.
func reused(n int, pairs ...string) dedupe.Event {
	e := event(n, pairs...)
	e.ID = dedupe.NewEventID("topic-test", "evt-test-reused", 0, version(n))
	return e
}

func reuseIsNew(f *fixture) {
	a, b := reused(1, "mobile", "a"), reused(2, "mobile", "b")
	f.wantGrant("the first", a, dedupe.EventGrant{})
	f.apply(a)
	f.wantGrant("the first again", a, dedupe.EventGrant{Done: true, Outcome: "applied"})
	f.wantGrant("the second", b, dedupe.EventGrant{Reused: true})
	f.equal("its field", f.decisions(b), map[string]string{"mobile": "send"})
	f.apply(b)
	f.wantGrant("the second again", b, dedupe.EventGrant{Done: true, Outcome: "applied", Reused: true})
	f.wantGrant("the first once more", a, dedupe.EventGrant{Done: true, Outcome: "applied", Reused: true})
	g := f.request(dedupe.AcquireRequest{Events: []dedupe.Event{b}, Reapply: true})
	f.equal("reapplied", g.Events, []dedupe.EventGrant{{Reused: true}})
}

func reuseInFold(f *fixture) {
	a, b := reused(1, "mobile", "a"), reused(2, "mobile", "b")
	token := dedupe.NewToken()
	g := f.acquire(token, a, event(3, "title", "a"), b, a)
	f.equal("events", g.Events, []dedupe.EventGrant{{}, {}, {Reused: true}, {Reused: true}})
	f.equal("winner", g.Fields[0], dedupe.FieldGrant{Name: "mobile", Winner: 2})
	f.complete(dedupe.Completion{Token: token, Done: []dedupe.DoneEvent{done(a, "superseded"), done(b, "applied")}})
	f.wantGrant("a", a, dedupe.EventGrant{Done: true, Outcome: "superseded", Reused: true})
	f.wantGrant("b", b, dedupe.EventGrant{Done: true, Outcome: "applied", Reused: true})
}

func noReuse(f *fixture) {
	id := func(id dedupe.EventID) dedupe.Event { return dedupe.Event{ID: id, Version: version(1)} }
	events := []dedupe.Event{
		id(dedupe.NewEventID("t", "1", 0, "1")),
		id(dedupe.NewEventID("u", "1", 0, "2")),
		id(dedupe.NewEventID("t", "1", 1, "2")),
		id(dedupe.NewEventID("t", "2", 0, "2")),
		id(dedupe.NewRecordID("t", 1, 0, 1, 0)),
		id(dedupe.NewRecordID("t", 1, 0, 2, 0)),
	}
	f.equal("live", f.acquire("t1", events...).Events, make([]dedupe.EventGrant, len(events)))
	c := dedupe.Completion{Token: "t1"}
	want := make([]dedupe.EventGrant, len(events))
	for i, e := range events {
		c.Done = append(c.Done, done(e, "applied"))
		want[i] = dedupe.EventGrant{Done: true, Outcome: "applied"}
	}
	f.complete(c)
	f.equal("done", f.acquire("t2", events...).Events, want)
}

func reuseRedrives(f *fixture) {
	a, b := reused(1, "mobile", "a"), reused(2, "mobile", "b")
	f.apply(redrive(a, 2))
	f.wantGrant("another's redrive 1", redrive(b, 1), dedupe.EventGrant{Reused: true})
	f.apply(redrive(b, 1))
	f.wantGrant("its redrive 1 again", redrive(b, 1), dedupe.EventGrant{Done: true, Outcome: "applied", Redrive: 1, Reused: true})
	f.wantGrant("its redrive 2", redrive(b, 2), dedupe.EventGrant{Reused: true})
	f.wantGrant("the first's redrive 2", redrive(a, 2), dedupe.EventGrant{Done: true, Outcome: "applied", Redrive: 2, Reused: true})
	f.apply(a) // reapplied: the number stays
	f.wantGrant("the first's redrive 2 still", redrive(a, 2), dedupe.EventGrant{Done: true, Outcome: "applied", Redrive: 2, Reused: true})
}

func reuseRepeated(f *fixture) {
	a, b, token := reused(1, "mobile", "a"), reused(2, "mobile", "b"), dedupe.NewToken()
	first := f.acquire(token, a, b)
	again := f.acquire(token, a, b)
	first.Expires, again.Expires = time.Time{}, time.Time{}
	f.equal("second reply", again, first)
	c := dedupe.Completion{Token: token, Done: []dedupe.DoneEvent{done(a, "superseded"), done(b, "applied")}}
	f.complete(c)
	f.complete(c)
	f.wantUsed(token, a, b)
}

func reuseLate(f *fixture) {
	a, b, stalled := reused(1, "mobile", "a"), reused(2, "mobile", "b"), dedupe.NewToken()
	f.acquire(stalled, a, b)
	f.redis.expireLease()
	late := f.completeLate(dedupe.Completion{Token: stalled, Done: []dedupe.DoneEvent{done(a, "superseded"), done(b, "applied")}})
	f.equal("late", late, true)
	_, marked := f.redis.mark(a)
	f.equal("a mark", marked, false)
}

func reuseKeepsEntry(f *fixture) {
	a, b := reused(1, "mobile", "a"), reused(2, "mobile", "b")
	c := f.apply(a)
	f.apply(b)
	f.acquire(dedupe.NewToken())
	f.complete(c)     // repeated after a lost reply: not late
	f.ask(c.Token, b) // while another token owns the lease
	f.redis.expireLease()
	f.wantUsed(c.Token, a)
}

func reuseBounded(f *fixture) {
	for n := range 10 {
		f.apply(reused(n, "mobile", fmt.Sprint(n)))
	}
	f.apply(redrive(reused(2, "mobile", "2"), 1)) // completed last, so it stays
	f.apply(reused(10, "mobile", "10"))
	for n := range 11 {
		f.equal(fmt.Sprint("done ", n), f.grantOf(reused(n, "mobile", fmt.Sprint(n))).Done, n == 2 || n >= 4)
	}
}

func reuseManyInFold(f *fixture) {
	token := dedupe.NewToken()
	var fold []dedupe.Event
	c := dedupe.Completion{Token: token}
	for n := range 20 {
		fold = append(fold, reused(n, "mobile", "a"))
		c.Done = append(c.Done, done(fold[n], "applied"))
	}
	f.acquire(token, fold...)
	f.complete(c)
	f.complete(c)
	last, _ := f.redis.mark(fold[19])
	f.equal("entries", last.entries, 8)
	for n, v := range f.acquire(dedupe.NewToken(), fold...).Events {
		f.equal(fmt.Sprint("event ", n), v.Done, n >= 12)
	}
}

func reuseDropped(f *fixture) {
	for n := range 9 {
		f.apply(reused(n, "mobile", fmt.Sprint(n)))
	}
	f.wantGrant("the one that was dropped", reused(0, "mobile", "0"), dedupe.EventGrant{Reused: true})
	f.equal("its field", f.decisions(reused(0, "mobile", "0")), map[string]string{"mobile": "superseded"})
}

func reuseTTL(f *fixture) {
	f.apply(reused(1, "mobile", "a"))
	f.redis.expireIn("d", time.Minute)
	f.apply(reused(2, "mobile", "b"))
	f.redis.wantTTL("d", f.opts.DoneTTL)
}
