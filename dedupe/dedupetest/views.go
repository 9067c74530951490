package dedupetest

import (
	"encoding/binary"
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
		"the outcomes of events of many members":           viewDoneOfMany,
		"a member is forgotten except for lease and marks": forgetMember,
		"forgotten events are live again":                  forgetEvents,
	}
}

func viewNothing(f *fixture) {
	f.equal("all", f.view.state(), dedupe.MemberState{})
	f.equal("a field", f.view.state("mobile"), dedupe.MemberState{Fields: []dedupe.FieldState{{Name: "mobile"}}})
	f.equal("events", f.view.outcomes(event(1)), []dedupe.EventGrant{{}})
	f.equal("no events", f.view.outcomes(), []dedupe.EventGrant{})
	f.must(f.store.Forget(f.Context(), f.member))
	f.must(f.store.Restore(f.Context(), f.member, nil))
	f.equal("keys", len(f.redis.keys()), 0)
}

func viewMember(f *fixture) {
	f.apply(event(1, "title", "a", "mobile", "a"))
	f.apply(event(2, "mobile", "b"))
	token := dedupe.NewToken()
	f.acquire(token, event(3, "title", "b"))
	before := f.redis.ttl("lease")
	state := f.view.state()
	if after := f.redis.ttl("lease"); state.Left > before || state.Left < after || after <= 0 {
		f.Errorf("the lease has %v left, want between %v and %v", state.Left, before, after)
	}
	if !strings.HasPrefix(string(token), state.Holder) || len(state.Holder) < 6 || len(state.Holder) > 10 {
		f.Errorf("the holder is shown as %q, want the beginning of its token", state.Holder)
	}
	state.Left, state.Holder = 0, ""
	mobile := dedupe.FieldState{Name: "mobile", Version: version(2), Digest: true}
	title := dedupe.FieldState{Name: "title", Version: version(1), Pending: version(3)} // handed out
	f.equal("state", state, dedupe.MemberState{Leased: true, Fields: []dedupe.FieldState{mobile, title}})
	f.release(token)
	title.Pending = ""
	f.equal("some fields", f.view.state("title", "name"), dedupe.MemberState{
		Fields: []dedupe.FieldState{title, {Name: "name"}},
	})
}

func viewChangesNothing(f *fixture) {
	f.apply(event(1, "mobile", "a"))
	f.acquire(dedupe.NewToken())
	f.redis.expireIn("lease", 30*time.Second)
	before := f.redis.dump()
	f.view.state()
	f.view.state("mobile")
	f.view.outcomes(event(1), event(2))
	f.equal("what is stored", f.redis.dump(), before)
	if ttl := f.redis.ttl("lease"); ttl > 30*time.Second {
		f.Errorf("the lease was renewed: %v", ttl)
	}
}

func viewDigestAge(f *fixture) {
	f.apply(event(1, "mobile", "a"))
	f.equal("young", f.view.state().Fields, []dedupe.FieldState{{Name: "mobile", Version: version(1), Digest: true}})
	f.redis.setDigest("mobile", digestOf(time.UnixMilli(1)))
	f.equal("old", f.view.state().Fields, []dedupe.FieldState{{Name: "mobile", Version: version(1)}})
	f.redis.setDigest("mobile", digestOf(time.Now().Add(time.Hour)))
	f.equal("from the future", f.view.state().Fields, []dedupe.FieldState{{Name: "mobile", Version: version(1)}})
	f.store = f.newStore(func(o *dedupe.Options) { o.Key = nil })
	f.apply(event(2, "mobile", "a"))
	f.equal("without a key", f.view.state().Fields, []dedupe.FieldState{{Name: "mobile", Version: version(2)}})
}

// digestOf is a stored digest of no value: its time in ms in six bytes, and 16 bytes.
func digestOf(written time.Time) string {
	ms := binary.BigEndian.AppendUint64(nil, uint64(written.UnixMilli()))
	return string(ms[2:]) + strings.Repeat("x", 16)
}

func viewDone(f *fixture) {
	a, b, c := reused(1, "mobile", "a"), reused(2, "mobile", "b"), event(3, "mobile", "c")
	f.apply(a)
	f.equal("the first", f.view.outcomes(a, b, c), []dedupe.EventGrant{{Done: true, Outcome: "applied"}, {Reused: true}, {}})
	f.apply(redrive(b, 3))
	f.finish(c, "dead_lettered")
	f.equal("all", f.view.outcomes(c, b, a), []dedupe.EventGrant{
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
	f.equal("outcomes", f.view.outcomes(events...), want)
	var ids []dedupe.EventID
	for _, e := range events {
		ids = append(ids, e.ID)
	}
	f.must(f.store.Forget(f.Context(), f.member, ids...))
	f.equal("forgotten", f.view.outcomes(events...), make([]dedupe.EventGrant, len(events)))
}

func viewDoneOfMany(f *fixture) {
	var events []dedupe.MemberEvent
	var want []dedupe.EventGrant
	for n := range 300 {
		f.member = memberNumber(n % 70)
		e := event(n, "mobile", "a")
		events = append(events, dedupe.MemberEvent{Member: f.member, ID: e.ID})
		switch n % 4 {
		case 0:
			want = append(want, dedupe.EventGrant{})
		case 1:
			f.hold(e)
			want = append(want, dedupe.EventGrant{Held: rejectedBefore()})
		default:
			f.apply(redrive(e, n%4-2))
			want = append(want, dedupe.EventGrant{Done: true, Outcome: "applied", Redrive: n%4 - 2})
		}
	}
	grants, err := f.store.DoneOf(f.Context(), events)
	f.must(err)
	f.equal("outcomes", grants, want)
	grants, err = f.store.DoneOf(f.Context(), nil)
	f.must(err)
	f.equal("of no events", len(grants), 0)
}

func forgetMember(f *fixture) {
	e, token := event(5, "mobile", "a"), dedupe.NewToken()
	f.apply(e)
	f.acquire(token)
	f.must(f.store.Forget(f.Context(), f.member))
	f.equal("holder", f.redis.holder(), token)
	f.release(token)
	f.equal("state", f.view.state(), dedupe.MemberState{})
	f.equal("the event", f.view.outcomes(e), []dedupe.EventGrant{{Done: true, Outcome: "applied"}})
	f.equal("an older one", f.decisions(event(4, "mobile", "a")), map[string]string{"mobile": "send"})
}

func forgetEvents(f *fixture) {
	a, b, other := reused(1, "mobile", "a"), reused(2, "mobile", "b"), event(3, "mobile", "c")
	f.apply(a)
	f.apply(b)
	f.apply(other)
	f.must(f.store.Forget(f.Context(), f.member, a.ID))
	f.equal("events", f.view.outcomes(a, b, other), []dedupe.EventGrant{{}, {}, {Done: true, Outcome: "applied"}})
	f.equal("fields", f.view.state().Fields, []dedupe.FieldState(nil))
}
