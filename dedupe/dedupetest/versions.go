package dedupetest

import (
	"strings"

	"membersync/dedupe"
)

func versionTests() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"a failed older event is still newest for the fields it alone states": versionsByField,
		"an older value is superseded and an equal one may be sent again":     olderIsSuperseded,
		"an event is stale if all its fields are older":                       staleEvents,
		"the newest live event wins and of equal ones the last":               newestWins,
		"a done event wins nothing":                                           doneWinsNothing,
		"versions move for what was applied, unchanged and superseded alike":  versionsMoveAlike,
		"versions never go back":                                              versionsNeverGoBack,
		"each digit of a version counts":                                      eachDigitCounts,
		"a crash between call and complete lets the event be sent again":      crashBeforeComplete,
		"an edited value wins over its original, and a later edit over it":    editsWin,
		"eight fields with digests are stored compactly":                      storedCompactly,
	}
}

func versionsByField(f *fixture) {
	seven, eight := event(7, "mobile", "a"), event(8, "title", "a")
	f.finish(seven, "dead_lettered")
	f.apply(eight)
	f.equal("redriven", f.decisions(redrive(seven, 1)), map[string]string{"mobile": "send"})
}

func olderIsSuperseded(f *fixture) {
	f.store = f.newStore(func(o *dedupe.Options) { o.Key = nil })
	f.apply(event(5, "mobile", "a"))
	f.equal("older", f.decisions(event(4, "mobile", "b")), map[string]string{"mobile": "superseded"})
	other := event(5, "mobile", "a")
	other.ID = event(99).ID
	f.equal("equal", f.decisions(other), map[string]string{"mobile": "send"})
	f.equal("newer", f.decisions(event(6, "mobile", "b")), map[string]string{"mobile": "send"})
}

func staleEvents(f *fixture) {
	f.apply(event(2, "mobile", "a"))
	f.apply(event(5, "mobile", "a", "title", "a"))
	f.apply(event(9, "name", "a"))
	equal := event(9, "name", "a")
	equal.ID = event(99).ID
	g := f.acquire(dedupe.NewToken(),
		event(4, "mobile", "b", "title", "b"), // all older
		event(6, "mobile", "b", "name", "b"),  // one newer
		event(3),                              // no fields
		event(5, "mobile", "a"),               // done
		event(8, "name", "c", "email", "c"),   // one never seen before
		equal,
		event(2, "mobile", "a"), // done, and older
	)
	f.equal("stale", g.Stale, []bool{true, false, false, false, false, false, false})
}

func newestWins(f *fixture) {
	equal := event(3, "title", "c")
	equal.ID = event(99).ID
	g := f.acquire(dedupe.NewToken(), event(2, "mobile", "a"), event(3, "mobile", "b", "title", "a"), event(1, "mobile", "c"), equal)
	f.equal("fields", g.Fields, []dedupe.FieldGrant{
		{Name: "mobile", Winner: 1, Decision: dedupe.Send},
		{Name: "title", Winner: 3, Decision: dedupe.Send},
	})
}

func doneWinsNothing(f *fixture) {
	f.apply(event(3, "mobile", "b", "title", "b"))
	g := f.acquire(dedupe.NewToken(), event(3, "mobile", "b", "title", "b"), event(2, "mobile", "a"))
	f.equal("fields", g.Fields, []dedupe.FieldGrant{{Name: "mobile", Winner: 1, Decision: dedupe.Superseded}})
}

func versionsMoveAlike(f *fixture) {
	applied, unchanged, superseded := event(5, "mobile", "a"), event(7, "title", "a"), event(3, "name", "a", "mobile", "c")
	token := dedupe.NewToken()
	f.acquire(token, applied, unchanged, superseded)
	f.complete(dedupe.Completion{Token: token, Done: []dedupe.DoneEvent{
		done(applied, "applied"), done(unchanged, "unchanged"), done(superseded, "superseded"),
	}})
	f.equal("versions", f.redis.versions(), map[string]string{"mobile": version(5), "title": version(7), "name": version(3)})
}

func versionsNeverGoBack(f *fixture) {
	f.apply(event(5, "mobile", "a"))
	f.apply(event(4, "mobile", "b", "title", "b"))
	f.equal("versions", f.redis.versions(), map[string]string{"mobile": version(5), "title": version(4)})
}

// eachDigitCounts compares versions whose first difference is at each digit. All digits after it
// say the opposite.
func eachDigitCounts(f *fixture) {
	stored := strings.Repeat("5", 64)
	for at := range stored {
		of := f.ofMember(at)
		versioned := func(n int, version string) dedupe.Event {
			e := event(n, "mobile", version)
			e.Version = version
			return e
		}
		older := versioned(1, stored[:at]+"4"+strings.Repeat("9", 63-at))
		newer := versioned(3, stored[:at]+"6"+strings.Repeat("0", 63-at))
		of.apply(versioned(2, stored))
		of.equal("older", of.decisions(older), map[string]string{"mobile": "superseded"})
		of.equal("newer", of.decisions(newer), map[string]string{"mobile": "send"})
		of.restore(done(older, "applied"))
		of.equal("after the older was restored", of.redis.versions(), map[string]string{"mobile": stored})
		of.restore(done(newer, "applied"))
		of.equal("after the newer was restored", of.redis.versions(), map[string]string{"mobile": newer.Version})
		between := versioned(4, stored)
		of.apply(between)
		of.equal("after the older was completed", of.redis.versions(), map[string]string{"mobile": newer.Version})
	}
}

func crashBeforeComplete(f *fixture) {
	f.apply(event(1, "mobile", "a"))
	f.acquire(dedupe.NewToken(), event(2, "mobile", "b")) // sent, and then the process crashed
	f.redis.expireLease()
	f.equal("an older event", f.decisions(event(1, "mobile", "a")), map[string]string{})
	f.equal("the event again", f.decisions(event(2, "mobile", "b")), map[string]string{"mobile": "send"})
}

func editsWin(f *fixture) {
	f.apply(edit(2, "mobile", "edited"))
	for what, e := range map[string]dedupe.Event{
		"the original": event(3, "mobile", "c"), "an earlier edit": edit(1, "mobile", "d"),
	} {
		got := f.decisionsOf(dedupe.AcquireRequest{Events: []dedupe.Event{e}, Reapply: true})
		f.equal(what, got, map[string]string{"mobile": "superseded"})
	}
	f.equal("a later edit", f.decisions(edit(3, "mobile", "e")), map[string]string{"mobile": "send"})
	f.equal("a newer event", f.decisions(event(4, "mobile", "f")), map[string]string{"mobile": "send"})
}

// wide returns event n with eight fields, the names of which are as long as the longest of the CRM.
func wide(n int) dedupe.Event {
	return event(n, "attachingDepartmentIds", "[1]", "employeeNumber", "a", "mainDepartmentId", "1", "position", "a",
		"birthDate", "1", "hireDate", "1", "mobile", "a", "email", "a")
}

func storedCompactly(f *fixture) {
	f.apply(wide(1))
	f.apply(wide(2))
	f.equal("values", len(f.redis.client.HGetAll(f.Context(), f.redis.key("f")).Val()), 16)
	f.redis.wantCompact()
	f.restore(done(wide(3), "applied"))
	f.redis.wantCompact()
}
