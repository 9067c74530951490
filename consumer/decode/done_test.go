package decode_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"membersync/consumer/decode"
	"membersync/consumer/event"
	"membersync/dedupe"
	"membersync/dlq"
	"membersync/mapper"
)

func newStore(t *testing.T) *dedupe.Store {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	t.Cleanup(func() { _ = client.Close() })
	store, err := dedupe.New(client, dedupe.Options{Prefix: "t", DoneTTL: time.Hour, Lease: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// delivery is a delivery of event n with a redrive number.
func delivery(n, redrive int) *event.Event {
	rec := &event.Record{}
	if redrive > 0 {
		rec.Redrive = &event.Redrive{Request: dlq.Redrive{Number: redrive}}
	}
	ev := event.New(event.Pack(rec), mapper.Event{OpenUserID: "u"})
	ev.Key, ev.ID = event.LaneKey{Member: dedupe.NewMember("b", "c", "u")}, dedupe.NewEventID("t", fmt.Sprint(n), 0, "1")
	return ev
}

// mark completes event n.
func mark(t *testing.T, s *dedupe.Store, n, redrive int, done dedupe.DoneEvent) {
	t.Helper()
	ev, token := delivery(n, redrive), dedupe.NewToken()
	req := dedupe.AcquireRequest{Member: ev.Key.Member, Token: token, Events: []dedupe.Event{
		{ID: ev.ID, Redrive: redrive, Version: "00", TryHeld: true},
	}}
	if _, err := s.Acquire(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	done.ID, done.Redrive = ev.ID, redrive
	if _, err := s.Complete(t.Context(), dedupe.Completion{Member: ev.Key.Member, Token: token, Done: []dedupe.DoneEvent{done}}); err != nil {
		t.Fatal(err)
	}
}

// TestRecognizeAgreesWithAcquire compares the answers for each kind of mark and delivery.
func TestRecognizeAgreesWithAcquire(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	mark(t, s, 1, 0, dedupe.DoneEvent{Outcome: "applied"})
	mark(t, s, 2, 2, dedupe.DoneEvent{Outcome: "superseded"})
	mark(t, s, 3, 0, dedupe.DoneEvent{Outcome: "dead_lettered"})
	mark(t, s, 4, 1, dedupe.DoneEvent{Outcome: "dead_lettered"})
	mark(t, s, 5, 0, dedupe.DoneEvent{Held: &dedupe.Held{Reason: "crm_invalid", Code: "40001"}})
	for _, reapply := range []bool{false, true} {
		var events []*event.Event
		var asked []dedupe.Event
		for n := range 7 { // nothing is known of 0 and 6
			for redrive := range 4 {
				ev := delivery(n, redrive)
				events = append(events, ev)
				asked = append(asked, dedupe.Event{ID: ev.ID, Redrive: redrive, Version: "00"})
			}
		}
		token := dedupe.NewToken()
		grant, err := s.Acquire(t.Context(), dedupe.AcquireRequest{
			Member: events[0].Key.Member, Token: token, Events: asked, Reapply: reapply,
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Release(t.Context(), events[0].Key.Member, token); err != nil {
			t.Fatal(err)
		}
		got := make([]dedupe.EventGrant, len(events))
		r := decode.NewRecognizer(s, reapply)
		if err := r.Recognize(t.Context(), events, func(i int, mark dedupe.EventGrant) { got[i] = mark }); err != nil {
			t.Fatal(err)
		}
		for i, g := range grant.Events {
			if g.Done != got[i].Done || g.Done && g != got[i] {
				t.Errorf("reapply %v, event %d, redrive %d: recognized %+v, acquired %+v", reapply, i/4, i%4, got[i], g)
			}
		}
	}
}

// TestWhatIsNotLookedUp: an ignored event has no member, and a replay leaves others out anyway.
func TestWhatIsNotLookedUp(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	mark(t, s, 1, 0, dedupe.DoneEvent{Outcome: "applied"})
	ignored, skipped, done := delivery(1, 0), delivery(1, 0), delivery(1, 0)
	ignored.SetMapped(mapper.Event{OpenUserID: "u", Ignored: "a rule"})
	skipped.Skipped = true
	var found []int
	r := decode.NewRecognizer(s, false)
	err := r.Recognize(t.Context(), []*event.Event{ignored, skipped, done}, func(i int, _ dedupe.EventGrant) { found = append(found, i) })
	if err != nil || len(found) != 1 || found[0] != 2 {
		t.Errorf("found %v, error %v, want the third", found, err)
	}
}

// TestWhenItIsLookedUp: while a quarter of the latest events are done.
func TestWhenItIsLookedUp(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	r := decode.NewRecognizer(s, false)
	lookUp := func(n int) {
		t.Helper()
		var events []*event.Event
		for i := range n {
			events = append(events, delivery(i, 0))
		}
		if err := r.Recognize(t.Context(), events, func(int, dedupe.EventGrant) {}); err != nil {
			t.Fatal(err)
		}
	}
	want := func(what string, on bool) {
		t.Helper()
		if r.IsOn() != on {
			t.Errorf("%s: on is %v", what, r.IsOn())
		}
	}
	want("at first", true)
	lookUp(63)
	want("not decided yet", true)
	lookUp(1)
	want("none was done", false)
	r.RecordAcquired(64, 15)
	want("less than a quarter", false)
	r.RecordAcquired(60, 15)
	r.RecordAcquired(4, 1)
	want("a quarter", true)
	r.RecordAcquired(500, 0)
	want("lanes do not count while it is on", true)
	for n := range 16 {
		mark(t, s, n, 0, dedupe.DoneEvent{Outcome: "applied"})
	}
	lookUp(64)
	want("a quarter of those looked up", true)
	lookUp(65)
	want("less of those looked up", false)
	r.Restart()
	want("after a restart", true)
	none := decode.NewRecognizer(nil, false)
	none.RecordAcquired(64, 64)
	if none.IsOn() {
		t.Error("on without marks")
	}
}
