package main

import (
	"slices"
	"time"

	"membersync/cmd/bench/internal/chaos"
	"membersync/cmd/internal/test/testbed"
	"membersync/crmapi/crmapitest"
)

// A delay is how long one event took from producing to the CRM.
type delay struct {
	partition int
	sent      time.Time
	took      time.Duration
}

// delaysOf returns the delay of each event, and how many have not reached the CRM. A newer value of
// the member counts too, since the event was folded into it.
func delaysOf(sent []sending, effects map[string][]effect, partitions int) (delays []delay, missing int) {
	for _, s := range sent {
		at := firstFrom(effects[testbed.OpenUserID(s.member)], s.n)
		if at.IsZero() {
			missing++
			continue
		}
		e := testbed.Event{Employee: s.member}
		delays = append(delays, delay{e.Record(partitions).Partition, s.at, at.Sub(s.at)})
	}
	return delays, missing
}

// during reports whether a moment is in a span. A moment between two spans is in the second.
func during(at time.Time, s chaos.Span) bool { return !at.Before(s.From) && at.Before(s.To) }

// tookIn returns the delays of the events that were produced in a span.
func tookIn(delays []delay, s chaos.Span) (took []time.Duration) {
	for _, d := range delays {
		if during(d.sent, s) {
			took = append(took, d.took)
		}
	}
	return took
}

// gapsIn returns the longest delay of each partition's events that were produced in a span.
func gapsIn(delays []delay, s chaos.Span, partitions int) []time.Duration {
	gaps := make([]time.Duration, partitions)
	for _, d := range delays {
		if during(d.sent, s) {
			gaps[d.partition] = max(gaps[d.partition], d.took)
		}
	}
	return gaps
}

// A join is one of an instance: a new generation begins for it.
type join struct {
	at         time.Time
	generation int
}

// joinsIn counts the generations and the joins that began in a span.
func joinsIn(joins []join, s chaos.Span) (generations, count int) {
	seen := make(map[int]bool)
	for _, j := range joins {
		if during(j.at, s) {
			seen[j.generation] = true
			count++
		}
	}
	return len(seen), count
}

// repeatsOf counts the calls with a value that an earlier call of the member had, and those with an
// older one. A call that failed counts too: the CRM may have applied it.
func repeatsOf(calls []crmapitest.Seen) (repeated, back int, err error) {
	sent := make(map[string][]int)
	for _, c := range calls {
		n, err := valueOf(c)
		if err != nil {
			return 0, 0, err
		}
		earlier := sent[c.OpenUserID]
		switch {
		case slices.Contains(earlier, n):
			repeated++
		case len(earlier) > 0 && n < slices.Max(earlier):
			back++
		}
		sent[c.OpenUserID] = append(earlier, n)
	}
	return repeated, back, nil
}
