package cli

import (
	"strings"
	"testing"
	"time"

	"membersync/dedupe"
	"membersync/dlq"
	"membersync/mapper"
)

// Each cause has evidence that leads to it, and exactly one sentence.
func TestWhy(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	latest := &sighting{Partition: 1, Offset: 7, Time: at, Result: mapper.Result{Event: mapper.Event{ID: "ev-1"}}}
	ignored := &sighting{Result: mapper.Result{Event: mapper.Event{Ignored: "deletion"}}}
	item := func(s dlq.State) *dlq.Item {
		return &dlq.Item{ID: "1:7:0", State: s, Number: 1, DeadLetter: dlq.DeadLetter{Reason: dlq.ReasonCRMNotFound, FailedAt: at}}
	}
	done := func(outcome string) dedupe.EventGrant { return dedupe.EventGrant{Done: true, Outcome: outcome} }
	since := "2026-11-22T08:00:00.000Z"
	for want, e := range map[cause]evidence{
		causeStateLost:  {lost: true, latest: latest},
		causeNoEvents:   {},
		causeIgnored:    {latest: ignored},
		causeRedriving:  {latest: latest, item: item(dlq.StateRedriving), done: done("dead_lettered")},
		causeDead:       {latest: latest, item: item(dlq.StateOpen), done: done("dead_lettered")},
		causeDiscarded:  {latest: latest, item: item(dlq.StateDiscarded), done: done("dead_lettered")},
		causeDeadGone:   {latest: latest, done: done("dead_lettered")},
		causeUnheard:    {latest: latest, pending: []string{"qq"}, paused: &pauseJSON{At: &since}},
		causeInFlight:   {latest: latest, leased: true, pending: []string{"qq"}},
		causePaused:     {latest: latest, paused: &pauseJSON{At: &since, Actor: "sample@host", Note: "n"}},
		causeNoService:  {latest: latest},
		causeLagging:    {latest: latest, members: 1, behind: 3},
		causeForgotten:  {latest: latest, committed: 8, leased: true},
		causeSuperseded: {latest: latest, done: done("superseded")},
		causeUnchanged:  {latest: latest, done: done("unchanged")},
		causeEarlier:    {latest: latest, done: done("applied"), earlier: item(dlq.StateOpen)},
		causeRedriven:   {latest: latest, done: done("applied"), item: item(dlq.StateApplied)},
		causeApplied:    {latest: latest, done: done("applied")},
	} {
		e.employee = "E1"
		got, sentence := e.why()
		if got != want {
			t.Errorf("%s: %s: %s", want, got, sentence)
		}
		if strings.Count(sentence, ". ") > 0 || !strings.HasSuffix(sentence, ".") {
			t.Errorf("%s: not one sentence: %s", want, sentence)
		}
	}
}
