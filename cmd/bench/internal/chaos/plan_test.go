package chaos_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"membersync/cmd/bench/internal/chaos"
)

func TestPlan(t *testing.T) {
	t.Parallel()
	count := func(plan []chaos.Fault) map[chaos.Kind]int {
		n := make(map[chaos.Kind]int)
		for i, f := range plan {
			n[f.Kind]++
			if i > 0 && f.At < plan[i-1].At || f.Instance < 0 || f.Instance > 2 || f.Lasts < 0 {
				t.Errorf("%+v", f)
			}
		}
		return n
	}
	long := count(chaos.Plan(1, 10*time.Minute, 3))
	if long[chaos.Kill] < 60 || long[chaos.Leave] < 20 || len(long) != len(chaos.Kinds()) {
		t.Errorf("ten minutes: %v", long)
	}
	short := count(chaos.Plan(1, time.Minute, 3))
	if short[chaos.Kill] != 6 || len(short) != len(chaos.Kinds()) {
		t.Errorf("a minute: %v", short)
	}
	if cmp.Equal(chaos.Plan(1, time.Minute, 3), chaos.Plan(2, time.Minute, 3)) {
		t.Error("another seed, the same plan")
	}
	if diff := cmp.Diff(chaos.Plan(1, time.Minute, 3), chaos.Plan(1, time.Minute, 3)); diff != "" {
		t.Error(diff)
	}
}
