package main

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"membersync/cmd/internal/test/testbed"
	"membersync/crmapi/crmapitest"
)

// call returns a call that ended the given number of milliseconds after the start.
func call(start time.Time, member, n int, ms int, outcome crmapitest.Outcome) crmapitest.Seen {
	return crmapitest.Seen{
		OpenUserID: testbed.OpenUserID(member), Outcome: outcome, Finished: start.Add(time.Duration(ms) * time.Millisecond),
		User: json.RawMessage(fmt.Sprintf(`{"openUserId":%q,"position":%q}`, testbed.OpenUserID(member), position(n))),
	}
}

func TestLatencies(t *testing.T) {
	t.Parallel()
	start := time.Now()
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	calls := []crmapitest.Seen{
		call(start, 2, 10, 900, crmapitest.OutcomeSuccess), // out of order, as the log may be
		call(start, 2, 1, 30, crmapitest.OutcomeSuccess),
		call(start, 3, 2, 20, crmapitest.OutcomeGone), // the client gave up: no known effect
		call(start, 3, 2, 80, crmapitest.OutcomeSuccess),
		call(start, 2, 5, 300, crmapitest.OutcomeSuccess),
		call(start, 1, 3, 1, crmapitest.OutcomeSuccess),
	}
	sent := []sending{
		{member: 2, n: 1, at: at(10)},
		{member: 3, n: 2, at: at(10)},
		{member: 1, n: 3, at: at(0)},   // the member that is left out
		{member: 2, n: 4, at: at(200)}, // folded into 5
		{member: 2, n: 5, at: at(290)},
		{member: 4, n: 6, at: at(20)}, // not at the CRM yet
		{member: 2, n: 11, at: at(0)}, // an older value is not its effect
	}
	got, missing, err := latenciesOf(sent, calls, 1)
	if err != nil {
		t.Fatal(err)
	}
	want := []time.Duration{20 * time.Millisecond, 70 * time.Millisecond, 100 * time.Millisecond, 10 * time.Millisecond}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if missing != 2 {
		t.Errorf("%d missing, want 2", missing)
	}
}

func TestLatenciesOfForeignCalls(t *testing.T) {
	t.Parallel()
	for _, user := range []string{`{"position":"Lead"}`, `{}`, `[]`} {
		calls := []crmapitest.Seen{{Outcome: crmapitest.OutcomeSuccess, User: json.RawMessage(user)}}
		if _, _, err := latenciesOf(nil, calls, 0); err == nil {
			t.Errorf("%s: no error", user)
		}
	}
}
