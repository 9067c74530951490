package main

import (
	"slices"
	"testing"

	"membersync/cmd/internal/test/testbed"
)

func TestBacklogOrder(t *testing.T) {
	t.Parallel()
	g := backlog{events: 300, employees: 30, partitions: 4, seed: 1}
	order := g.order()
	if !slices.Equal(order, g.order()) || slices.IsSorted(order) {
		t.Error("it should be random, and the same each time")
	}
	for employee := range g.employees {
		n := 0
		for _, e := range order {
			if e == employee {
				n++
			}
		}
		if n != 10 {
			t.Errorf("%d events of employee %d, want 10", n, employee)
		}
	}
	parted := oneByOne(order, g.partitions)
	var homes []int
	for _, employee := range parted {
		homes = append(homes, testbed.Event{Employee: employee}.Record(g.partitions).Partition)
	}
	if len(parted) != g.events || !slices.IsSorted(homes) {
		t.Errorf("%d events, partitions %v", len(parted), homes)
	}
}

func TestEventsInOrder(t *testing.T) {
	t.Parallel()
	n := 0
	for r := range inOrder([]int{3, 1, 3}, 2) {
		want := testbed.Event{Employee: []int{3, 1, 3}[n], Sequence: int64(n), Before: "{}", After: `{"position":"` + position(n) + `"}`}.Record(2)
		if string(r.Value) != string(want.Value) || r.Partition != want.Partition {
			t.Errorf("record %d: %s", n, r.Value)
		}
		n++
	}
	if n != 3 {
		t.Errorf("%d records", n)
	}
}
