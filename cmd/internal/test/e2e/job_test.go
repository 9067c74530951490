package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"membersync/cmd/internal/test/oracle/outcome"
	"membersync/crmapi/crmapitest"
)

// TestMainJob runs the main job with two instances and each form of an update.
func TestMainJob(t *testing.T) {
	t.Parallel()
	for _, api := range []string{"user", "object"} {
		t.Run(api, func(t *testing.T) {
			t.Parallel()
			mainJob(t, api)
		})
	}
}

func mainJob(t *testing.T, api string) {
	t.Helper()
	spec := outcome.Spec{Seed: 1, Events: 2000, Employees: 500, Partitions: 6}
	if isReal() {
		spec.Events = 10000
	}
	script := outcome.Generate(spec)
	r := newJob(t, spec, script, api)
	both := []*process{r.start(nil), r.start(nil)}
	for _, p := range both {
		p.awaitReady()
	}
	began := time.Now()
	r.produce(script.Records)
	r.settle()
	took := time.Since(began)

	records, times := r.records()
	e := outcome.Expect(script.World, records)
	r.CRM.want(e.States, outcome.Canonical)
	wantDeadLetters(r, e, times, false)
	wantRising(r, e)
	wantMetrics(r, both, e, len(records))
	for _, p := range both {
		p.Stop()
	}
	r.wantNoLag()
	report(r, e, took)
}

// A second instance joins in the middle, and the first one leaves before the end. What was finished
// and not committed is delivered again. It must cause no call. A record that could not be read
// leaves no mark except its dead letter, so there may be copies of that.
func TestInstancesJoinAndLeave(t *testing.T) {
	t.Parallel()
	spec := outcome.Spec{Seed: 3, Events: 1500, Employees: 200, Partitions: 6}
	script := outcome.Generate(spec)
	r := newJob(t, spec, script, "user")
	third := len(script.Records) / 3
	first := r.start(nil)
	first.awaitReady()
	began := time.Now()
	r.produce(script.Records[:third])
	second := r.start(nil)
	second.awaitReady()
	r.produce(script.Records[third : 2*third])
	first.Stop()
	r.produce(script.Records[2*third:])
	r.settle()
	took := time.Since(began)

	records, times := r.records()
	e := outcome.Expect(script.World, records)
	r.CRM.want(e.States, outcome.Canonical)
	wantDeadLetters(r, e, times, true)
	wantRising(r, e, first, second)
	second.Stop()
	r.wantNoLag()
	report(r, e, took)
}

func newJob(t *testing.T, spec outcome.Spec, script outcome.Script, api string) *rig {
	t.Helper()
	opts := options(script.World)
	opts.ObjectAPI = api == "object"
	opts.Latency = 2 * time.Millisecond
	r := newRig(t, setup{partitions: spec.Partitions, crm: opts})
	r.Variables["CRM_API"], r.Variables["CRM_OBJECT_FIELDS"] = api, crmapitest.ObjectFields
	r.Variables["KAFKA_MAX_RECORD_BYTES"] = "16KiB"
	return r
}

// wantRising checks that no field goes back and that none is sent twice for one event. When a
// completion fails because Redis does not respond, and the partition moves to another process at
// that time, the call is repeated.
func wantRising(r *rig, e outcome.Expectation, processes ...*process) {
	r.t.Helper()
	a := r.CRM.wantCalls(e)
	for _, problem := range a.Back {
		r.t.Errorf("a field went back: %s", problem)
	}
	if slices.ContainsFunc(processes, func(p *process) bool { return strings.Contains(p.Err.String(), `"cause":"redis"`) }) {
		r.t.Logf("Redis was slow; fields sent again: %q", a.Again)
		return
	}
	for _, problem := range a.Again {
		r.t.Errorf("a field was sent again: %s", problem)
	}
}

// wantMetrics checks that the metrics match the result, if Kafka delivered nothing twice.
func wantMetrics(r *rig, processes []*process, e outcome.Expectation, records int) {
	r.t.Helper()
	for metric, want := range map[string]int{
		"events_total":       records,
		"dead_letters_total": len(e.DeadLetters),
		"crm_calls_total":    len(r.CRM.Calls()),
	} {
		if got := sum(r.t, processes, metric); got != want {
			r.t.Errorf("%s add up to %d, want %d", metric, got, want)
		}
	}
	r.t.Logf("applied %d, superseded %d, unchanged %d, duplicate %d, dead_lettered %d",
		sum(r.t, processes, "events_total", `outcome="applied"`), sum(r.t, processes, "events_total", `outcome="superseded"`),
		sum(r.t, processes, "events_total", `outcome="unchanged"`), sum(r.t, processes, "events_total", `outcome="duplicate"`),
		sum(r.t, processes, "events_total", `outcome="dead_lettered"`))
}

// report logs the figures.
func report(r *rig, e outcome.Expectation, took time.Duration) {
	r.t.Helper()
	calls, applied := r.CRM.Calls(), 0
	for _, c := range calls {
		if c.Applied {
			applied++
		}
	}
	reasons := make(map[string]int)
	for _, l := range e.DeadLetters {
		reasons[l.Reason+l.Code]++
	}
	r.t.Logf("real Kafka %t; stating events %d, stating nothing %d, duplicates %d, dead letters %d %v",
		r.Broker.Real(), e.Stating, e.Empty, e.Duplicates, len(e.DeadLetters), reasons)
	r.t.Logf("calls %d, of them applied %d, refused or unacknowledged %d; events that needed no call of their own %d; %.1f s",
		len(calls), applied, len(calls)-applied, e.Stating-applied, took.Seconds())
}
