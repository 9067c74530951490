package e2e

import (
	"context"
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"

	"membersync/cmd/internal/test/incident"
	"membersync/cmd/internal/test/oracle/outcome"
	"membersync/cmd/internal/test/testbed/servicetest"
	"membersync/crmapi/crmapitest"
)

// A crm is the fake CRM with what these tests require of its members and of the calls.
type crm struct {
	*crmapitest.Server
	t *testing.T
}

// want compares the members with the required ones. The function writes a value as they do.
func (c *crm) want(want map[string]map[string]string, canonical func([]byte) string) {
	c.t.Helper()
	got := make(map[string]map[string]string)
	for _, member := range c.Members() {
		got[member] = make(map[string]string)
		for field, value := range c.State(member) {
			got[member][field] = canonical(value)
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		c.t.Errorf("the members differ from what is expected:\n%s", d[:min(len(d), 3000)])
	}
}

// wantMembers is want for the oracle of incidents. A member without fields may be missing.
func (c *crm) wantMembers(want map[string]map[string]string) {
	c.t.Helper()
	want = maps.Clone(want)
	maps.DeleteFunc(want, func(_ string, fields map[string]string) bool { return len(fields) == 0 })
	c.want(want, func(value []byte) string { return string(value) })
}

// wantCalls checks each request that the CRM received, and returns the oracle's account of them.
func (c *crm) wantCalls(e outcome.Expectation) outcome.Account {
	c.t.Helper()
	var calls []outcome.Call
	for _, call := range c.Calls() {
		calls = append(calls, outcome.Call{Member: call.OpenUserID, User: call.User, Applied: call.Applied})
		if call.Outcome == crmapitest.OutcomeOpen {
			c.t.Errorf("call %d is still open", call.N)
		}
	}
	account := e.Replay(calls)
	if len(account.Unexplained) > 0 {
		c.t.Errorf("%d fields were sent that no event states, the first: %s", len(account.Unexplained), account.Unexplained[0])
	}
	c.wantNoOverlaps()
	if v := c.Violations(); len(v) > 0 {
		c.t.Errorf("%d breaches of the protocol, the first: %s", len(v), v[0])
	}
	return account
}

func (c *crm) wantNoOverlaps() {
	c.t.Helper()
	if n := c.Overlaps(); n > 0 {
		c.t.Errorf("%d calls came while another of the same member was open", n)
	}
}

// wantNothingBack checks that no call replaced a newer value with an older one.
func (c *crm) wantNothingBack(e incident.Expectation) {
	c.t.Helper()
	for _, problem := range e.Back(c.appliedCalls()) {
		c.t.Error(problem)
	}
	c.wantNoOverlaps()
}

func (c *crm) appliedCalls() []outcome.Call {
	var calls []outcome.Call
	for _, call := range c.Calls() {
		if call.Applied {
			calls = append(calls, outcome.Call{Member: call.OpenUserID, User: call.User, Applied: true})
		}
	}
	return calls
}

// awaitOpen waits until the CRM's log has enough open calls, after their effect if that is the
// point.
func (c *crm) awaitOpen(at crmapitest.Point) (open int) {
	c.t.Helper()
	c.await("open calls", func(s crmapitest.Stats) bool {
		if s.Blocked < atLeastOpen {
			return false
		}
		open = 0
		for _, call := range c.Calls() {
			if call.Outcome == crmapitest.OutcomeOpen && call.Applied == (at == crmapitest.AfterEffect) {
				open++
			}
		}
		return open >= atLeastOpen
	})
	return open
}

// awaitGone waits until the CRM has noticed that the callers are gone, without a response.
func (c *crm) awaitGone(at crmapitest.Point) {
	c.t.Helper()
	c.await("the calls of the killed process to end", func(s crmapitest.Stats) bool { return s.Open == 0 })
	for _, call := range c.Calls() {
		if call.Outcome != crmapitest.OutcomeGone || call.Applied && at == crmapitest.BeforeEffect {
			c.t.Errorf("call %d ended as %s, applied %t, want %s %s the effect", call.N, call.Outcome, call.Applied, crmapitest.OutcomeGone, at)
		}
	}
}

func (c *crm) await(what string, until func(crmapitest.Stats) bool) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), servicetest.Limit)
	defer cancel()
	if err := c.Wait(ctx, until); err != nil {
		c.t.Fatalf("waited %v for %s: %+v", servicetest.Limit, what, c.Stats())
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
