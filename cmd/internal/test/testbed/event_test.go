package testbed

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEvent(t *testing.T) {
	t.Parallel()
	r := Event{Employee: 7, Sequence: 42, Before: `{"position":"a"}`, After: `{"position":"b"}`}.Record(4)
	var got map[string]any
	if err := json.Unmarshal(r.Value, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"eventId": "E0007-42", "occurredAt": "2026-01-02T03:04:05Z", "sequence": 42.0, "employeeId": "E0007", "openUserId": "FSUID_TEST0007",
		"before": map[string]any{"position": "a"}, "after": map[string]any{"position": "b"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if string(r.Key) != "E0007" {
		t.Errorf("key %s", r.Key)
	}
}

func TestEventWithIDAndWithoutBefore(t *testing.T) {
	t.Parallel()
	r := Event{ID: "quo\"ted", Employee: 1, After: `{}`}.Record(1)
	var got map[string]any
	if err := json.Unmarshal(r.Value, &got); err != nil {
		t.Fatal(err)
	}
	if _, ok := got["before"]; ok || got["eventId"] != "quo\"ted" {
		t.Errorf("%s", r.Value)
	}
}

func TestOneEmployeeHasOnePartition(t *testing.T) {
	t.Parallel()
	const partitions = 4
	used := make(map[int]int)
	for employee := range 1000 {
		first := Event{Employee: employee, Sequence: 1, After: `{}`}.Record(partitions)
		second := Event{Employee: employee, Sequence: 2, After: `{}`}.Record(partitions)
		if first.Partition != second.Partition {
			t.Fatalf("employee %d: partitions %d and %d", employee, first.Partition, second.Partition)
		}
		used[first.Partition]++
	}
	for p := range partitions {
		if used[p] < 100 {
			t.Errorf("partition %d has %d of 1000 employees", p, used[p])
		}
	}
	if len(used) != partitions {
		t.Errorf("partitions %v", used)
	}
}
