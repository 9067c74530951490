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
		return &dlq.Item{ID: "1:7:0", State: s, Number: 1, Letter: dlq.Letter{Reason: dlq.ReasonCRMNotFound, FailedAt: at}}
	}
	done := func(outcome string) dedupe.Verdict { return dedupe.Verdict{Done: true, Outcome: outcome} }
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
	if n := len(causes()); n != 18 {
		t.Errorf("%d causes", n)
	}
}

// The README explains each cause.
func TestCausesAreDocumented(t *testing.T) {
	t.Parallel()
	text := readme(t)
	for _, c := range causes() {
		if !strings.Contains(text, "`"+string(c)+"`") {
			t.Errorf("the README lacks %s", c)
		}
	}
}

// The causes on a running service, as they come one after the other.
func TestExplain(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.set("DLQ_STORM_SHARE", "0")
	expect := func(employee string, want cause) string {
		t.Helper()
		got := objects(t, o.must(t, "explain", employee, "-o", "json"))[0]
		if got["cause"] != string(want) {
			t.Errorf("%s: %v, want %s: %v", employee, got["cause"], want, got["sentence"])
		}
		text := o.must(t, "explain", employee)
		if strings.Contains(text, "needle") {
			t.Errorf("personal data is shown: %s", text)
		}
		return text
	}
	expect("E1", causeNoEvents)
	o.change(t, 5, 1, `{"position":"needle"}`)
	expect("E1", causeNoService)
	o.must(t, "pause", "--yes", "--actor=sample@host")
	stop := o.running(t)
	expect("E1", causePaused)
	o.must(t, "resume", "--yes")
	o.drained(t)
	expect("E1", causeApplied)
	o.change(t, 2, 1, `{"position":"late"}`)
	o.drained(t)
	expect("E1", causeSuperseded)
	o.change(t, 6, 1, `{"qq":"needle","gender":"X"}`)
	o.drained(t)
	if text := expect("E1", causeDead); !strings.Contains(text, "membersync dlq redrive 0:2:0.") || !strings.Contains(text, "a redrive of 0:2:0: rejected") {
		t.Error(text)
	}
	o.change(t, 7, 1, `{"weixin":"w"}`)
	o.drained(t)
	expect("E1", causeEarlier)
	o.must(t, "dlq", "discard", "0:2:0", "--note=n", "--yes")
	expect("E1", causeApplied)
	stop()
	o.must(t, "state", "forget", "E1", "--yes")
	expect("E1", causeForgotten)
	o.redis.FlushAll()
	expect("E1", causeStateLost)
}
