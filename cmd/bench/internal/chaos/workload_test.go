package chaos_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"membersync/cmd/bench/internal/chaos"
	"membersync/cmd/internal/test/oracle/outcome"
)

func spec() chaos.Spec {
	return chaos.Spec{Seed: 7, Employees: 40, Partitions: 6, Late: 0.05, Twice: 0.05, Poison: 0.01, Delay: 100}
}

func take(w *chaos.Workload, n int) []outcome.Record {
	var records []outcome.Record
	for range n {
		records = append(records, w.Next())
	}
	return append(records, w.Flush()...)
}

func TestWorkloadIsTheSameAgain(t *testing.T) {
	t.Parallel()
	first, second := take(chaos.NewWorkload(spec()), 3000), take(chaos.NewWorkload(spec()), 3000)
	if len(first) < 3000 || !reflect.DeepEqual(first, second) { // a diff of this size takes too long
		t.Errorf("%d records, then %d, and not the same", len(first), len(second))
	}
}

// TestWorkloadMatchesSpec counts late changes, copies and poison, and checks their partitions.
func TestWorkloadMatchesSpec(t *testing.T) {
	t.Parallel()
	w := chaos.NewWorkload(spec())
	records := take(w, 5000)
	e := outcome.Expect(w.World(), records)
	kinds := make(map[string]int)
	for _, l := range e.DeadLetters {
		kinds[l.Reason]++
	}
	newest, homes := make(map[string]uint64), make(map[string]map[int]bool)
	late := 0
	for _, r := range records {
		var event struct {
			OpenUserID string
			Sequence   uint64
		}
		if json.Unmarshal(r.Value, &event) != nil {
			continue
		}
		if event.Sequence < newest[event.OpenUserID] {
			late++
		}
		newest[event.OpenUserID] = max(newest[event.OpenUserID], event.Sequence)
		if homes[event.OpenUserID] == nil {
			homes[event.OpenUserID] = make(map[int]bool)
		}
		homes[event.OpenUserID][r.Partition] = true
	}
	strayed := 0
	for member := range e.States {
		strayed += len(homes[member]) - 1
	}
	if len(kinds) != 3 || len(e.DeadLetters) < 30 || len(e.DeadLetters) > 75 {
		t.Errorf("poison %v", kinds)
	}
	if e.Duplicates < 200 || e.Duplicates > 300 || late < 300 || strayed < 40 {
		t.Errorf("%d copies, %d out of order, %d further partitions", e.Duplicates, late, strayed)
	}
}
