package e2e

import (
	"github.com/google/go-cmp/cmp"

	"membersync/cmd/internal/test/oracle/outcome"
	"membersync/crmapi/crmapitest"
)

// wantStates compares the CRM's members with the expectation.
func (r *rig) wantStates(e outcome.Expectation) {
	r.t.Helper()
	got := make(map[string]map[string]string)
	for _, member := range r.CRM.Members() {
		got[member] = make(map[string]string)
		for field, value := range r.CRM.State(member) {
			got[member][field] = outcome.Canonical(value)
		}
	}
	if d := cmp.Diff(e.States, got); d != "" {
		r.t.Errorf("the members differ from what is expected:\n%s", d[:min(len(d), 3000)])
	}
}

// wantCalls checks each request that the CRM received, and returns the oracle's account of them.
func (r *rig) wantCalls(e outcome.Expectation) outcome.Account {
	r.t.Helper()
	var calls []outcome.Call
	for _, c := range r.CRM.Calls() {
		calls = append(calls, outcome.Call{Member: c.OpenUserID, User: c.User, Applied: c.Applied})
		if c.Outcome == crmapitest.OutcomeOpen {
			r.t.Errorf("call %d is still open", c.N)
		}
	}
	account := e.Replay(calls)
	if len(account.Unexplained) > 0 {
		r.t.Errorf("%d fields were sent that no event states, the first: %s", len(account.Unexplained), account.Unexplained[0])
	}
	if n := r.CRM.Overlaps(); n > 0 {
		r.t.Errorf("%d calls came while another of the same member was open", n)
	}
	if v := r.CRM.Violations(); len(v) > 0 {
		r.t.Errorf("%d breaches of the protocol, the first: %s", len(v), v[0])
	}
	return account
}

// wantNoLag checks that everything is committed.
func (r *rig) wantNoLag() {
	r.t.Helper()
	if lag := r.Broker.Lag(r.t, r.Group, r.Topic); lag != 0 {
		r.t.Errorf("lag %d, want 0", lag)
	}
}

// token is the token of the tests that do not search for secrets.
const token = "token-of-the-test" //nolint:gosec // made up

// options returns the fake CRM's options for the oracle's world.
func options(w outcome.World) crmapitest.Options {
	return crmapitest.Options{Members: w.Members, Departments: departments(w), Tokens: []string{token}}
}

func departments(w outcome.World) []int64 {
	var ids []int64
	for id := int64(1); id <= w.Departments; id++ {
		ids = append(ids, id)
	}
	return ids
}
