package dedupetest

import (
	"errors"
	"fmt"
	"strings"
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

func (f *fixture) wantGrant(what string, e dedupe.Event, want dedupe.EventGrant) {
	f.Helper()
	f.equal(what, f.acquireOnce(e), want)
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
	g, err := f.store.Acquire(f.Context(), dedupe.AcquireRequest{
		Member: f.member, Token: dedupe.NewToken(), Events: []dedupe.Event{b}, Reapply: true,
	})
	f.must(err)
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
	_, err := f.store.Acquire(f.Context(), dedupe.AcquireRequest{Member: f.member, Token: token, Events: []dedupe.Event{a, b}})
	if !errors.Is(err, dedupe.ErrTokenUsed) {
		f.Errorf("acquire once more: error %v, want ErrTokenUsed", err)
	}
}

func reuseLate(f *fixture) {
	a, b, stalled := reused(1, "mobile", "a"), reused(2, "mobile", "b"), dedupe.NewToken()
	f.acquire(stalled, a, b)
	f.expire()
	late := f.completeLate(dedupe.Completion{Token: stalled, Done: []dedupe.DoneEvent{done(a, "superseded"), done(b, "applied")}})
	f.equal("late", late, true)
	f.equal("a mark", f.client.Exists(f.Context(), f.mark(a)).Val(), int64(0))
}

func reuseKeepsEntry(f *fixture) {
	a, b, token := reused(1, "mobile", "a"), reused(2, "mobile", "b"), dedupe.NewToken()
	f.acquire(token, a)
	c := dedupe.Completion{Token: token, Done: []dedupe.DoneEvent{done(a, "applied")}, Sent: a.Fields}
	f.complete(c)
	f.apply(b)
	f.acquire(dedupe.NewToken())
	f.complete(c) // repeated after a lost reply: not late
	_, err := f.store.Acquire(f.Context(), dedupe.AcquireRequest{Member: f.member, Token: token, Events: []dedupe.Event{b}})
	if err != nil {
		f.Fatal("while another token owns the lease:", err)
	}
	f.expire()
	_, err = f.store.Acquire(f.Context(), dedupe.AcquireRequest{Member: f.member, Token: token, Events: []dedupe.Event{a}})
	if !errors.Is(err, dedupe.ErrTokenUsed) {
		f.Errorf("acquire delayed: error %v, want ErrTokenUsed", err)
	}
}

func reuseBounded(f *fixture) {
	for n := range 10 {
		f.apply(reused(n, "mobile", fmt.Sprint(n)))
	}
	f.apply(redrive(reused(2, "mobile", "2"), 1)) // completed last, so it stays
	f.apply(reused(10, "mobile", "10"))
	for n := range 11 {
		f.equal(fmt.Sprint("done ", n), f.acquireOnce(reused(n, "mobile", fmt.Sprint(n))).Done, n == 2 || n >= 4)
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
	f.equal("entries", strings.Count(f.client.Get(f.Context(), f.mark(fold[0])).Val(), string(token)), 8)
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
	f.must(f.client.PExpire(f.Context(), f.mark(reused(1)), time.Minute).Err())
	f.apply(reused(2, "mobile", "b"))
	if ttl := f.client.PTTL(f.Context(), f.mark(reused(1))).Val(); ttl <= f.opts.DoneTTL-time.Minute {
		f.Errorf("the mark has a TTL of %v, want %v", ttl, f.opts.DoneTTL)
	}
}
