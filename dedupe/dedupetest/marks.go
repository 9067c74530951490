package dedupetest

import (
	"fmt"
	"strconv"

	"membersync/dedupe"
)

func markTests() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"a done event is a duplicate":                                 markIsDuplicate,
		"a mark lasts for its TTL":                                    markTTL,
		"a redrive is live and runs once if it is sent twice":         redriveRunsOnce,
		"reapply ignores marks":                                       reapplyIgnoresMarks,
		"a reapplied original does not let its old redrive run again": reapplyKeepsRedrive,
		"a dead letter is done and moves no version":                  deadLetterMovesNothing,
		"an event of a group that fails stays live":                   releaseMarksNothing,
		"an event rejected alone does not affect others of its group": offendingAlone,
		"five hundred events of sixteen fields fold in one call":      func(f *fixture) { bigFold(f, 500, 16) },
		"more events than Lua's stack holds fold in one call":         func(f *fixture) { bigFold(f, 2001, 1) },
	}
}

func markIsDuplicate(f *fixture) {
	e := event(1, "mobile", "a")
	f.apply(e)
	g := f.acquire(dedupe.NewToken(), event(2, "title", "a"), e)
	f.equal("events", g.Events, []dedupe.EventGrant{{}, {Done: true, Outcome: "applied"}})
	f.equal("fields", g.Fields, []dedupe.FieldGrant{{Name: "title", Winner: 0, Decision: dedupe.Send}})
}

func markTTL(f *fixture) {
	e := event(1, "mobile", "a")
	f.apply(e)
	f.redis.wantTTL("d", f.opts.DoneTTL)
	f.redis.wantTTL("f", 0)
}

func redriveRunsOnce(f *fixture) {
	e := event(1, "mobile", "a")
	f.finish(e, "dead_lettered")
	f.wantGrant("the original", e, dedupe.EventGrant{Done: true, Outcome: "dead_lettered"})
	f.wantGrant("its redrive", redrive(e, 1), dedupe.EventGrant{})
	f.apply(redrive(e, 1))
	applied := dedupe.EventGrant{Done: true, Outcome: "applied", Redrive: 1}
	f.wantGrant("sent twice", redrive(e, 1), applied)
	f.wantGrant("the original again", e, applied)
	f.wantGrant("the next redrive", redrive(e, 2), dedupe.EventGrant{})
}

func reapplyIgnoresMarks(f *fixture) {
	e := event(1, "mobile", "a")
	f.apply(e)
	g := f.request(dedupe.AcquireRequest{Events: []dedupe.Event{e}, Reapply: true})
	f.equal("events", g.Events, []dedupe.EventGrant{{}})
	f.equal("fields", fieldDecisions(g), map[string]string{"mobile": "send"}) // its digest is ignored too
}

func reapplyKeepsRedrive(f *fixture) {
	e := event(1, "mobile", "a")
	f.apply(redrive(e, 2))
	token := dedupe.NewToken()
	f.request(dedupe.AcquireRequest{Token: token, Events: []dedupe.Event{e}, Reapply: true})
	f.complete(dedupe.Completion{Token: token, Done: []dedupe.DoneEvent{done(e, "unchanged")}})
	f.wantGrant("redrive 2", redrive(e, 2), dedupe.EventGrant{Done: true, Outcome: "unchanged", Redrive: 2})
}

func deadLetterMovesNothing(f *fixture) {
	e := event(5, "mobile", "a")
	f.finish(e, "dead_lettered")
	f.equal("versions", f.redis.versions(), map[string]string{})
	f.equal("an older event", f.decisions(event(4, "mobile", "b")), map[string]string{"mobile": "send"})
}

func releaseMarksNothing(f *fixture) {
	events := []dedupe.Event{event(1, "mobile", "a"), event(2, "title", "a")}
	token := dedupe.NewToken()
	f.acquire(token, events...)
	f.release(token)
	f.equal("events", f.acquire(dedupe.NewToken(), events...).Events, []dedupe.EventGrant{{}, {}})
}

func offendingAlone(f *fixture) {
	offending, good := event(1, "mobile", "a", "title", "a"), event(2, "title", "b")
	f.finish(offending, "dead_lettered")
	f.apply(good)
	f.equal("versions", f.redis.versions(), map[string]string{"title": version(2)})
	g := f.acquire(dedupe.NewToken(), redrive(offending, 1))
	f.equal("redriven", fieldDecisions(g), map[string]string{"mobile": "send", "title": "superseded"})
}

func bigFold(f *fixture, events, fields int) {
	f.Helper()
	fold := make([]dedupe.Event, events)
	var sent []dedupe.Field
	for i := range fold {
		fold[i] = event(i + 1)
		for n := range fields {
			fold[i].Fields = append(fold[i].Fields, dedupe.Field{Name: "field" + strconv.Itoa(n), Value: fmt.Append(nil, i)})
		}
		sent = fold[i].Fields
	}
	token := dedupe.NewToken()
	g := f.acquire(token, fold...)
	f.equal("distinct fields", len(g.Fields), fields)
	for _, field := range g.Fields {
		f.equal("winner of "+field.Name, field.Winner, events-1)
	}
	completion := dedupe.Completion{Token: token, Sent: sent}
	for _, e := range fold {
		completion.Done = append(completion.Done, done(e, "applied"))
	}
	f.complete(completion)
	for i, v := range f.acquire(dedupe.NewToken(), fold...).Events {
		if !v.Done {
			f.Fatalf("event %d is not done", i)
		}
	}
}
