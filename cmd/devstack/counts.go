package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"membersync/consumer"
)

// counts are the figures of the summary.
type counts struct {
	outcomes      map[consumer.Outcome]int
	reasons       map[string]int
	calls, failed int
}

func newCounts() counts {
	return counts{outcomes: map[consumer.Outcome]int{}, reasons: map[string]int{}}
}

func (c *counts) called(call consumer.CallAttempt) {
	c.calls++
	if call.Err != nil {
		c.failed++
	}
}

func (c *counts) ended(end consumer.EventResult) {
	c.outcomes[end.Outcome]++
	if end.Outcome == consumer.DeadLettered {
		c.reasons[end.Reason]++
	}
}

// saved returns how many events ended without a call of their own.
func (c *counts) saved() int {
	done := c.outcomes[consumer.Applied] + c.outcomes[consumer.Superseded] + c.outcomes[consumer.Unchanged] + c.outcomes[consumer.Duplicate]
	return done - (c.calls - c.failed)
}

// events returns how many have ended.
func (c *counts) events() (total int) {
	for _, n := range c.outcomes {
		total += n
	}
	return total
}

func (c *counts) print(w io.Writer) {
	say(w, "\nSummary\n  events          %4d\n", c.events())
	for _, o := range consumer.Outcomes() {
		say(w, "    %-14s%4d\n", words(string(o)), c.outcomes[o])
	}
	say(w, "  calls           %4d   %d succeeded, %d failed or were refused\n", c.calls, c.calls-c.failed, c.failed)
	say(w, "  calls saved     %4d   events that needed no call of their own\n", c.saved())
	say(w, "  dead-lettered   %4d   %s\n", c.outcomes[consumer.DeadLettered], byReason(c.reasons))
}

func byReason(reasons map[string]int) string {
	var parts []string
	for _, r := range slices.Sorted(maps.Keys(reasons)) {
		parts = append(parts, fmt.Sprintf("%s %d", r, reasons[r]))
	}
	return strings.Join(parts, ", ")
}

func words(name string) string { return strings.ReplaceAll(name, "_", " ") }

func meaning(o consumer.Outcome) string {
	switch o {
	case consumer.Applied:
		return "at least one field was sent"
	case consumer.Superseded:
		return "newer events had stated all its fields"
	case consumer.Unchanged:
		return "the CRM held its values already"
	case consumer.Duplicate:
		return "delivered again: it was done already"
	case consumer.Ignored:
		return "by a rule of the mapping"
	case consumer.DeadLettered:
		return "it can never succeed"
	}
	return ""
}
