package dryrun

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"membersync/dedupe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestMemoryIsTheStore: as long as every call succeeds, the memory says what the state in Redis
// says, and sends the same.
func TestMemoryIsTheStore(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	client, err := dedupe.Open(dedupe.ClientConfig{URL: "redis://" + server.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	number := 0
	rapid.Check(t, func(t *rapid.T) {
		number++
		digests := rapid.Bool().Draw(t, "digests")
		options := dedupe.Options{Prefix: "ms", Scope: fmt.Sprint(number), DoneTTL: time.Hour, Lease: time.Minute}
		if digests {
			options.Key, options.DigestTTL = []byte("test"), time.Hour
		}
		store, err := dedupe.New(client, options)
		if err != nil {
			t.Fatal(err)
		}
		memory := NewMemory(digests)
		member := dedupe.NewMember("http://crm.test", fmt.Sprint(number), "FSUID_TEST0001")
		for range rapid.IntRange(1, 8).Draw(t, "folds") {
			fold(t, store, memory, member)
		}
	})
}

// fold takes one fold through both.
func fold(t *rapid.T, store *dedupe.Store, memory *Memory, member dedupe.Member) {
	events := someEvents(t)
	token := dedupe.NewToken()
	want, err := store.Acquire(t.Context(), dedupe.AcquireRequest{Member: member, Token: token, Events: events})
	if err != nil {
		t.Fatal(err)
	}
	got, err := memory.Acquire(t.Context(), dedupe.AcquireRequest{Member: member, Token: token, Events: events})
	if err != nil {
		t.Fatal(err)
	}
	want.Expires = time.Time{}
	for i := range want.Events {
		want.Events[i].Reused = false // which decides nothing
	}
	for _, g := range []*dedupe.Grant{&want, &got} {
		slices.SortFunc(g.Fields, func(a, b dedupe.FieldGrant) int { return strings.Compare(a.Name, b.Name) })
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("grants (-store +memory):\n%s", diff)
	}
	c := dedupe.Completion{Member: member, Token: token}
	for i, e := range events {
		if want.Events[i].Done {
			continue
		}
		done := dedupe.DoneEvent{ID: e.ID, Outcome: "applied", Version: e.Version}
		for _, f := range e.Fields {
			done.Fields = append(done.Fields, f.Name)
		}
		c.Done = append(c.Done, done)
	}
	for _, g := range want.Fields {
		for _, f := range events[g.Winner].Fields {
			if f.Name == g.Name && g.Decision == dedupe.Send {
				c.Sent = append(c.Sent, f)
			}
		}
	}
	for _, complete := range []func() (bool, error){
		func() (bool, error) { return store.Complete(t.Context(), c) },
		func() (bool, error) { return memory.Complete(t.Context(), c) },
	} {
		if late, err := complete(); late || err != nil {
			t.Fatal(late, err)
		}
	}
}

// TestMemoryIsBounded: however many events there are, the latest are known, and at most twice as
// many; its version decides about an older one.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	const keep = 100
	memory := newMemory(false, keep)
	member := dedupe.NewMember("http://crm.test", "1", "FSUID_TEST0001")
	event := func(i int) dedupe.Event {
		return dedupe.Event{
			ID: dedupe.NewEventID("in", fmt.Sprint(i), 0, ""), Version: fmt.Sprintf("%09d", i),
			Fields: []dedupe.Field{{Name: "qq", Value: []byte(`"1"`)}},
		}
	}
	acquire := func(i int) dedupe.Grant {
		g, err := memory.Acquire(t.Context(), dedupe.AcquireRequest{Member: member, Token: dedupe.NewToken(), Events: []dedupe.Event{event(i)}})
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	for i := range 50 * keep {
		e := event(i)
		c := dedupe.Completion{Member: member, Done: []dedupe.DoneEvent{{ID: e.ID, Outcome: "applied", Version: e.Version, Fields: []string{"qq"}}}}
		if _, err := memory.Complete(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if n := len(memory.done) + len(memory.doneOlder); n > 2*keep {
			t.Fatalf("%d events are remembered", n)
		}
		if back := i - keep + 1; back >= 0 && !acquire(back).Events[0].Done {
			t.Fatalf("event %d is forgotten after event %d", back, i)
		}
	}
	if g := acquire(0); g.Events[0].Done || !g.Stale[0] || g.Fields[0].Decision != dedupe.Superseded {
		t.Errorf("an event that is forgotten: %+v", g)
	}
	if len(memory.fields) != 1 || len(memory.words) != 2 {
		t.Errorf("%d fields, words %q", len(memory.fields), memory.words)
	}
}

// someEvents are different events, each with different fields.
func someEvents(t *rapid.T) []dedupe.Event {
	ids := rapid.SliceOfNDistinct(rapid.IntRange(1, 9), 1, 5, rapid.ID[int]).Draw(t, "ids")
	events := make([]dedupe.Event, len(ids))
	for i, id := range ids {
		events[i] = dedupe.Event{ID: dedupe.NewEventID("in", fmt.Sprint(id), 0, ""), Version: fmt.Sprintf("%02d", rapid.IntRange(1, 5).Draw(t, "version"))}
		for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"qq", "email", "name"}), 0, 3, rapid.ID[string]).Draw(t, "fields") {
			value := rapid.SampledFrom([]string{`"a"`, `"b"`}).Draw(t, "value")
			events[i].Fields = append(events[i].Fields, dedupe.Field{Name: name, Value: []byte(value)})
		}
	}
	return events
}
