package chaos_test

import (
	"testing"
	"time"

	"membersync/cmd/bench/internal/chaos"
)

func second(s float64) time.Time {
	return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Add(time.Duration(s * float64(time.Second)))
}

func span(from, to float64) chaos.Span { return chaos.Span{From: second(from), To: second(to)} }

func TestMostInWindow(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		requests []chaos.Span
		want     int
	}{
		"none":                            {nil, 0},
		"one":                             {[]chaos.Span{span(1, 1)}, 1},
		"two in one window":               {[]chaos.Span{span(1, 1), span(10.9, 10.9)}, 2},
		"a window apart, no duration":     {[]chaos.Span{span(1, 1), span(11, 11)}, 1},
		"counted late and early":          {[]chaos.Span{span(1, 2), span(11.5, 12)}, 2},
		"answered as the window begins":   {[]chaos.Span{span(1, 2), span(12, 13)}, 1},
		"just before":                     {[]chaos.Span{span(1, 2), span(11.999, 13)}, 2},
		"a long one is in every window":   {[]chaos.Span{span(0, 100), span(1, 1), span(50, 50)}, 2},
		"the most is not at the end":      {[]chaos.Span{span(0, 0), span(1, 1), span(2, 2), span(30, 30)}, 3},
		"in any order":                    {[]chaos.Span{span(30, 30), span(2, 2), span(0, 0), span(1, 1)}, 3},
		"a window that begins in between": {[]chaos.Span{span(0, 0), span(9, 9), span(12, 12), span(18, 18), span(20, 20)}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := chaos.MostInWindow(tc.requests, 10*time.Second); got != tc.want {
				t.Errorf("%d, want %d", got, tc.want)
			}
		})
	}
}

func TestSpent(t *testing.T) {
	t.Parallel()
	every := func(step float64, n int) (at []time.Time) {
		for i := range n {
			at = append(at, second(7+step*float64(i)))
		}
		return at
	}
	for name, tc := range map[string]struct {
		arrivals []time.Time
		end      float64
		want     chaos.Use
	}{
		"none":                        {nil, 100, chaos.Use{}},
		"no whole window":             {every(1, 5), 16, chaos.Use{}},
		"all of it":                   {every(1, 100), 107, chaos.Use{Windows: 10, Calls: 100, Share: 1}},
		"half":                        {every(2, 50), 107, chaos.Use{Windows: 10, Calls: 50, Share: 0.5}},
		"the rest of a window is not": {every(1, 100), 106, chaos.Use{Windows: 9, Calls: 90, Share: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := chaos.Spent(tc.arrivals, second(tc.end), 10, 10*time.Second); got != tc.want {
				t.Errorf("%+v, want %+v", got, tc.want)
			}
		})
	}
}
