package dedupe_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"membersync/dedupe"
)

// markStart is a moment within an hour.
func markStart() time.Time { return time.Date(2026, 11, 1, 0, 30, 0, 0, time.UTC) }

// markKey returns the key of the member's done marks.
func markKey(s *dedupe.Store, m dedupe.Member) string { return "t:{" + s.MemberHash(m) + "}:d" }

// isDone reports what both ways of asking say of event n of [apply]. They must agree.
func isDone(t *testing.T, s *dedupe.Store, m dedupe.Member, n int) bool {
	t.Helper()
	version := fmt.Sprintf("%020d", n)
	id := dedupe.NewEventID("topic", version, 0, version)
	read, err := s.Done(t.Context(), m, []dedupe.EventID{id})
	if err != nil {
		t.Fatal(err)
	}
	token := dedupe.NewToken()
	g, err := s.Acquire(t.Context(), dedupe.AcquireRequest{
		Member: m, Token: token, Events: []dedupe.Event{{ID: id, Version: version}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Release(t.Context(), m, token); err != nil {
		t.Fatal(err)
	}
	if g.Events[0] != read[0] {
		t.Errorf("acquire says %+v, and a read %+v", g.Events[0], read[0])
	}
	return read[0].Done
}

// TestMarkAge shows how long a mark is trusted while the member has newer events, so that the key
// lives on.
func TestMarkAge(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		ttl, age time.Duration
		want     bool
	}{
		"fresh":                       {5 * time.Hour, time.Minute, true},
		"as old as the TTL":           {5 * time.Hour, 5 * time.Hour, true},
		"two hours more":              {5 * time.Hour, 7 * time.Hour, false},
		"TTL of a fraction":           {90 * time.Minute, 90 * time.Minute, true},
		"a fraction and two hours":    {90 * time.Minute, 210 * time.Minute, false},
		"shorter than an hour":        {time.Minute, time.Minute, true},
		"the clock has gone back":     {5 * time.Hour, -48 * time.Hour, true},
		"a year, of the longest TTL":  {30_000 * time.Hour, 365 * 24 * time.Hour, true},
		"older than the longest TTL":  {30_000 * time.Hour, 30_002 * time.Hour, false},
		"default TTL, after a year":   {336 * time.Hour, 365 * 24 * time.Hour, false},
		"default TTL, after 14 days":  {336 * time.Hour, 336 * time.Hour, true},
		"default TTL, 14 days and 2h": {336 * time.Hour, 338 * time.Hour, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, client := newMini(t)
			m.ClockTTL(false) // the key is kept, as by events completed all the time
			s := newStore(t, client, func(o *dedupe.Options) { o.DoneTTL = tt.ttl })
			member := dedupe.NewMember("b", "c", "u")
			m.SetTime(markStart())
			apply(t, s, member, 1, "a")
			m.SetTime(markStart().Add(tt.age))
			if got := isDone(t, s, member, 1); got != tt.want {
				t.Errorf("done %v, want %v", got, tt.want)
			}
		})
	}
}

// TestMarksArePruned shows that a member with events all the time keeps few expired marks.
func TestMarksArePruned(t *testing.T) {
	t.Parallel()
	m, client := newMini(t)
	s := newStore(t, client, func(o *dedupe.Options) { o.DoneTTL = 48 * time.Hour })
	member := dedupe.NewMember("b", "c", "u")
	const live = 4*48 + 8 // four an hour
	for n := range 10 * live {
		m.SetTime(markStart().Add(time.Duration(n) * 15 * time.Minute))
		apply(t, s, member, n, "a")
		if n < 2*live {
			continue
		}
		if size := client.HLen(t.Context(), markKey(s, member)).Val(); size < live-8 || size > live*3/2 {
			t.Fatalf("after %d events: %d marks, want %d and at most half as many expired ones", n, size, live)
		}
	}
}

// TestMarksOfOtherFormats shows that what another version of the program has written is refused,
// and left as it is.
func TestMarksOfOtherFormats(t *testing.T) {
	t.Parallel()
	_, client := newMini(t)
	s, member := newStore(t, client, nil), dedupe.NewMember("b", "c", "u")
	apply(t, s, member, 1, "a")
	version := fmt.Sprintf("%020d", 1)
	e := dedupe.Event{ID: dedupe.NewEventID("topic", version, 0, version), Version: version}
	name, id := s.EventHash(e.ID)
	head := id + strings.Repeat("x", 7)
	for what, stored := range map[string]string{
		"a short value":          "x",
		"an unknown code":        head + "\x05",
		"an unknown flag":        head + "\x11",
		"a text that is cut off": head + "\x00\x09abc",
		"no text":                head + "\x00",
		"no redrive number":      head + "\x09\x01",
	} {
		if err := client.HSet(t.Context(), markKey(s, member), name, stored).Err(); err != nil {
			t.Fatal(err)
		}
		token := dedupe.NewToken()
		_, err := s.Acquire(t.Context(), dedupe.AcquireRequest{Member: member, Token: token, Events: []dedupe.Event{e}})
		wantFormat(t, what+": acquire", err)
		_, err = s.Done(t.Context(), member, []dedupe.EventID{e.ID})
		wantFormat(t, what+": done", err)
		done := []dedupe.DoneEvent{{ID: e.ID, Outcome: "applied"}}
		_, err = s.Complete(t.Context(), dedupe.Completion{Member: member, Token: token, Done: done})
		wantFormat(t, what+": complete", err)
		wantFormat(t, what+": restore", s.Restore(t.Context(), member, done))
		if got := client.HGet(t.Context(), markKey(s, member), name).Val(); got != stored {
			t.Errorf("%s: %q was changed to %q", what, stored, got)
		}
	}
}

func wantFormat(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, dedupe.ErrFormat) {
		t.Errorf("%s: %v, want ErrFormat", what, err)
	}
}

// TestMarkerOfAnotherFormat shows that an instance stops before it reads anything else.
func TestMarkerOfAnotherFormat(t *testing.T) {
	t.Parallel()
	_, client := newMini(t)
	s := newStore(t, client, nil)
	if err := s.MarkInitialized(t.Context(), "group"); err != nil {
		t.Fatal(err)
	}
	key := client.Keys(t.Context(), "t:{state:*").Val()[0]
	good := client.Get(t.Context(), key).Val()
	if _, err := s.Control(t.Context(), "group"); err != nil {
		t.Error("its own format:", err)
	}
	for _, other := range []string{good + "1", strings.TrimSuffix(good, good[strings.LastIndex(good, ":"):]), good + ":x"} {
		if err := client.Set(t.Context(), key, other, 0).Err(); err != nil {
			t.Fatal(err)
		}
		_, err := s.Control(t.Context(), "group")
		wantFormat(t, other, err)
	}
}
