package e2e

import (
	"testing"
	"time"

	"membersync/cmd/internal/test/oracle/outcome"
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
	open := r.CRM.awaitOpen(at)
	victim.End()
	r.CRM.awaitGone(at)
	r.redis.shortenLeases()
	r.CRM.Release()
	r.evict()
	r.t.Logf("killed with %d calls open %s their effect; lag %d", open, at, r.Broker.Lag(t, r.Group, r.Topic))

	r.produce(script.Records[half:])
	successor := r.start(nil)
	r.settle()
	took := time.Since(began)

	records, times := r.records()
	e := outcome.Expect(script.World, records)
	r.CRM.want(e.States, outcome.Canonical)
	wantDeadLetters(r, e, times, true)
	// After a kill a repetition is correct: the versions of a call without its completion are unknown.
	a := r.CRM.wantCalls(e)
	t.Logf("%d fields were sent again, %d went back on the way", len(a.Again), len(a.Back))
	successor.Stop()
	r.wantNoLag()
	report(r, e, took)
}
