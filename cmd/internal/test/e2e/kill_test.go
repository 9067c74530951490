package e2e

import (
	"context"
	"testing"
	"time"

	"membersync/cmd/internal/test/oracle/outcome"
	"membersync/cmd/internal/test/testbed/servicetest"
	"membersync/crmapi/crmapitest"
)

// atLeastOpen is how many calls must be open when the process is killed.
const atLeastOpen = 20

func TestKillBeforeEffect(t *testing.T) {
	t.Parallel()
	kill(t, crmapitest.BeforeEffect)
}

func TestKillAfterEffect(t *testing.T) {
	t.Parallel()
	kill(t, crmapitest.AfterEffect)
}

// kill kills a process while its calls are open at the CRM, all before or all after their effect.
// Another process must bring everything to the same result.
func kill(t *testing.T, at crmapitest.Point) {
	t.Helper()
	spec := outcome.Spec{Seed: 2, Events: 800, Employees: 60, Partitions: 6}
	script := outcome.Generate(spec)
	r := newJob(t, spec, script, "user")
	began := time.Now()
	half := len(script.Records) / 2
	r.produce(script.Records[:half])
	r.CRM.Block(at)
	victim := r.startVictim()
	open := r.awaitOpen(at)
	victim.kill()
	r.allGone(at)
	r.shortenLeases()
	r.CRM.Release()
	r.evict()
	r.t.Logf("killed with %d calls open %s their effect; lag %d", open, at, r.Broker.Lag(t, r.Group, r.Topic))

	r.produce(script.Records[half:])
	successor := r.start(nil)
	r.settle()
	took := time.Since(began)

	records, times := r.records()
	e := outcome.Expect(script.World, records)
	r.wantStates(e)
	r.wantDeadLetters(e, times, true)
	// After a kill a repetition is correct: the versions of a call without its completion are unknown.
	a := r.wantCalls(e)
	t.Logf("%d fields were sent again, %d went back on the way", len(a.Again), len(a.Back))
	successor.terminate()
	r.wantNoLag()
	r.report(e, took)
}

// awaitOpen waits until the CRM's log has enough open calls, after their effect if that is the
// point.
func (r *rig) awaitOpen(at crmapitest.Point) (open int) {
	r.t.Helper()
	r.await("open calls", func(s crmapitest.Stats) bool {
		if s.Blocked < atLeastOpen {
			return false
		}
		open = 0
		for _, c := range r.CRM.Calls() {
			if c.Outcome == crmapitest.OutcomeOpen && c.Applied == (at == crmapitest.AfterEffect) {
				open++
			}
		}
		return open >= atLeastOpen
	})
	return open
}

// allGone waits until the CRM has noticed that the callers are gone, without a response.
func (r *rig) allGone(at crmapitest.Point) {
	r.t.Helper()
	r.await("the calls of the killed process to end", func(s crmapitest.Stats) bool { return s.Open == 0 })
	for _, c := range r.CRM.Calls() {
		if c.Outcome != crmapitest.OutcomeGone || c.Applied && at == crmapitest.BeforeEffect {
			r.t.Errorf("call %d ended as %s, applied %t, want %s %s the effect", c.N, c.Outcome, c.Applied, crmapitest.OutcomeGone, at)
		}
	}
}

func (r *rig) await(what string, until func(crmapitest.Stats) bool) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), servicetest.Limit)
	defer cancel()
	if err := r.CRM.Wait(ctx, until); err != nil {
		r.t.Fatalf("waited %v for %s: %+v", servicetest.Limit, what, r.CRM.Stats())
	}
}
