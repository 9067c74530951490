package dedupetest

import (
	"strconv"
	"strings"
	"time"

	"membersync/dedupe"
)

func viewTests() map[string]func(*fixture) {
	return map[string]func(*fixture){
		"an unknown member has an empty state":             viewNothing,
		"a member's lease, versions and digests are shown": viewMember,
		"reading changes nothing":                          viewChangesNothing,
		"a digest is shown only while it is trusted":       viewDigestAge,
		"the outcomes of events are shown":                 viewDone,
		"more events than one request takes":               viewManyDone,
		"a member is forgotten except for lease and marks": forgetMember,
		"forgotten events are live again":                  forgetEvents,
	}
}

func (f *fixture) state(fields []string) dedupe.MemberState {
	f.Helper()
	state, err := f.store.Member(f.Context(), f.member, fields)
	f.must(err)
	return state
}

func (f *fixture) wantFields(what string, want ...dedupe.FieldState) {
	f.Helper()
	f.equal(what, f.state(nil).Fields, want)
}

func (f *fixture) outcomes(events ...dedupe.Event) []dedupe.EventGrant {
	f.Helper()
	ids := make([]dedupe.EventID, len(events))
	for i, e := range events {
		ids[i] = e.ID
	}
	grants, err := f.store.Done(f.Context(), f.member, ids)
	f.must(err)
	return grants
}

func viewNothing(f *fixture) {
	f.equal("all", f.state(nil), dedupe.MemberState{})
	f.equal("a field", f.state([]string{"mobile"}), dedupe.MemberState{Fields: []dedupe.FieldState{{Name: "mobile"}}})
	f.equal("events", f.outcomes(event(1)), []dedupe.EventGrant{{}})
	f.equal("no events", f.outcomes(), []dedupe.EventGrant{})
	f.must(f.store.Forget(f.Context(), f.member))
	f.must(f.store.Restore(f.Context(), f.member, nil))
	f.equal("keys", len(f.keys(f.Context())), 0)
}

func viewMember(f *fixture) {
	f.apply(event(1, "title", "a", "mobile", "a"))
	f.apply(event(2, "mobile", "b"))
	token := dedupe.NewToken()
	f.acquire(token, event(3, "title", "b"))
	before := f.client.PTTL(f.Context(), f.key("lease")).Val()
	state := f.state(nil)
	if after := f.client.PTTL(f.Context(), f.key("lease")).Val(); state.Left > before || state.Left < after || after <= 0 {
		f.Errorf("the lease has %v left, want between %v and %v", state.Left, before, after)
	}
	if !strings.HasPrefix(string(token), state.Holder) || len(state.Holder) < 6 || len(state.Holder) > 10 {
		f.Errorf("the holder is shown as %q, want the beginning of its token", state.Holder)
	}
	state.Left, state.Holder = 0, ""
	mobile := dedupe.FieldState{Name: "mobile", Version: version(2), Digest: true}
	title := dedupe.FieldState{Name: "title", Version: version(1), Pending: version(3)} // handed out
	f.equal("state", state, dedupe.MemberState{Leased: true, Fields: []dedupe.FieldState{mobile, title}})
	f.must(f.store.Release(f.Context(), f.member, token))
	title.Pending = ""
	f.equal("some fields", f.state([]string{"title", "name"}), dedupe.MemberState{
		Fields: []dedupe.FieldState{title, {Name: "name"}},
	})
}

func viewChangesNothing(f *fixture) {
	f.apply(event(1, "mobile", "a"))
	f.acquire(dedupe.NewToken())
	f.must(f.client.PExpire(f.Context(), f.key("lease"), 30*time.Second).Err())
	before := f.dump()
	f.state(nil)
	f.state([]string{"mobile"})
	f.outcomes(event(1), event(2))
	f.equal("what is stored", f.dump(), before)
	if ttl := f.client.PTTL(f.Context(), f.key("lease")).Val(); ttl > 30*time.Second {
		f.Errorf("the lease was renewed: %v", ttl)
	}
}

func viewDigestAge(f *fixture) {
	f.apply(event(1, "mobile", "a"))
	f.wantFields("young", dedupe.FieldState{Name: "mobile", Version: version(1), Digest: true})
	f.must(f.client.HSet(f.Context(), f.key("fields"), "d:mobile", "1:old").Err())
	f.wantFields("old", dedupe.FieldState{Name: "mobile", Version: version(1)})
	ahead := strconv.FormatInt(time.Now().Add(time.Hour).UnixMilli(), 10)
	f.must(f.client.HSet(f.Context(), f.key("fields"), "d:mobile", ahead+":ahead").Err())
	f.wantFields("from the future", dedupe.FieldState{Name: "mobile", Version: version(1)})
	f.store = f.newStore(func(o *dedupe.Options) { o.Key = nil })
	f.apply(event(2, "mobile", "a"))
	f.wantFields("without a key", dedupe.FieldState{Name: "mobile", Version: version(2)})
}

func viewDone(f *fixture) {
	a, b, c := reused(1, "mobile", "a"), reused(2, "mobile", "b"), event(3, "mobile", "c")
	f.apply(a)
	f.equal("the first", f.outcomes(a, b, c), []dedupe.EventGrant{{Done: true, Outcome: "applied"}, {Reused: true}, {}})
	f.apply(redrive(b, 3))
	token := dedupe.NewToken()
	f.acquire(token, c)
	f.complete(dedupe.Completion{Token: token, Done: []dedupe.DoneEvent{done(c, "dead_lettered")}})
	f.equal("all", f.outcomes(c, b, a), []dedupe.EventGrant{
		{Done: true, Outcome: "dead_lettered"},
		{Done: true, Outcome: "applied", Redrive: 3, Reused: true},
		{Done: true, Outcome: "applied", Reused: true},
	})
}

func viewManyDone(f *fixture) {
	var events []dedupe.Event
	want := make([]dedupe.EventGrant, 1201)
	for n := range want {
		events = append(events, event(n))
	}
	for _, n := range []int{0, 499, 500, 1200} {
		f.apply(events[n])
		want[n] = dedupe.EventGrant{Done: true, Outcome: "applied"}
	}
	f.equal("outcomes", f.outcomes(events...), want)
	var ids []dedupe.EventID
	for _, e := range events {
		ids = append(ids, e.ID)
	}
	f.must(f.store.Forget(f.Context(), f.member, ids...))
	f.equal("forgotten", f.outcomes(events...), make([]dedupe.EventGrant, len(events)))
}

func forgetMember(f *fixture) {
	e, token := event(5, "mobile", "a"), dedupe.NewToken()
	f.apply(e)
	f.acquire(token)
	f.must(f.store.Forget(f.Context(), f.member))
	f.equal("holder", f.holder(), token)
	f.must(f.store.Release(f.Context(), f.member, token))
	f.equal("state", f.state(nil), dedupe.MemberState{})
	f.equal("the event", f.outcomes(e), []dedupe.EventGrant{{Done: true, Outcome: "applied"}})
	f.equal("an older one", f.decisions(event(4, "mobile", "a")), map[string]string{"mobile": "send"})
}

func forgetEvents(f *fixture) {
	a, b, other := reused(1, "mobile", "a"), reused(2, "mobile", "b"), event(3, "mobile", "c")
	f.apply(a)
	f.apply(b)
	f.apply(other)
	f.must(f.store.Forget(f.Context(), f.member, a.ID))
	f.equal("events", f.outcomes(a, b, other), []dedupe.EventGrant{{}, {}, {Done: true, Outcome: "applied"}})
	f.equal("fields", f.state(nil).Fields, []dedupe.FieldState(nil))
}
