package lanes_test

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"membersync/consumer/schedule/lanes"
)

type (
	all  = lanes.Lanes[string, int, string]
	lane = lanes.Lane[string, int, string]
)

// first returns a function that chooses the first n items of a lane, or all if there are fewer.
func first(n int) func(*lane) []int {
	return func(l *lane) []int { return l.Waiting()[:min(n, len(l.Waiting()))] }
}

// now returns the time after so many seconds.
func now(s int) time.Time { return time.Unix(int64(s), 0) }

// take takes the next lane at a time in seconds, with at most n items, and checks its key and
// batch.
func take(t *testing.T, ls *all, at, n int, key string, want ...int) *lane {
	t.Helper()
	l, batch := ls.Take(now(at), first(n))
	if l == nil {
		t.Fatalf("no lane ready, want %s", key)
	}
	if l.Key != key || !cmp.Equal(batch, want) {
		t.Fatalf("took %s %v, want %s %v", l.Key, batch, key, want)
	}
	return l
}

func TestLanesTakeTurnsWithOneBatchEach(t *testing.T) {
	t.Parallel()
	ls := lanes.New[string, int, string]()
	for i, key := range []string{"a", "a", "b", "a"} {
		ls.Add(key, i)
	}
	a := take(t, ls, 0, 2, "a", 0, 1)
	b := take(t, ls, 0, 2, "b", 2)
	ls.Add("a", 9)
	if l, _ := ls.Take(now(0), first(1)); l != nil {
		t.Fatalf("lane %s taken while both lanes run", l.Key)
	}
	ls.Return(a, []int{0, 1}, time.Time{})
	ls.Return(b, []int{2}, time.Time{})
	a = take(t, ls, 0, 5, "a", 3, 9)
	ls.Return(a, []int{3, 9}, time.Time{})
	if ls.Items() != 0 || ls.Len("a") != 0 {
		t.Fatalf("%d items left", ls.Items())
	}
}

func TestTakeIfKeepsTheOrderOfTheOtherLanes(t *testing.T) {
	t.Parallel()
	ls := lanes.New[string, int, string]()
	for i, key := range []string{"a", "b", "c", "d"} {
		ls.Add(key, i)
	}
	takeIf := func(keys ...string) string {
		l, batch := ls.TakeIf(now(0), func(l *lane) bool { return slices.Contains(keys, l.Key) }, first(1))
		if l == nil || len(batch) != 1 {
			return ""
		}
		return l.Key
	}
	if got := takeIf("z"); got != "" {
		t.Errorf("took %s, which pick does not choose", got)
	}
	if got := takeIf("d", "c"); got != "c" {
		t.Errorf("took %q, want c, the first one that pick chooses", got)
	}
	take(t, ls, 0, 1, "a", 0)
	take(t, ls, 0, 1, "b", 1)
	take(t, ls, 0, 1, "d", 3)
	if ls.Ready(now(0)) {
		t.Error("a lane is ready, though all are taken")
	}
}

func TestAParkedLaneKeepsItsStateAndOrder(t *testing.T) {
	t.Parallel()
	ls := lanes.New[string, int, string]()
	ls.Add("a", 1)
	a := take(t, ls, 0, 1, "a", 1)
	a.State = "tried"
	ls.Return(a, nil, now(5))
	ls.Add("a", 2)
	ls.Add("b", 3)
	ls.Return(take(t, ls, 4, 1, "b", 3), []int{3}, time.Time{})
	if ls.Ready(now(4)) || ls.Parked() != 1 {
		t.Fatal("the parked lane is ready too early")
	}
	if at, ok := ls.Wake(); !ok || !at.Equal(now(5)) {
		t.Fatalf("Wake() = %v, %v", at, ok)
	}
	if a := take(t, ls, 5, 5, "a", 1, 2); a.State != "tried" {
		t.Fatalf("state %q, want tried", a.State)
	}
}

// Any looks only at lanes that can be taken now: not at running ones, and at parked ones only after
// their wait.
func TestAnyFindsOnlyLanesThatCanBeTaken(t *testing.T) {
	t.Parallel()
	ls := lanes.New[string, int, string]()
	ls.Add("a", 1)
	is := func(key string) func(*lane) bool { return func(l *lane) bool { return l.Key == key } }
	if !ls.Any(now(0), is("a")) || ls.Any(now(0), is("b")) {
		t.Error("Any does not find the ready lane, or finds an unknown one")
	}
	a := take(t, ls, 0, 1, "a", 1)
	if ls.Any(now(0), is("a")) {
		t.Error("Any finds a running lane")
	}
	ls.Return(a, nil, now(2))
	if ls.Any(now(1), is("a")) || !ls.Any(now(2), is("a")) {
		t.Error("Any finds a parked lane too early, or not after its wait")
	}
}

func TestUnparkMakesLanesReady(t *testing.T) {
	t.Parallel()
	ls := lanes.New[string, int, string]()
	for i, key := range []string{"a", "b", "c"} {
		ls.Add(key, i)
		ls.Return(take(t, ls, 0, 1, key, i), nil, now(10+i))
	}
	ls.Unpark(func(l *lane) bool { return l.Key != "b" })
	if !ls.Ready(now(0)) || ls.Parked() != 1 {
		t.Fatalf("%d lanes parked, want 1", ls.Parked())
	}
}

func TestDropKeepsTheRunningBatch(t *testing.T) {
	t.Parallel()
	ls := lanes.New[string, int, string]()
	for i := range 4 {
		ls.Add("a", i)
	}
	ls.Add("b", 10)
	ls.Add("c", 11)
	a := take(t, ls, 0, 2, "a", 0, 1)
	ls.Return(take(t, ls, 0, 1, "b", 10), nil, now(9))
	var changed []string
	dropped := ls.Drop(func(_ *lane, i int) bool { return i != 3 }, func(l *lane) { changed = append(changed, l.Key) })
	slices.Sort(dropped)
	slices.Sort(changed)
	if diff := cmp.Diff([]int{2, 10, 11}, dropped); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, changed); diff != "" {
		t.Error(diff)
	}
	if ls.Parked() != 0 || ls.Ready(now(20)) || ls.Items() != 3 {
		t.Errorf("%d parked, %d items", ls.Parked(), ls.Items())
	}
	ls.Return(a, []int{1}, time.Time{}) // the second item, not the first, is finished
	take(t, ls, 0, 5, "a", 0, 3)
}

// FuzzLanes compares the lanes with a simple model: FIFO in each lane, no item taken twice or lost,
// at most one running batch per lane.
func FuzzLanes(f *testing.F) {
	f.Add(uint64(1), uint16(300))
	f.Fuzz(func(t *testing.T, seed uint64, steps uint16) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		ls := lanes.New[string, int, string]()
		want := map[string][]int{}
		runs := map[string]*lane{}
		batches := map[string][]int{}
		clock, serial := 0, 0
		for range min(int(steps), 2000) {
			switch rnd.IntN(4) {
			case 0:
				key := string("abcde"[rnd.IntN(5)])
				ls.Add(key, serial)
				want[key] = append(want[key], serial)
				serial++
			case 1:
				l, batch := ls.Take(now(clock), first(1+rnd.IntN(4)))
				if l == nil {
					continue
				}
				if runs[l.Key] != nil {
					t.Fatalf("lane %s runs twice", l.Key)
				}
				if !slices.Equal(batch, want[l.Key][:len(batch)]) {
					t.Fatalf("lane %s returned %v of %v", l.Key, batch, want[l.Key])
				}
				runs[l.Key], batches[l.Key] = l, batch
			case 2:
				for key, l := range runs {
					n := rnd.IntN(len(batches[key]) + 1)
					until := time.Time{}
					if n == 0 {
						until = now(clock + 1 + rnd.IntN(5))
					}
					ls.Return(l, batches[key][:n], until)
					want[key] = want[key][n:]
					delete(runs, key)
					break
				}
			default:
				clock++
			}
			total := 0
			for key, items := range want {
				total += len(items)
				if ls.Len(key) != len(items) {
					t.Fatalf("lane %s holds %d, want %d", key, ls.Len(key), len(items))
				}
			}
			if ls.Items() != total {
				t.Fatalf("%d items, want %d", ls.Items(), total)
			}
		}
	})
}

// TakeFullest takes the fullest of the lanes drawn at random that pick chooses. Without a sample it
// takes the one that has been ready the longest.
func TestTakeFullestTakesTheFullestOfTheSample(t *testing.T) {
	t.Parallel()
	ls := lanes.New[string, int, string]()
	for i, key := range []string{"a", "b", "b", "c", "c", "c", "d", "d", "d", "d"} {
		ls.Add(key, i)
	}
	const all = 100 // a sample of this size includes each of the four lanes
	for _, want := range []struct {
		sample int
		key    string
	}{{0, "a"}, {all, "c"}, {all, "b"}} {
		l, batch := ls.TakeFullest(now(0), func(l *lane) bool { return l.Key != "d" }, want.sample, first(9))
		if l == nil || l.Key != want.key || len(batch) != len(l.Waiting()) {
			t.Fatalf("took %+v %v, want %s", l, batch, want.key)
		}
	}
	if l, _ := ls.TakeFullest(now(0), func(l *lane) bool { return l.Key != "d" }, all, first(9)); l != nil {
		t.Errorf("took %s, which pick does not choose", l.Key)
	}
	take(t, ls, 0, 1, "d", 6)
}

// A revoke drops everything that waits, under a lock that all calls need.
func BenchmarkDropAll(b *testing.B) {
	const n = 20_000
	for b.Loop() {
		b.StopTimer()
		ls := lanes.New[string, int, string]()
		for i := range n {
			ls.Add(strconv.Itoa(i), i)
		}
		b.StartTimer()
		if dropped := ls.Drop(func(*lane, int) bool { return true }, func(*lane) {}); len(dropped) != n {
			b.Fatalf("%d dropped, want %d", len(dropped), n)
		}
	}
}
