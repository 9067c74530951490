package main

import (
	"slices"
	"testing"
	"time"
)

func TestInFifths(t *testing.T) {
	t.Parallel()
	began := time.Unix(0, 0)
	var all []reading
	for s := range 11 { // 100 calls a second, and from the sixth second on 50
		calls := 1 + 100*min(s, 5) + 50*max(s-5, 0)
		all = append(all, reading{began.Add(time.Duration(s) * time.Second), calls, float64(s)})
	}
	got := inFifths(all)
	want := []fifth{{100, 2}, {100, 3}, {100, 5}, {50, 7}, {50, 10}} // 750 calls: 150 each, at the next sample
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := inFifths(nil); len(got) != 5 || got[0] != (fifth{}) {
		t.Errorf("without readings: %v", got)
	}
}
