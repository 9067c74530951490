package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"membersync/cmd/internal/test/oracle/outcome"
	"membersync/crmapi/crmapitest"
)

// TestMainJob lets two instances do the main job, with either form of an update.
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
	r.wantStates(e)
	r.wantLetters(e, times, false)
	r.wantRising(e)
	r.wantMetrics(both, e, len(records))
	for _, p := range both {
		p.terminate()
	}
	r.wantNoLag()
	r.report(e, took)
}

// TestInstancesComeAndGo lets a second instance join in the middle, and the first one leave before the end. What was finished and
// not committed is delivered again then: it must cause no call. A record that could not be read leaves
// no mark but its dead letter, so there may be copies of that.
func TestInstancesComeAndGo(t *testing.T) {
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
	first.terminate()
	r.produce(script.Records[2*third:])
	r.settle()
	took := time.Since(began)

	records, times := r.records()
	e := outcome.Expect(script.World, records)
	r.wantStates(e)
	r.wantLetters(e, times, true)
	r.wantRising(e, first, second)
	second.terminate()
	r.wantNoLag()
	r.report(e, took)
}

func newJob(t *testing.T, spec outcome.Spec, script outcome.Script, api string) *rig {
	t.Helper()
	opts := options(script.World)
	opts.ObjectAPI = api == "object"
	opts.Latency = 2 * time.Millisecond
	r := newRig(t, setup{partitions: spec.Partitions, crm: opts})
	r.variables["CRM_TOKEN"] = token
	r.variables["CRM_API"], r.variables["CRM_OBJECT_FIELDS"] = api, crmapitest.ObjectFields
	r.variables["KAFKA_MAX_RECORD_BYTES"] = "16KiB"
	return r
}

// wantRising wants no field to go back, and none to be sent twice for one event. When a completion fails because Redis does
// not answer, and the partition goes to somebody else at that moment, the call is made again.
func (r *rig) wantRising(e outcome.Expectation, processes ...*process) {
	r.t.Helper()
	a := r.wantCalls(e)
	for _, problem := range a.Back {
		r.t.Errorf("a field went back: %s", problem)
	}
	if slices.ContainsFunc(processes, func(p *process) bool { return strings.Contains(p.out.String(), `"cause":"redis"`) }) {
		r.t.Logf("Redis was slow; fields sent again: %q", a.Again)
		return
	}
	for _, problem := range a.Again {
		r.t.Errorf("a field was sent again: %s", problem)
	}
}

// wantMetrics wants the metrics to tell what has happened, while nothing was delivered twice by Kafka.
func (r *rig) wantMetrics(processes []*process, e outcome.Expectation, records int) {
	r.t.Helper()
	for metric, want := range map[string]int{
		"events_total":       records,
		"dead_letters_total": len(e.Letters),
		"crm_calls_total":    len(r.crm.Calls()),
	} {
		if got := sum(processes, metric, ""); got != want {
			r.t.Errorf("%s add up to %d, want %d", metric, got, want)
		}
	}
	r.t.Logf("applied %d, superseded %d, unchanged %d, duplicate %d, dead_lettered %d",
		sum(processes, "events_total", `outcome="applied"`), sum(processes, "events_total", `outcome="superseded"`),
		sum(processes, "events_total", `outcome="unchanged"`), sum(processes, "events_total", `outcome="duplicate"`),
		sum(processes, "events_total", `outcome="dead_lettered"`))
}

// report tells the figures.
func (r *rig) report(e outcome.Expectation, took time.Duration) {
	r.t.Helper()
	calls, applied := r.crm.Calls(), 0
	for _, c := range calls {
		if c.Applied {
			applied++
		}
	}
	reasons := make(map[string]int)
	for _, l := range e.Letters {
		reasons[l.Reason+l.Code]++
	}
	r.t.Logf("real Kafka %t; stating events %d, stating nothing %d, duplicates %d, dead letters %d %v",
		r.broker.Real(), e.Stating, e.Empty, e.Duplicates, len(e.Letters), reasons)
	r.t.Logf("calls %d, of them applied %d, refused or unanswered %d; events that needed no call of their own %d; %.1f s",
		len(calls), applied, len(calls)-applied, e.Stating-applied, took.Seconds())
}
