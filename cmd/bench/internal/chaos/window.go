package chaos

import (
	"cmp"
	"slices"
	"time"
)

// A Span is a period of time, both ends included.
type Span struct{ From, To time.Time }

func (s Span) touches(o Span) bool { return !s.From.After(o.To) && !o.From.After(s.To) }

// MostInWindow returns the largest number of requests that a vendor can count in any window of the
// length. Each span is a request from its arrival to its response, and the vendor counts it at any
// one time in between. A window from t to t + length can hold it if it arrives before the window
// ends and its response is sent no earlier than the window begins.
func MostInWindow(requests []Span, length time.Duration) int {
	type edge struct {
		at   time.Time
		step int
	}
	edges := make([]edge, 0, 2*len(requests))
	for _, r := range requests {
		edges = append(edges, edge{r.From.Add(-length), 1}, edge{r.To, -1})
	}
	// A window that begins at r.To still holds r. One that begins at r.From - length just does not.
	slices.SortFunc(edges, func(a, b edge) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.step, b.step)) })
	open, most := 0, 0
	for _, e := range edges {
		open += e.step
		most = max(most, open)
	}
	return most
}

// A Use is how much of a limit was used.
type Use struct {
	Windows int     // whole windows from the first call on
	Calls   int     // in them
	Share   float64 // of what the limit allows in them
}

// Spent counts the calls in whole windows, from the first call to the end of the trial. Without a
// whole window the share is 0.
func Spent(arrivals []time.Time, end time.Time, limit int, length time.Duration) Use {
	if len(arrivals) == 0 {
		return Use{}
	}
	first := slices.MinFunc(arrivals, time.Time.Compare)
	u := Use{Windows: int(end.Sub(first) / length)}
	until := first.Add(time.Duration(u.Windows) * length)
	for _, at := range arrivals {
		if at.Before(until) {
			u.Calls++
		}
	}
	if u.Windows > 0 {
		u.Share = float64(u.Calls) / float64(limit*u.Windows)
	}
	return u
}
