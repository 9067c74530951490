package ops

import (
	"testing"
	"time"

	"membersync/dedupe"
	"membersync/dlq"
)

// Each cause has evidence that leads to it.
func TestCause(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	latest := &Latest{EventID: "ev-1", Partition: 1, Offset: 7, Time: at}
	item := func(s dlq.State) *dlq.Item {
		return &dlq.Item{ID: "1:7:0", State: s, Number: 1, DeadLetter: dlq.DeadLetter{Reason: dlq.ReasonCRMNotFound, FailedAt: at}}
	}
	done := func(outcome string) dedupe.EventGrant { return dedupe.EventGrant{Done: true, Outcome: outcome} }
	outage := []dedupe.PauseCause{{Cause: "crm_outage", Since: at}}
	for name, c := range map[string]struct {
		want Cause
		have Evidence
	}{
		"another key":                   {CauseStateKey, Evidence{otherKey: true, stateLost: true, Latest: latest}},
		"an emptied Redis":              {CauseStateLost, Evidence{stateLost: true, Latest: latest}},
		"no event":                      {CauseNoEvents, Evidence{}},
		"an ignored event":              {CauseIgnored, Evidence{Latest: &Latest{Ignored: "deletion"}}},
		"a held event":                  {CauseHeld, Evidence{Latest: &Latest{Reason: "invalid_field"}, storm: true, Causes: outage}},
		"a redrive under way":           {CauseRedriving, Evidence{Latest: latest, DeadLetter: item(dlq.StateRedriving), done: done("dead_lettered")}},
		"an open dead letter":           {CauseDeadLettered, Evidence{Latest: latest, DeadLetter: item(dlq.StateOpen), done: done("dead_lettered")}},
		"a discarded one":               {CauseDiscarded, Evidence{Latest: latest, DeadLetter: item(dlq.StateDiscarded), done: done("dead_lettered")}},
		"an expired one":                {CauseDeadLetterExpired, Evidence{Latest: latest, done: done("dead_lettered")}},
		"a call without a response":     {CauseUnacknowledged, Evidence{Latest: latest, Pending: []string{"qq"}, instances: 1}},
		"a call in flight":              {CauseInFlight, Evidence{Latest: latest, leased: true, Pending: []string{"qq"}, instances: 1}},
		"a call in flight in an outage": {CauseOutage, Evidence{Latest: latest, leased: true, Causes: outage, instances: 1}},
		"an operator's pause":           {CauseOperator, Evidence{Latest: latest, Paused: &Pause{}, Pending: []string{"qq"}}},
		"no instance":                   {CauseNoInstance, Evidence{Latest: latest}},
		"a lag":                         {CauseLagging, Evidence{Latest: latest, instances: 1, Behind: 3}},
		"an expired done mark":          {CauseForgotten, Evidence{Latest: latest, committed: 8, leased: true}},
		"a late event":                  {CauseSuperseded, Evidence{Latest: latest, done: done("superseded")}},
		"a superseded redrive":          {CauseSuperseded, Evidence{Latest: latest, DeadLetter: item(dlq.StateSuperseded), done: done("superseded")}},
		"an event that states nothing":  {CauseUnchanged, Evidence{Latest: latest, done: done("unchanged")}},
		"an earlier dead letter":        {CauseEarlierDeadLetter, Evidence{Latest: latest, done: done("applied"), Earlier: item(dlq.StateOpen)}},
		"an applied redrive":            {CauseRedriven, Evidence{Latest: latest, done: done("applied"), DeadLetter: item(dlq.StateApplied)}},
		"an applied event":              {CauseApplied, Evidence{Latest: latest, done: done("applied")}},
	} {
		if got := c.have.cause(); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
