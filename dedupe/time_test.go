package dedupe_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"membersync/dedupe"
)

func options() dedupe.Options {
	return dedupe.Options{
		Prefix: "t", Scope: "s", DoneTTL: time.Hour, Lease: 25 * time.Second,
		Key: []byte("a key made up for tests"), DigestTTL: time.Hour,
	}
}

func newStore(tb testing.TB, client redis.UniversalClient, change func(*dedupe.Options)) *dedupe.Store {
	tb.Helper()
	opts := options()
	if change != nil {
		change(&opts)
	}
	store, err := dedupe.New(client, opts)
	if err != nil {
		tb.Fatal(err)
	}
	return store
}

// apply acquires and completes an event that states one field.
func apply(tb testing.TB, s *dedupe.Store, m dedupe.Member, n int, value string) dedupe.Grant {
	tb.Helper()
	fields := []dedupe.Field{{Name: "mobile", Value: []byte(value)}}
	token, version := dedupe.NewToken(), fmt.Sprintf("%020d", n)
	e := dedupe.Event{ID: dedupe.NewEventID("topic", version, 0, version), Version: version, Fields: fields}
	g, err := s.Acquire(tb.Context(), dedupe.AcquireRequest{Member: m, Token: token, Events: []dedupe.Event{e}})
	if err != nil || g.Leased {
		tb.Fatal("acquire:", g.Leased, err)
	}
	c := dedupe.Completion{Member: m, Token: token, Sent: fields, Done: []dedupe.DoneEvent{
		{ID: e.ID, Outcome: "applied", Version: version, Fields: []string{"mobile"}},
	}}
	if g.Fields[0].Decision != dedupe.Send {
		c.Sent = nil
	}
	if late, err := s.Complete(tb.Context(), c); err != nil || late {
		tb.Fatal("complete:", late, err)
	}
	return g
}

func TestDigestAge(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		after []time.Duration // when the same value is delivered again
		want  []dedupe.FieldDecision
	}{
		"young":               {[]time.Duration{time.Hour - time.Millisecond}, []dedupe.FieldDecision{dedupe.Unchanged}},
		"old":                 {[]time.Duration{time.Hour}, []dedupe.FieldDecision{dedupe.Send}},
		"the clock went back": {[]time.Duration{-time.Minute}, []dedupe.FieldDecision{dedupe.Send}},
		"unchanged does not renew it": {
			[]time.Duration{40 * time.Minute, 80 * time.Minute, 100 * time.Minute},
			[]dedupe.FieldDecision{dedupe.Unchanged, dedupe.Send, dedupe.Unchanged},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, client := newMini(t)
			m.ClockTTL(false)
			m.SetTime(start)
			s, member := newStore(t, client, nil), dedupe.NewMember("b", "c", "u")
			apply(t, s, member, 1, "a")
			for i, after := range tt.after {
				m.SetTime(start.Add(after))
				if got := apply(t, s, member, 2+i, "a").Fields[0].Decision; got != tt.want[i] {
					t.Errorf("after %v: %v, want %v", after, got, tt.want[i])
				}
			}
		})
	}
}

// Versions last for the member TTL from the last completion. After it nothing keeps an older value
// out, and nothing keeps a replay of all events from bringing the newest one back.
func TestVersionsExpire(t *testing.T) {
	t.Parallel()
	const ttl = 3 * time.Hour
	for name, tt := range map[string]struct {
		idle time.Duration
		want dedupe.FieldDecision
	}{
		"within the member TTL": {ttl - time.Minute, dedupe.Superseded},
		"after it":              {ttl, dedupe.Send},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, client := newMini(t)
			m.ClockTTL(false)
			now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
			pass := func(d time.Duration) {
				now = now.Add(d)
				m.SetTime(now)
				m.FastForward(d)
			}
			pass(0)
			s := newStore(t, client, func(o *dedupe.Options) { o.MemberTTL = ttl })
			member := dedupe.NewMember("b", "c", "u")
			apply(t, s, member, 8, "a")
			pass(2 * time.Hour)
			apply(t, s, member, 9, "b") // renews them
			pass(tt.idle)
			if got := apply(t, s, member, 7, "c").Fields[0].Decision; got != tt.want {
				t.Errorf("an older event after %v: %v, want %v", tt.idle, got, tt.want)
			}
			if tt.want == dedupe.Send {
				if got := apply(t, s, member, 9, "b").Fields; len(got) != 1 || got[0].Decision != dedupe.Send {
					t.Errorf("the newest event in a replay: %v, want it sent", got)
				}
			}
		})
	}
}

// A call as the vendor may count it: at any moment from its send to its response.
type call struct {
	id             string
	sent, answered time.Time
}

// TestNoWindowSeesMoreThanTheLimit moves the server's clock by hand between permits, sends and
// responses. For any window of time, the number of calls open at any moment in it is at most the
// limit. So no choice of moments makes the vendor count more.
func TestNoWindowSeesMoreThanTheLimit(t *testing.T) {
	t.Parallel()
	mini, client := newMini(t)
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		store := newStore(t, client, func(o *dedupe.Options) { o.Scope = fmt.Sprint(runs) })
		limit := rapid.IntRange(1, 8).Draw(rt, "limit")
		window := time.Duration(rapid.IntRange(1, 50).Draw(rt, "window")) * time.Millisecond
		// Any step, and steps that end exactly at a window's end or just before it.
		step := rapid.OneOf(
			rapid.Map(rapid.IntRange(0, 12_000), func(n int) time.Duration { return time.Duration(n) * time.Microsecond }),
			rapid.SampledFrom([]time.Duration{window, window - 300*time.Microsecond, window / 2}),
		)
		const hold = 20 * time.Millisecond
		now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
		var open, closed []call
		for i := range rapid.IntRange(1, 40).Draw(rt, "steps") {
			now = now.Add(step.Draw(rt, "step"))
			mini.SetTime(now)
			open, closed = endSome(rt, store, open, closed, now, hold)
			id := fmt.Sprint(i)
			ok, wait, _, err := store.Permit(t.Context(), dedupe.PermitRequest{
				Limit: limit, Window: window, Rank: rapid.IntRange(0, 2).Draw(rt, "rank"), ID: id, Hold: hold,
			})
			switch {
			case err != nil:
				rt.Fatal(err)
			case ok:
				open = append(open, call{id: id, sent: now})
			case wait <= 0 || wait > max(window, time.Second):
				rt.Fatalf("denied with a wait of %v", wait)
			}
		}
		for _, c := range open {
			closed = append(closed, call{c.id, c.sent, c.sent.Add(hold)})
		}
		for _, c := range closed {
			checkWindow(rt, closed, c.answered, window, limit)
			checkWindow(rt, closed, c.sent.Add(-window), window, limit)
		}
	})
}

// endSome ends some of the open calls. A call is answered now, or its permit is returned unused, or
// its process crashed: then the call ends at its deadline.
func endSome(t *rapid.T, s *dedupe.Store, open, closed []call, now time.Time, hold time.Duration) ([]call, []call) {
	var still []call
	for _, c := range open {
		deadline := c.sent.Add(hold)
		switch end := rapid.SampledFrom([]string{"open", "answered", "returned"}).Draw(t, "end"); {
		case !now.Before(deadline):
			closed = append(closed, call{c.id, c.sent, deadline})
		case end == "answered":
			must(t, s.PermitDone(t.Context(), c.id, true))
			closed = append(closed, call{c.id, c.sent, now})
		case end == "returned":
			must(t, s.PermitDone(t.Context(), c.id, false))
		default:
			still = append(still, c)
		}
	}
	return still, closed
}

func must(t *rapid.T, err error) {
	if err != nil {
		t.Fatal(err)
	}
}

// checkWindow fails if more calls than the limit touch the window.
func checkWindow(t *rapid.T, calls []call, from time.Time, window time.Duration, limit int) {
	to := from.Add(window)
	seen := slices.DeleteFunc(slices.Clone(calls), func(c call) bool { return c.sent.After(to) || c.answered.Before(from) })
	if len(seen) > limit {
		t.Fatalf("the window from %v to %v sees %d calls, want at most %d", from, to, len(seen), limit)
	}
}
