package schedule

import (
	"maps"
	"slices"

	"membersync/consumer/event"
)

// A heldSet holds events that are in no lane: the storm guard has taken them out. Those that were
// never tried again go first; of each partition in the order in which they came.
type heldSet struct {
	untried, tried map[int][]*event.Event // by partition; no list is empty
	size           int
	last           int // partition that an event was last taken from
}

func newHeldSet() heldSet {
	return heldSet{untried: make(map[int][]*event.Event), tried: make(map[int][]*event.Event), last: -1}
}

func (h *heldSet) add(ev *event.Event, tried bool) {
	in, partition := h.untried, ev.Record.Partition()
	if tried {
		in = h.tried
	}
	in[partition] = append(in[partition], ev)
	h.size++
}

// take removes up to n events and returns them: of different members, and of the partitions in
// turn.
func (h *heldSet) take(n int) []*event.Event {
	members := make(map[event.LaneKey]bool)
	taken := h.takeFrom(h.untried, n, members)
	return append(taken, h.takeFrom(h.tried, n-len(taken), members)...)
}

func (h *heldSet) takeFrom(from map[int][]*event.Event, n int, members map[event.LaneKey]bool) []*event.Event {
	partitions := slices.Sorted(maps.Keys(from))
	first, _ := slices.BinarySearch(partitions, h.last+1)
	partitions = append(partitions[first:], partitions[:first]...)
	taken := make(map[*event.Event]bool)
	var all []*event.Event
	next := make([]int, len(partitions)) // the first event of each partition that was not looked at
	for again := true; again; {
		again = false
		for i, partition := range partitions {
			for events := from[partition]; len(all) < n && next[i] < len(events); {
				ev := events[next[i]]
				if next[i]++; members[ev.Key] {
					continue
				}
				members[ev.Key], taken[ev], again = true, true, true
				all, h.last = append(all, ev), partition
				break
			}
		}
	}
	remove(from, func(ev *event.Event) bool { return taken[ev] })
	h.size -= len(all)
	return all
}

// remove removes the events that gone picks, and returns them.
func (h *heldSet) remove(gone func(*event.Event) bool) []*event.Event {
	removed := append(remove(h.untried, gone), remove(h.tried, gone)...)
	h.size -= len(removed)
	return removed
}

func remove(from map[int][]*event.Event, gone func(*event.Event) bool) (removed []*event.Event) {
	for partition, events := range from {
		var left []*event.Event
		for _, ev := range events {
			if gone(ev) {
				removed = append(removed, ev)
			} else {
				left = append(left, ev)
			}
		}
		if len(left) == 0 {
			delete(from, partition)
			continue
		}
		from[partition] = left
	}
	return removed
}
