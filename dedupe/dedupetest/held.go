package dedupetest

import "membersync/dedupe"

func heldTests() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"a held event is neither done nor live":            heldIsNeither,
		"a held event is live when it is tried":            heldIsTried,
		"a held event does not stop the others of a fold":  heldStopsNoOther,
		"an outcome replaces the mark of a held event":     outcomeReplacesHeld,
		"a redrive and a reapplication pass a held event":  redrivePassesHeld,
		"a held event moves no version and keeps no value": heldMovesNothing,
		"what a held event has pending stays pending":      heldStaysPending,
		"the marks of held events are shown":               heldIsShown,
	}
}

func rejectedBefore() *dedupe.Held { return &dedupe.Held{Reason: "crm_invalid", Code: "40001"} }

func heldIsNeither(f *fixture) {
	e := event(1, "mobile", "a")
	f.hold(e)
	g := f.acquire(dedupe.NewToken(), e)
	f.equal("events", g.Events, []dedupe.EventGrant{{Held: rejectedBefore()}})
	f.equal("fields", len(g.Fields), 0)
	f.equal("stale", g.Stale, []bool{false})
}

func tried(e dedupe.Event) dedupe.Event {
	e.TryHeld = true
	return e
}

func heldIsTried(f *fixture) {
	e := event(1, "mobile", "a")
	f.hold(e)
	g := f.acquire(dedupe.NewToken(), tried(e))
	f.equal("events", g.Events, []dedupe.EventGrant{{}})
	f.equal("fields", fieldDecisions(g), map[string]string{"mobile": "send"})
}

func heldStopsNoOther(f *fixture) {
	e, newer := event(1, "mobile", "a"), event(2, "title", "b")
	f.hold(e)
	g := f.acquire(dedupe.NewToken(), e, newer)
	f.equal("events", g.Events, []dedupe.EventGrant{{Held: rejectedBefore()}, {}})
	f.equal("fields", g.Fields, []dedupe.FieldGrant{{Name: "title", Winner: 1, Decision: dedupe.Send}})
}

func outcomeReplacesHeld(f *fixture) {
	e := event(1, "mobile", "a")
	f.hold(e)
	f.apply(tried(e))
	f.wantGrant("the event", e, dedupe.EventGrant{Done: true, Outcome: "applied"})
}

func redrivePassesHeld(f *fixture) {
	e := event(1, "mobile", "a")
	f.hold(e)
	f.wantGrant("a redrive", tried(redrive(e, 1)), dedupe.EventGrant{})
	g := f.request(dedupe.AcquireRequest{Events: []dedupe.Event{tried(e)}, Reapply: true})
	f.equal("reapplied", g.Events, []dedupe.EventGrant{{}})
}

func heldMovesNothing(f *fixture) {
	f.apply(event(1, "mobile", "a"))
	e := event(2, "mobile", "b")
	f.hold(e)
	g := f.acquire(dedupe.NewToken(), event(1, "mobile", "a"), event(3, "title", "c"))
	f.equal("no version has moved, and nothing is pending", fieldDecisions(g), map[string]string{"title": "send"})
	f.equal("stored version", f.redis.versions()["mobile"], version(1))
	f.equal("its digest was deleted when the value was handed out", f.redis.client.HExists(f.Context(), f.redis.key("f"), "d:mobile").Val(), false)
}

// A call of the event got no response, and its repetition was rejected. The first one may still
// take effect, so an older value has to wait until the event comes to its end.
func heldStaysPending(f *fixture) {
	e := event(3, "mobile", "c")
	f.crashed(e)
	f.hold(e)
	f.equal("an older value waits", f.waits(event(1, "mobile", "a")), true)
	f.apply(tried(e))
	f.equal("it waits after the end of the event", f.waits(event(1, "mobile", "a")), false)
}

func heldIsShown(f *fixture) {
	e := event(1, "mobile", "a")
	f.hold(e)
	grants, err := f.store.Done(f.Context(), f.member, []dedupe.EventID{e.ID, event(2).ID})
	f.must(err)
	f.equal("marks", grants, []dedupe.EventGrant{{Held: rejectedBefore()}, {}})
}
