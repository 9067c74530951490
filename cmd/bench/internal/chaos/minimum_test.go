package chaos_test

import (
	"math/rand/v2"
	"testing"

	"membersync/cmd/bench/internal/chaos"
)

func TestLeast(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		buffer, fold int
		backlog      []int
		want         int
	}{
		"nothing":                      {10, 10, nil, 0},
		"one member":                   {10, 10, []int{1, 1, 1}, 1},
		"a fold's worth":               {10, 2, []int{1, 1, 1}, 2},
		"all held: one for each":       {6, 10, []int{1, 2, 3, 1, 2, 3}, 3},
		"one at a time":                {1, 10, []int{1, 1, 2}, 3},
		"the fullest first":            {3, 10, []int{1, 2, 2, 1, 3, 3}, 3},
		"what comes while others wait": {2, 10, []int{1, 2, 1, 1, 2, 2}, 4},
		"of several the oldest":        {2, 10, []int{2, 1, 1}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := (chaos.Scheduler{Buffer: tc.buffer, Fold: tc.fold}).Least(tc.backlog); got != tc.want {
				t.Errorf("%d, want %d", got, tc.want)
			}
		})
	}
}

// With the same buffer, taking the members in turn needs at least as many calls.
func TestLeastIsBelowOthers(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 0))
	for range 20 {
		backlog := make([]int, 2000)
		for i := range backlog {
			backlog[i] = rng.IntN(50)
		}
		s := chaos.Scheduler{Buffer: 10 + rng.IntN(500), Fold: 500}
		least, inTurn := s.Least(backlog), oldestFirst(backlog, s.Buffer)
		if least > inTurn || least < 50 || least < len(backlog)/s.Buffer {
			t.Errorf("buffer %d: least %d, in turn %d", s.Buffer, least, inTurn)
		}
	}
}

// oldestFirst always calls for the member of the oldest record.
func oldestFirst(backlog []int, buffer int) (calls int) {
	var held []int
	for len(backlog) > 0 || len(held) > 0 {
		n := min(buffer-len(held), len(backlog))
		held, backlog = append(held, backlog[:n]...), backlog[n:]
		var rest []int
		for _, m := range held {
			if m != held[0] {
				rest = append(rest, m)
			}
		}
		held = rest
		calls++
	}
	return calls
}
