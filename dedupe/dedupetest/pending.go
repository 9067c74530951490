package dedupetest

import (
	"time"

	"membersync/dedupe"
)

func pendingTests() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"an older value waits for a newer one that may have taken effect":      olderWaits,
		"the same value, a newer one and other fields do not wait":             othersDoNotWait,
		"a value that waits leaves lease and digests alone":                    waitTakesNothing,
		"a success ends the wait, and older values are superseded":             successEndsWait,
		"a refusal with a response ends the wait":                              refusalEndsWait,
		"a refusal does not end the wait for another call of the same value":   refusalOfAnother,
		"a refusal released late ends the wait, and leaves the lease alone":    refusalLate,
		"a dead letter ends the wait for its own value, and for no other's":    deadLetterEndsWait,
		"another delivery of the event keeps its own position":                 redeliveryDoesNotWait,
		"two deliveries of an event have their own versions":                   deliveriesKeepVersions,
		"a completion that keeps the lease leaves what it did not end pending": keptStaysPending,
		"a newer value of another field makes a fold wait as a whole":          foldWaits,
		"a pending value that no wait needs is removed":                        pendingRemoved,
		"the view shows what is pending":                                       pendingIsShown,
		"many pending values are bounded, the newest stay":                     pendingBounded,
		"an original waits for a later edit of its value":                      originalWaitsForEdit,
		"the end of an original does not end the wait for its edited value":    originalEndsNoEdit,
		"pending values do not make the fields a large hash":                   pendingApart,
	}
}

func olderWaits(f *fixture) {
	f.apply(event(1, "mobile", "a"))
	f.crashed(event(3, "mobile", "c"))
	g := f.ask(dedupe.NewToken(), event(2, "mobile", "b"))
	if !g.Pending || g.Leased || g.Wait <= time.Hour {
		f.Errorf("pending %v, leased %v, for %v; want it to wait", g.Pending, g.Leased, g.Wait)
	}
}

func othersDoNotWait(f *fixture) {
	f.crashed(event(3, "mobile", "c"))
	f.equal("the same event waits", f.waits(event(3, "mobile", "c")), false)
	f.equal("a newer event waits", f.waits(event(4, "mobile", "d")), false)
	f.equal("another field waits", f.waits(event(2, "title", "b")), false)
	f.equal("a fold with the event waits", f.waits(event(2, "mobile", "b"), event(3, "mobile", "c")), false)
	f.equal("an older event waits", f.waits(event(2, "mobile", "b")), true)
}

func waitTakesNothing(f *fixture) {
	f.apply(event(1, "title", "a"))
	f.crashed(event(3, "mobile", "c"))
	f.equal("waits", f.waits(event(2, "mobile", "b", "title", "b")), true)
	f.equal("holder", f.redis.holder(), dedupe.Token(""))
	f.equal("decisions", f.decisions(event(2, "title", "a")), map[string]string{"title": "unchanged"})
}

func successEndsWait(f *fixture) {
	f.crashed(event(3, "mobile", "c"))
	f.apply(event(4, "mobile", "d"))
	f.equal("decisions", f.decisions(event(2, "mobile", "b")), map[string]string{"mobile": "superseded"})
	f.equal("decisions for the event itself", f.decisions(event(3, "mobile", "c")), map[string]string{"mobile": "superseded"})
}

func refusalEndsWait(f *fixture) {
	t := dedupe.NewToken()
	f.acquire(t, event(3, "mobile", "c"))
	f.release(t)
	f.equal("decisions", f.decisions(event(2, "mobile", "b")), map[string]string{"mobile": "send"})
}

func refusalOfAnother(f *fixture) {
	f.crashed(event(3, "mobile", "c"))
	t := dedupe.NewToken()
	f.acquire(t, event(2, "mobile", "b", "title", "b"), event(3, "mobile", "c"))
	f.release(t)
	f.equal("an older value waits", f.waits(event(2, "mobile", "b")), true)
	f.equal("a field that only the refused call had waits", f.waits(event(1, "title", "a")), false)
}

func refusalLate(f *fixture) {
	first, second := f.crashed(event(3, "mobile", "c")), dedupe.NewToken()
	f.acquire(second, event(3, "title", "c"))
	f.release(first)
	f.equal("holder", f.redis.holder(), second)
	f.release(second)
	f.equal("an older value waits", f.waits(event(2, "mobile", "b")), false)
}

func deadLetterEndsWait(f *fixture) {
	f.crashed(event(3, "mobile", "c"))
	f.crashed(event(5, "mobile", "e"))
	t := dedupe.NewToken()
	f.acquire(t, dedupe.Event{ID: event(5).ID, Version: version(5)})
	f.complete(dedupe.Completion{Token: t, Done: []dedupe.DoneEvent{done(event(5, "mobile", "e"), "dead_lettered")}})
	f.equal("an event between them waits", f.waits(event(4, "mobile", "d")), false)
	f.equal("an event older than both waits", f.waits(event(2, "mobile", "b")), true)
}

// deliveriesKeepVersions acquires two deliveries of an event, each of which states a field that the
// other does not, as a redrive with an edited value can.
func deliveriesKeepVersions(f *fixture) {
	first, second := event(3, "title", "a"), event(5, "mobile", "a")
	second.ID = first.ID
	f.crashed(first, second)
	f.equal("a value older than the second delivery waits", f.waits(event(4, "mobile", "b")), true)
	f.equal("a value newer than the first delivery waits", f.waits(event(4, "title", "b")), false)
}

// redeliveryDoesNotWait acquires a second delivery, which is newer by its position. Then the first
// delivery arrives, alone or with an event whose version is between the two.
func redeliveryDoesNotWait(f *fixture) {
	second := event(5, "mobile", "a")
	second.ID = event(3).ID
	f.crashed(second)
	f.equal("the first delivery waits", f.waits(event(3, "mobile", "a")), false)
	f.equal("the first delivery and one between them wait", f.waits(event(3, "mobile", "a"), event(4, "mobile", "b")), false)
	f.apply(event(3, "mobile", "a"))
	f.equal("one between them waits", f.waits(event(4, "mobile", "b")), false)
}

func keptStaysPending(f *fixture) {
	t := dedupe.NewToken()
	f.acquire(t, event(3, "mobile", "c"), event(4, "title", "d"))
	f.complete(dedupe.Completion{Token: t, Keep: true, Done: []dedupe.DoneEvent{done(event(3, "mobile", "c"), "dead_lettered")}})
	f.redis.expireLease()
	f.equal("an older value of the dead letter's field waits", f.waits(event(2, "mobile", "b")), false)
	f.equal("an older value of the other field waits", f.waits(event(2, "title", "b")), true)
}

func foldWaits(f *fixture) {
	f.crashed(event(3, "mobile", "c"))
	f.equal("waits", f.waits(event(2, "mobile", "b"), event(4, "title", "d")), true)
	f.equal("the newest of them alone waits", f.waits(event(4, "title", "d")), false)
}

func pendingRemoved(f *fixture) {
	f.crashed(event(3, "mobile", "c", "title", "c"))
	f.apply(event(3, "mobile", "c", "title", "c"))
	f.equal("stored", f.redis.client.Exists(f.Context(), f.redis.key("pending")).Val(), int64(0))
}

func pendingIsShown(f *fixture) {
	f.apply(event(1, "mobile", "a"))
	f.crashed(event(3, "mobile", "c", "title", "c"))
	f.equal("fields", f.view.state().Fields, []dedupe.FieldState{
		{Name: "mobile", Version: version(1), Pending: version(3)}, {Name: "title", Pending: version(3)},
	})
}

func pendingBounded(f *fixture) {
	for n := range 70 {
		f.crashed(event(n+10, "mobile", "a"))
	}
	if n := len(f.redis.client.Get(f.Context(), f.redis.key("pending")).Val()); n == 0 || n > 64*192 {
		f.Errorf("%d bytes, want a bound", n)
	}
	f.equal("an event older than the newest waits", f.waits(event(78, "mobile", "b")), true)
}

// edit returns the redrive that edited the value of event 3.
func edit(number int, pairs ...string) dedupe.Event {
	e := redrive(event(3, pairs...), number)
	e.Version = edited(3, number)
	return e
}

// originalWaitsForEdit: the edited value may have reached the CRM, so the original's must not
// follow it, although it is the same event.
func originalWaitsForEdit(f *fixture) {
	f.crashed(edit(2, "mobile", "edited"))
	f.equal("the original waits", f.waits(event(3, "mobile", "c")), true)
	f.equal("an earlier edit waits", f.waits(edit(1, "mobile", "d")), true)
	f.equal("the edit itself waits", f.waits(edit(2, "mobile", "edited")), false)
	f.equal("a request with original and edit waits",
		f.waits(event(3, "mobile", "c"), edit(2, "mobile", "edited")), false)
	f.equal("a later edit waits", f.waits(edit(3, "mobile", "e")), false)
}

func originalEndsNoEdit(f *fixture) {
	f.crashed(edit(2, "mobile", "edited"))
	t := dedupe.NewToken()
	f.acquire(t, dedupe.Event{ID: event(3).ID, Version: version(3)})
	f.complete(dedupe.Completion{Token: t, Done: []dedupe.DoneEvent{done(event(3, "mobile", "c"), "dead_lettered")}})
	f.equal("an older event waits", f.waits(event(2, "mobile", "b")), true)
	t = dedupe.NewToken()
	f.acquire(t, dedupe.Event{ID: event(3).ID, Redrive: 2, Version: edited(3, 2)})
	f.complete(dedupe.Completion{Token: t, Done: []dedupe.DoneEvent{done(edit(2, "mobile", "e"), "dead_lettered")}})
	f.equal("an older event waits after the redrive's own end", f.waits(event(2, "mobile", "b")), false)
}

// pendingApart: see wantCompact.
func pendingApart(f *fixture) {
	e := wide(1)
	f.crashed(e)
	f.equal("fields", f.redis.client.Exists(f.Context(), f.redis.key("f")).Val(), int64(0))
	if ttl := f.redis.ttl("pending"); ttl <= 5*time.Hour || ttl > 6*time.Hour {
		f.Errorf("the pending values have a TTL of %v, want that of the last of them", ttl)
	}
	f.apply(e)
	f.apply(wide(2))
	f.redis.wantCompact()
}
