package schedule

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"membersync/consumer/event"
	"membersync/crmapi"
	"membersync/dlq"
	"membersync/mapper"
)

// A ticket counts nothing: these tests are about the lanes.
type ticket struct{ revoked bool }

func (*ticket) Finish()           {}
func (*ticket) Drop()             {}
func (*ticket) ReleaseBuffer()    {}
func (t *ticket) IsRevoked() bool { return t.revoked }
func (*ticket) IsClosed() bool    { return false }

// A guarded is a schedule with a storm guard whose events pass through it as the pipeline moves
// them, without any I/O.
type guarded struct {
	*Schedule

	t       *testing.T
	now     time.Time
	next    int64
	rejects func(*event.Event) bool
	pauses  []Change
	storms  []StormChange
	tried   []*event.Event // in the order in which they were called
	dead    []*event.Event
	applied []*event.Event
}

func newGuarded(t *testing.T) *guarded {
	t.Helper()
	g := &guarded{t: t, now: time.Unix(1000, 0), rejects: func(*event.Event) bool { return true }}
	g.Schedule = New(Config{
		Concurrency: 8, StormShare: 0.5, OnPause: func(c Change) { g.pauses = append(g.pauses, c) },
		OnStorm: func(c StormChange) { g.storms = append(g.storms, c) },
	})
	g.SetControlKnown()
	return g
}

func newEvent(rec mapper.Record) *event.Event {
	ev := event.New(event.Pack(&event.Record{Origin: rec}), mapper.Event{})
	ev.Ticket = &ticket{}
	return ev
}

// read adds a new event of a member.
func (g *guarded) read(partition int, member string) *event.Event {
	g.next++
	ev := newEvent(mapper.Record{Partition: partition, Offset: g.next, Time: g.now})
	ev.Key = event.LaneKey{Member: memberOf(member)}
	g.RecordMapped(ev)
	g.Add(g.now, ev)
	return ev
}

// run runs all batches that can start now.
func (g *guarded) run() {
	for {
		b := g.Next(g.now).Batch
		if b == nil {
			return
		}
		g.settle(b)
	}
}

func (g *guarded) settle(b *event.Batch) {
	var rejected []*event.Event
	var r event.Result
	for _, ev := range b.Events {
		switch {
		case ev.Rejection != nil:
			rejected = append(rejected, ev)
		case g.rejects(ev):
			g.tried = append(g.tried, ev)
			ev.Rejection = &event.Rejection{Reason: dlq.ReasonCRMInvalid}
			ev.AddAttempts().Last = &crmapi.Error{}
			rejected = append(rejected, ev)
		default:
			g.tried, g.applied = append(g.tried, ev), append(g.applied, ev)
			r.Finished = append(r.Finished, event.Finished{Event: ev, Outcome: event.Applied})
		}
	}
	if len(rejected) > 0 {
		var dead []*event.Event
		dead, r.Held = g.Admit(rejected)
		for _, ev := range dead {
			g.dead = append(g.dead, ev)
			r.Finished = append(r.Finished, event.Finished{Event: ev, Outcome: event.DeadLettered})
		}
	}
	g.CallOver(b)
	g.Settle(g.now, b, r)
}

// storm begins a storm in which n events, each of a member of its own, are held in two partitions.
func (g *guarded) storm(n int) (held []*event.Event) {
	g.SetStormKnown(true)
	for i := range n {
		held = append(held, g.read(i%2, fmt.Sprintf("held %d", i)))
	}
	g.run()
	g.wantHeld(n)
	g.tried = nil
	return held
}

func (g *guarded) wantHeld(n int) {
	g.t.Helper()
	if stats := g.Stats(g.now); stats.Held != n {
		g.t.Fatalf("%d events held, want %d: %+v", stats.Held, n, stats)
	}
}

// wait lets time pass, and returns how many held events were tried in it.
func (g *guarded) wait(d time.Duration) (tried int) {
	g.now = g.now.Add(d)
	before := len(g.tried)
	g.run()
	return len(g.tried) - before
}

// The first events of a storm are dead-lettered until enough are known; then all are held.
func TestRejectedEventsAreHeldInAStorm(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	for i := range 80 {
		g.read(0, fmt.Sprint(i))
		g.run()
	}
	g.wantHeld(31)
	if len(g.dead) != 49 || len(g.storms) != 1 || g.storms[0].Reason != string(dlq.ReasonCRMInvalid) {
		t.Errorf("%d dead letters, storms %+v", len(g.dead), g.storms)
	}
	if stats := g.Stats(g.now); len(stats.Causes) > 0 {
		t.Errorf("calls are paused: %v", stats.Causes)
	}
}

// A newer event of a member passes the held one.
func TestOthersPassAHeldEvent(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	g.storm(1)
	g.rejects = func(*event.Event) bool { return false }
	newer := g.read(0, "held 0")
	g.run()
	if !slices.Equal(g.applied, []*event.Event{newer}) {
		t.Errorf("%d events applied, want the newer one", len(g.applied))
	}
	g.wantHeld(1)
}

// Each 30 s one held event is tried, of the partitions in turn, as long as it is rejected again.
func TestHeldEventsAreTriedInTurnByPartition(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	held := g.storm(6)
	g.wait(0)
	for range 6 {
		if n := g.wait(29 * time.Second); n != 0 {
			t.Fatalf("%d tried within 30 s of the last round", n)
		}
		if n := g.wait(time.Second); n != 1 {
			t.Fatalf("%d tried after 30 s, want 1", n)
		}
	}
	if !slices.Equal(g.tried, held) {
		t.Error("not tried in turn")
	}
	g.wantHeld(6)
	if g.wait(30 * time.Second); g.tried[6] != held[0] {
		t.Error("the first one is not tried again after all others")
	}
}

// After each round that succeeds, the next is twice as large; one that fails begins again with one.
func TestRoundsGrowWhileTheySucceed(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	g.storm(40)
	g.wait(0)
	g.rejects = func(*event.Event) bool { return len(g.tried) == 3 || len(g.tried) == 4 } // two of the third round
	var rounds []int
	for range 7 {
		rounds = append(rounds, g.wait(30*time.Second))
	}
	if diff := cmp.Diff([]int{1, 2, 4, 1, 2, 4, 8}, rounds); diff != "" {
		t.Errorf("tried in each round (-want +got):\n%s", diff)
	}
}

// Of one member, a round tries one event: they would fold into one call.
func TestARoundTriesDifferentMembers(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	g.SetStormKnown(true)
	for i := range 12 {
		g.read(0, fmt.Sprint("member ", i/6))
		g.run()
	}
	g.wantHeld(12)
	g.rejects, g.tried = func(*event.Event) bool { return false }, nil
	g.wait(0)
	var rounds []int
	for range 4 {
		rounds = append(rounds, g.wait(30*time.Second))
	}
	if diff := cmp.Diff([]int{1, 2, 2, 2}, rounds); diff != "" {
		t.Errorf("tried in each round (-want +got):\n%s", diff)
	}
}

// When the fault is gone, tries end the storm. What is left counts as new: two that are rejected
// for good are dead-lettered.
func TestTriesEndTheStorm(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	held := g.storm(200)
	bad := []*event.Event{held[10], held[190]}
	g.rejects = func(ev *event.Event) bool { return slices.Contains(bad, ev) }
	g.wait(0)
	for range 20 {
		g.wait(30 * time.Second)
	}
	g.wantHeld(0)
	if len(g.applied) != 198 || !slices.Equal(sorted(g.dead), sorted(bad)) || g.Stats(g.now).Storm {
		t.Errorf("%d applied, %d dead-lettered, storm %v", len(g.applied), len(g.dead), g.Stats(g.now).Storm)
	}
	if last := g.storms[len(g.storms)-1]; last.On || last.Last {
		t.Errorf("reported: %+v", g.storms)
	}
}

func sorted(events []*event.Event) []*event.Event {
	return slices.SortedFunc(slices.Values(events), func(a, b *event.Event) int {
		return int(a.Record.Offset() - b.Record.Offset())
	})
}

// When new events succeed and the held ones do not, the fault is in those: they are tried once
// more, and dead-lettered. With more than 1,000 the guard never decides that.
func TestNewEventsEndTheStorm(t *testing.T) {
	t.Parallel()
	for name, n := range map[string]int{"1,000 held": 1000, "1,001 held": 1001} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGuarded(t)
			held := g.storm(n)
			g.rejects = func(ev *event.Event) bool { return slices.Contains(held, ev) }
			for i := range 2000 + n {
				g.read(0, fmt.Sprint("new ", i))
				g.run()
			}
			if n > 1000 {
				g.wantHeld(n)
				if len(g.dead) > 0 {
					t.Errorf("%d dead letters", len(g.dead))
				}
				return
			}
			g.wantHeld(0)
			if !slices.Equal(sorted(g.dead), held) || len(g.tried)-len(g.applied) != n {
				t.Errorf("%d dead letters, %d tries of held events, want %d of both", len(g.dead), len(g.tried)-len(g.applied), n)
			}
			if last := g.storms[len(g.storms)-1]; last.On || !last.Last || last.Held != n {
				t.Errorf("reported: %+v", g.storms)
			}
		})
	}
}

// What is held at that moment is dead-lettered without another try. The storm goes on.
func TestReleasedEventsAreDeadLettered(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	held := g.storm(20)
	g.wait(0)
	g.now = g.now.Add(30 * time.Second)
	b := g.Next(g.now).Batch // one is being tried at that moment
	if n := g.ReleaseHeld(func(*event.Event) bool { return true }); n != 20 {
		t.Errorf("%d released, want 20", n)
	}
	later := g.read(0, "later")
	g.settle(b)
	g.run()
	g.wantHeld(1)
	if !slices.Equal(sorted(g.dead), held) || len(g.tried) != 2 {
		t.Errorf("%d dead letters, want the 20; %d calls, want that of the one and of the later event", len(g.dead), len(g.tried))
	}
	if later.Guard != event.Held || !g.Stats(g.now).Storm {
		t.Error("the later event is not held")
	}
}

// A try that began before the storm was over can still be rejected for what has ended: its mapping
// was read before it was corrected. It is tried once more.
func TestARejectionFromBeforeTheEndIsTriedAgain(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	held := g.storm(120)
	g.wait(0)
	g.rejects = func(*event.Event) bool { return false }
	for tries := 0; tries < 31; tries += g.wait(30 * time.Second) {
	}
	g.now = g.now.Add(30 * time.Second)
	b := g.Next(g.now).Batch
	slow := b.Events[0]
	g.run()
	if g.Stats(g.now).Storm {
		t.Fatal("the storm is not over")
	}
	g.rejects = func(*event.Event) bool { return true }
	g.settle(b)
	if len(g.dead) > 0 {
		t.Fatal("the event is dead-lettered for what has ended")
	}
	g.run()
	if !slices.Equal(g.dead, []*event.Event{slow}) || len(g.applied) != len(held)-1 {
		t.Errorf("%d dead letters, %d applied: want the event that is rejected again, and the others", len(g.dead), len(g.applied))
	}
}

// What could not be read in a storm can wait in its lane until after the end, for instance while
// Redis is away. It is read again.
func TestARejectionThatWaitedForTheEndIsTriedAgain(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	held := g.storm(4)
	late := newEvent(mapper.Record{Partition: 5, Time: g.now})
	late.Rejection = &event.Rejection{Reason: dlq.ReasonInvalidField}
	g.RecordMapped(late)
	g.rejects = func(*event.Event) bool { return false }
	for g.Stats(g.now).Storm {
		g.wait(30 * time.Second)
	}
	dead, again := g.Admit([]*event.Event{late})
	if len(dead) > 0 || !slices.Equal(again, []*event.Event{late}) || len(g.applied) != len(held) {
		t.Errorf("%d dead letters, %d again, %d applied", len(dead), len(again), len(g.applied))
	}
}

// An event that is held is dropped when its partition is taken away, wherever it is: in no lane, in
// its lane for a try, or in a batch.
func TestHeldEventsAreDroppedAtARevoke(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	held := g.storm(4)
	g.wait(0)
	g.now = g.now.Add(30 * time.Second)
	b := g.Next(g.now).Batch
	for _, ev := range held {
		ev.Ticket = &ticket{revoked: true}
	}
	dropped := g.DropRevoked()
	rejected := b.Events
	rejected[0].Rejection = &event.Rejection{}
	_, kept := g.Admit(rejected)
	settled := g.Settle(g.now, b, event.Result{Held: kept})
	if diff := len(dropped) + len(settled.Dropped); diff != 4 {
		t.Errorf("%d events dropped, want 4", diff)
	}
	g.wantHeld(0)
}

// Reading stops when only held events fill the buffer, and goes on when one of them has left it.
func TestAFullBufferOfHeldEventsIsReported(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	g.storm(10)
	g.rejects = func(*event.Event) bool { return false }
	g.read(0, "good")
	g.StopGathering(true)
	if len(g.pauses) > 0 {
		t.Fatalf("an event that will finish is in the buffer: %+v", g.pauses)
	}
	g.run()
	want := []Change{{Cause: event.CauseStorm, On: true}}
	if diff := cmp.Diff(want, g.pauses); diff != "" {
		t.Fatalf("full (-want +got):\n%s", diff)
	}
	if causes := g.Stats(g.now).Causes; !slices.Contains(causes, event.CauseStorm) {
		t.Errorf("causes %v", causes)
	}
	g.read(0, "another")
	if diff := cmp.Diff(append(want, Change{Cause: event.CauseStorm}), g.pauses); diff != "" {
		t.Errorf("one more was read (-want +got):\n%s", diff)
	}
}

// What is rejected when it is read waits for what was read with it, so that the guard knows of it.
func TestAFreshRejectionWaitsForOthers(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	for i := range 50 {
		ev := newEvent(mapper.Record{})
		ev.Rejection = &event.Rejection{Reason: dlq.ReasonInvalidField}
		ev.Key = event.LaneKey{Member: memberOf(fmt.Sprint(i)), Unread: true}
		g.RecordMapped(ev)
		g.Add(g.now, ev)
		g.run()
	}
	if g.wait(time.Second); len(g.dead) > 0 {
		t.Errorf("%d dead letters", len(g.dead))
	}
	g.wantHeld(50)
}

// Nothing is called or dead-lettered of new partitions before it is known whether the group is in a
// storm.
func TestNothingRunsBeforeTheStormIsKnown(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	g.SetStormUnknown()
	g.read(0, "a")
	if g.run(); len(g.tried) > 0 {
		t.Fatal("called")
	}
	g.SetStormKnown(true)
	g.run()
	g.wantHeld(1)
}
