// Package lanes orders the work: one FIFO queue per key, at most one batch of it running, and the
// lanes that are ready served in turn. A lane that waits for its next attempt is parked and costs
// nothing but its place in a heap.
//
// It does no I/O and takes the time as an argument.
package lanes

import (
	"container/heap"
	"math/rand/v2"
	"slices"
	"time"
)

type status uint8

const (
	ready status = iota
	running
	parked
)

// A Lane holds the items that wait for one key. State is the caller's and is kept until the lane is
// empty. In a backlog there are nearly as many lanes as items, so a lane is small: what only a few
// have at a time, a running batch or a time to wait until, is not part of it.
type Lane[K comparable, T comparable, S any] struct {
	Key    K
	status status
	index  int32 // in the heap, when parked
	State  S

	items []T  // in order of arrival, the running batch included
	first [1]T // what items begins with, which saves an allocation for most lanes
}

// Waiting returns the lane's items in order of arrival, the running batch included. The slice is
// the lane's own: read it only, and only until the lane changes.
func (l *Lane[K, T, S]) Waiting() []T { return l.items }

// Running reports whether a batch of the lane is running. Until it returns, the lane's State
// belongs to the goroutine that runs it.
func (l *Lane[K, T, S]) Running() bool { return l.status == running }

// Ready reports whether the lane waits only for its turn.
func (l *Lane[K, T, S]) Ready() bool { return l.status == ready }

// Lanes holds all lanes that have items. It is not safe for concurrent use.
type Lanes[K comparable, T comparable, S any] struct {
	lanes  map[K]*Lane[K, T, S]
	ready  []*Lane[K, T, S]
	parked parkedHeap[K, T, S]
	// running holds the batches of the lanes that run.
	running map[*Lane[K, T, S]][]T
	items   int
	draw    *rand.Rand
}

// New returns an empty set of lanes.
func New[K comparable, T comparable, S any]() *Lanes[K, T, S] {
	return &Lanes[K, T, S]{
		lanes: make(map[K]*Lane[K, T, S]), running: make(map[*Lane[K, T, S]][]T), draw: rand.New(rand.NewPCG(1, 1)),
	}
}

// Add puts an item at the end of its lane.
func (ls *Lanes[K, T, S]) Add(key K, item T) { ls.AddLater(key, item, time.Time{}) }

// AddLater is [Lanes.Add]; a lane that is new is parked until the time, unless that is zero.
func (ls *Lanes[K, T, S]) AddLater(key K, item T, until time.Time) {
	l := ls.lanes[key]
	if l == nil {
		l = &Lane[K, T, S]{Key: key}
		l.items = l.first[:0]
		ls.lanes[key] = l
		ls.enqueue(l, until)
	}
	l.items = append(l.items, item)
	if len(l.items) > 1 { // they have an array of their own
		clear(l.first[:])
	}
	ls.items++
}

// enqueue makes a lane ready or, with a time to wait until, parks it.
func (ls *Lanes[K, T, S]) enqueue(l *Lane[K, T, S], until time.Time) {
	if until.IsZero() {
		l.status = ready
		ls.ready = append(ls.ready, l)
		return
	}
	l.status = parked
	heap.Push(&ls.parked, parkedLane[K, T, S]{until, l})
}

// Take returns the lane that has been ready the longest, now running, and the batch of its items
// that choose picks (at least one); nil if no lane is ready.
func (ls *Lanes[K, T, S]) Take(now time.Time, choose func(*Lane[K, T, S]) []T) (*Lane[K, T, S], []T) {
	ls.wake(now)
	if len(ls.ready) == 0 {
		return nil, nil
	}
	return ls.takeAt(0, choose)
}

// TakeIf is [Lanes.Take] of the lane that has been ready the longest of those that pick chooses. It
// looks at all ready lanes.
func (ls *Lanes[K, T, S]) TakeIf(
	now time.Time, pick func(*Lane[K, T, S]) bool, choose func(*Lane[K, T, S]) []T,
) (*Lane[K, T, S], []T) {
	ls.wake(now)
	i := slices.IndexFunc(ls.ready, pick)
	if i < 0 {
		return nil, nil
	}
	return ls.takeAt(i, choose)
}

// TakeFullest is [Lanes.TakeIf] with a look at a sample of lanes drawn at random: of them and of
// the one that has been ready the longest, it takes the lane that holds most. Of equal ones the one
// that has been ready the longest goes first; among the drawn ones, any.
func (ls *Lanes[K, T, S]) TakeFullest(
	now time.Time, pick func(*Lane[K, T, S]) bool, sample int, choose func(*Lane[K, T, S]) []T,
) (*Lane[K, T, S], []T) {
	ls.wake(now)
	best := slices.IndexFunc(ls.ready, pick)
	if best < 0 {
		return nil, nil
	}
	for range sample {
		if i := ls.draw.IntN(len(ls.ready)); len(ls.ready[i].items) > len(ls.ready[best].items) && pick(ls.ready[i]) {
			best = i
		}
	}
	return ls.takeAt(best, choose)
}

// takeAt moves the lanes before this one, usually none, and not the many that may stand behind it.
func (ls *Lanes[K, T, S]) takeAt(i int, choose func(*Lane[K, T, S]) []T) (*Lane[K, T, S], []T) {
	l := ls.ready[i]
	copy(ls.ready[1:i+1], ls.ready[:i])
	ls.ready[0] = nil
	ls.ready = ls.ready[1:]
	l.status = running
	batch := slices.Clone(choose(l))
	ls.running[l] = batch
	return l, batch
}

// Get returns the lane of key; nil if it has no items.
func (ls *Lanes[K, T, S]) Get(key K) *Lane[K, T, S] { return ls.lanes[key] }

// Return ends the batch of a lane: the finished items leave it, and the rest is ready again or,
// with a time to wait until, parked.
func (ls *Lanes[K, T, S]) Return(l *Lane[K, T, S], finished []T, until time.Time) {
	delete(ls.running, l)
	ls.remove(l, finished)
	if len(l.items) == 0 {
		delete(ls.lanes, l.Key)
		return
	}
	ls.enqueue(l, until)
}

// Drop removes the items that gone picks, except those of a running batch, and returns them. It
// calls changed for each lane that lost any. It takes time in proportion to the items and lanes.
func (ls *Lanes[K, T, S]) Drop(gone func(*Lane[K, T, S], T) bool, changed func(*Lane[K, T, S])) []T {
	var dropped []T
	for _, l := range ls.lanes {
		var of []T
		for _, item := range l.items {
			if !slices.Contains(ls.running[l], item) && gone(l, item) {
				of = append(of, item)
			}
		}
		if len(of) == 0 {
			continue
		}
		ls.remove(l, of)
		changed(l)
		if len(l.items) == 0 && l.status != running {
			ls.discard(l)
		}
		dropped = append(dropped, of...)
	}
	// In one pass: a pass for each lane would be quadratic, since most lanes are ready in a backlog.
	ls.ready = slices.DeleteFunc(ls.ready, func(l *Lane[K, T, S]) bool { return len(l.items) == 0 })
	return dropped
}

// Wake returns when the next parked lane becomes ready, and false if none is parked.
func (ls *Lanes[K, T, S]) Wake() (time.Time, bool) {
	if len(ls.parked) == 0 {
		return time.Time{}, false
	}
	return ls.parked[0].until, true
}

// Unpark makes every parked lane ready that pick chooses.
func (ls *Lanes[K, T, S]) Unpark(pick func(*Lane[K, T, S]) bool) {
	for _, p := range slices.Clone(ls.parked) {
		if l := p.lane; pick(l) {
			heap.Remove(&ls.parked, int(l.index))
			l.status = ready
			ls.ready = append(ls.ready, l)
		}
	}
}

// Ready reports whether a lane could be taken now.
func (ls *Lanes[K, T, S]) Ready(now time.Time) bool {
	ls.wake(now)
	return len(ls.ready) > 0
}

// Any reports whether a lane that pick chooses could be taken now. It looks at lanes until it has
// found one.
func (ls *Lanes[K, T, S]) Any(now time.Time, pick func(*Lane[K, T, S]) bool) bool {
	ls.wake(now)
	return slices.ContainsFunc(ls.ready, pick)
}

// Len returns how many items wait or run in the lane of key.
func (ls *Lanes[K, T, S]) Len(key K) int {
	if l := ls.lanes[key]; l != nil {
		return len(l.items)
	}
	return 0
}

// Items returns how many items wait or run in all lanes.
func (ls *Lanes[K, T, S]) Items() int { return ls.items }

// Parked returns how many lanes wait for a later attempt.
func (ls *Lanes[K, T, S]) Parked() int { return len(ls.parked) }

func (ls *Lanes[K, T, S]) wake(now time.Time) {
	for len(ls.parked) > 0 && !ls.parked[0].until.After(now) {
		p, ok := heap.Pop(&ls.parked).(parkedLane[K, T, S])
		if !ok {
			panic("lanes: the heap holds parked lanes only")
		}
		p.lane.status = ready
		ls.ready = append(ls.ready, p.lane)
	}
}

// remove keeps the common cases cheap: a batch is nearly always the lane's head.
func (ls *Lanes[K, T, S]) remove(l *Lane[K, T, S], gone []T) {
	if len(gone) == 0 {
		return
	}
	before := len(l.items)
	if len(gone) <= before && slices.Equal(l.items[:len(gone)], gone) {
		clear(l.items[:len(gone)])
		l.items = l.items[len(gone):]
	} else {
		set := make(map[T]bool, len(gone))
		for _, item := range gone {
			set[item] = true
		}
		l.items = slices.DeleteFunc(l.items, func(item T) bool { return set[item] })
	}
	ls.items -= before - len(l.items)
}

// discard forgets an empty lane that does not run. If it is ready, the caller removes it from
// there.
func (ls *Lanes[K, T, S]) discard(l *Lane[K, T, S]) {
	if l.status == parked {
		heap.Remove(&ls.parked, int(l.index))
	}
	delete(ls.lanes, l.Key)
}

// A parkedLane waits for its next attempt until a time.
type parkedLane[K comparable, T comparable, S any] struct {
	until time.Time
	lane  *Lane[K, T, S]
}

type parkedHeap[K comparable, T comparable, S any] []parkedLane[K, T, S]

func (h parkedHeap[K, T, S]) Len() int           { return len(h) }
func (h parkedHeap[K, T, S]) Less(i, j int) bool { return h[i].until.Before(h[j].until) }
func (h parkedHeap[K, T, S]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].lane.index, h[j].lane.index = int32(i), int32(j) //nolint:gosec // as many as there are records in memory
}

// Push implements [heap.Interface].
func (h *parkedHeap[K, T, S]) Push(x any) {
	p, ok := x.(parkedLane[K, T, S])
	if !ok {
		panic("lanes: the heap holds parked lanes only")
	}
	p.lane.index = int32(len(*h)) //nolint:gosec // as many as there are records in memory
	*h = append(*h, p)
}

// Pop implements [heap.Interface].
func (h *parkedHeap[K, T, S]) Pop() any {
	old := *h
	p := old[len(old)-1]
	old[len(old)-1] = parkedLane[K, T, S]{}
	*h = old[:len(old)-1]
	return p
}
