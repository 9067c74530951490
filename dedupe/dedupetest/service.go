package dedupetest

import (
	"context"
	"errors"
	"strings"
	"time"

	"membersync/dedupe"
)

func serviceTests() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"check passes":                              func(f *fixture) { f.must(f.store.Check(f.Context())) },
		"a pause lasts until resume":                pauseUntilResume,
		"a pause ends by itself":                    pauseEnds,
		"scripts are loaded again after a flush":    scriptsFlushed,
		"no value and no plain id is stored":        nothingPersonalStored,
		"invalid requests are rejected":             invalidRequests,
		"a canceled context ends a request at once": canceled,
	}
}

func pauseUntilResume(f *fixture) {
	_, paused, err := f.store.Paused(f.Context())
	f.must(err)
	f.equal("paused", paused, false)
	f.must(f.store.Pause(f.Context(), time.Time{}, "vendor maintenance", "oncall@test"))
	p, paused, err := f.store.Paused(f.Context())
	f.must(err)
	if age := time.Since(p.At); age < 0 || age > time.Minute {
		f.Errorf("paused since %v, want now", p.At)
	}
	p.At = time.Time{}
	f.equal("paused", paused, true)
	f.equal("pause", p, dedupe.Pause{Note: "vendor maintenance", Actor: "oncall@test"})
	f.must(f.store.Resume(f.Context()))
	f.must(f.store.Resume(f.Context()))
	_, paused, err = f.store.Paused(f.Context())
	f.must(err)
	f.equal("paused after resume", paused, false)
}

func pauseEnds(f *fixture) {
	until := time.Now().Add(50 * time.Millisecond)
	f.must(f.store.Pause(f.Context(), until, "", ""))
	p, paused, err := f.store.Paused(f.Context())
	for ; err == nil && paused; p, paused, err = f.store.Paused(f.Context()) {
		f.equal("until", p.Until.Equal(until), true)
	}
	f.must(err)
	if now := time.Now(); now.Before(until.Add(-2 * time.Millisecond)) {
		f.Errorf("the pause ended %v early", until.Sub(now))
	}
	f.isFault("a pause that is over", f.store.Pause(f.Context(), time.Now(), "", ""))
}

func scriptsFlushed(f *fixture) {
	f.redis.flushScripts()
	f.apply(event(1, "mobile", "a"))
}

func nothingPersonalStored(f *fixture) {
	canaries := []string{"canary-value", "canary-user", "canary-event", "canary-employee", "canary-scope"}
	f.store = f.newStore(func(o *dedupe.Options) { o.Scope = "https://crm.invalid/canary-scope" })
	f.member = dedupe.NewMember("https://crm.invalid/canary-scope", "corp", "canary-user-canary-employee")
	e := event(1, "mobile", "canary-value", "title", "canary-value")
	e.ID = dedupe.NewEventID("topic", "canary-event", 0, version(1))
	f.apply(e)
	f.acquire(dedupe.NewToken(), event(2, "mobile", "canary-value-2"))
	p := permits{f, 1}
	p.fill(1, dedupe.RankRedrive)
	p.denied("one more", dedupe.RankRedrive)
	f.must(f.store.Throttle(f.Context(), time.Minute))
	f.must(f.store.Pause(f.Context(), time.Time{}, "note", "actor"))

	stored := f.redis.dump()
	for _, want := range []string{"lease", "}:f", "}:d", "v:mobile", "d:title", "log", "pause", "throttle", "waiting"} {
		if !strings.Contains(stored, want) {
			f.Errorf("%s was not stored: the test covers too little", want)
		}
	}
	for _, canary := range canaries {
		if strings.Contains(stored, canary) {
			f.Errorf("%s is stored in plain form", canary)
		}
	}
}

func invalidRequests(f *fixture) {
	good := event(1, "mobile", "secret-value")
	for what, r := range map[string]dedupe.AcquireRequest{
		"no token":               {Events: []dedupe.Event{good}},
		"token with a colon":     {Token: "a:b"},
		"version not digits":     {Token: "t", Events: []dedupe.Event{{Version: "secret-value"}}},
		"no version":             {Token: "t", Events: []dedupe.Event{{}}},
		"versions of two widths": {Token: "t", Events: []dedupe.Event{good, {Version: "1"}}},
		"redrive below 0":        {Token: "t", Events: []dedupe.Event{redrive(good, -1)}},
		"a value as field name":  {Token: "t", Events: []dedupe.Event{event(1, "secret value", "")}},
		"no field name":          {Token: "t", Events: []dedupe.Event{event(1, "", "")}},
	} {
		_, err := f.store.Acquire(f.Context(), r)
		f.isFault(what, err)
	}
	for what, c := range map[string]dedupe.Completion{
		"no token":              {},
		"outcome not a word":    {Token: "t", Done: []dedupe.DoneEvent{done(good, "secret-value")}},
		"no outcome":            {Token: "t", Done: []dedupe.DoneEvent{done(good, "")}},
		"redrive below 0":       {Token: "t", Done: []dedupe.DoneEvent{done(redrive(good, -1), "applied")}},
		"fields but no version": {Token: "t", Done: []dedupe.DoneEvent{{Outcome: "applied", Fields: []string{"mobile"}}}},
		"a value as field name": {Token: "t", Done: []dedupe.DoneEvent{{Outcome: "applied", Version: "1", Fields: []string{"secret value"}}}},
	} {
		_, err := f.store.Complete(f.Context(), c)
		f.isFault(what, err)
	}
}

func canceled(f *fixture) {
	cause := errors.New("canceled by the test")
	ctx, cancel := context.WithCancelCause(f.Context())
	cancel(cause)
	_, err := f.store.Acquire(ctx, dedupe.AcquireRequest{Member: f.member, Token: dedupe.NewToken()})
	if !errors.Is(err, context.Canceled) {
		f.Errorf("error %v, want context.Canceled", err)
	}
	f.equal("holder", f.redis.holder(), dedupe.Token(""))
}
