package consumer_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"membersync/consumer"
	"membersync/crmapi"
	"membersync/crmapi/crmapitest"
	"membersync/dlq"
)

// series returns all metrics as lines of text: name, labels, and the value. For a histogram, the
// value is its count.
func series(t *testing.T, g prometheus.Gatherer) []string {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			v := m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			lines = append(lines, fmt.Sprintf("%s{%s} %v", f.GetName(), strings.Join(labels, ","), v))
		}
	}
	slices.Sort(lines)
	return lines
}

// labels returns the series without their values. It leaves out the series of partitions, which
// appear with the assignment.
func labels(t *testing.T, g prometheus.Gatherer) []string {
	t.Helper()
	var names []string
	for _, line := range series(t, g) {
		name := line[:strings.LastIndex(line, " ")]
		if !strings.Contains(name, "partition=") {
			names = append(names, name)
		}
	}
	return names
}

// wantLabels checks that a service has exactly the series that it had at its start.
func wantLabels(t *testing.T, start []string, g prometheus.Gatherer) {
	t.Helper()
	if diff := cmp.Diff(start, labels(t, g)); diff != "" {
		t.Errorf("series that were not there from the start (-start +end):\n%s", diff)
	}
}

// contract returns the metrics of section 4 of the project's DESIGN.md, all at zero.
func contract() []string {
	var lines []string
	add := func(name string, labels ...string) {
		lines = append(lines, fmt.Sprintf("membersync_%s{%s} 0", name, strings.Join(labels, ",")))
	}
	label := func(name string, value any) string { return fmt.Sprintf("%s=%q", name, fmt.Sprint(value)) }
	for _, o := range []string{"applied", "superseded", "unchanged", "duplicate", "ignored", "dead_lettered"} {
		add("events_total", label("outcome", o), label("path", "live"))
		add("events_total", label("outcome", o), label("path", "redrive"))
		add("events_total", label("outcome", o), label("path", "replay"))
	}
	for _, reason := range dlq.Reasons() {
		add("dead_letters_total", label("reason", reason))
	}
	for _, class := range []string{
		"success", "poison", "transient", "unacknowledged", "throttled", "quota", "token", "refused",
	} {
		add("crm_calls_total", label("class", class), label("code", "other"))
	}
	for _, code := range (crmapi.Table{}).Codes() {
		row, _ := crmapi.Table{}.Lookup(code)
		add("crm_calls_total", label("class", row.Class), label("code", code))
	}
	for _, code := range []int{20005, 20016} { // of a token that cannot be renewed
		add("crm_calls_total", label("class", "refused"), label("code", code))
	}
	for _, cause := range []string{
		"crm_outage", "crm_throttled", "crm_quota", "crm_refused", "redis", "kafka", "dlq", "storm", "operator", "control", "state_key",
	} {
		add("paused", label("cause", cause))
	}
	for _, result := range []string{"ok", "failed", "fenced"} {
		add("commits_total", label("result", result))
	}
	add("event_latency_seconds", label("path", "live"))
	add("event_latency_seconds", label("path", "redrive"))
	add("event_latency_seconds", label("path", "replay"))
	for _, op := range []string{"acquire", "complete", "permit", "other"} {
		add("redis_duration_seconds", label("op", op))
	}
	for _, name := range []string{
		"crm_call_duration_seconds", "crm_call_events", "crm_calls_in_flight", "calls_saved_total", "rebalances_total",
		"gap_records_total", "late_calls_total", "last_success_timestamp_seconds", "reused_event_ids_total", "state_lost",
	} {
		add(name)
	}
	slices.Sort(lines)
	return lines
}

func TestMetricsExistFromTheStart(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	consumer.NewMetrics(registry, crmapi.Table{})
	if diff := cmp.Diff(contract(), series(t, registry)); diff != "" {
		t.Errorf("series at the start (-contract +got):\n%s", diff)
	}
}

// A service adds the series of its own state. The series of a partition appear with its assignment.
func TestServiceAddsItsOwnMetrics(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	inst := r.start(func(cfg *consumer.Config, _ *consumer.Parts) { cfg.Brokers = []string{"127.0.0.1:1"} })
	own := []string{
		`membersync_breaker_state{state="closed"} 1`, `membersync_breaker_state{state="half_open"} 0`,
		`membersync_breaker_state{state="open"} 0`, `membersync_crm_throttled_seconds_total{} 0`,
		`membersync_events_held{} 0`,
		`membersync_lanes_retrying{} 0`, `membersync_oldest_in_flight_seconds{} 0`,
	}
	var got []string
	for _, s := range series(t, inst.registry) {
		if !slices.Contains(contract(), s) && !strings.HasPrefix(s, `membersync_paused{cause="kafka"}`) &&
			!strings.HasPrefix(s, `membersync_redis_duration_seconds{op="other"}`) {
			got = append(got, s)
		}
	}
	if diff := cmp.Diff(own, got); diff != "" {
		t.Errorf("series of the service (-want +got):\n%s", diff)
	}
	if ok, why := inst.service.Ready(); ok || !strings.Contains(why, "not joined") {
		t.Errorf("ready %v: %s", ok, why)
	}
}

func TestMetricsCountEventsAndCalls(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.crm.Push(crmapitest.Fault{Member: member(2), Code: 10001}, crmapitest.Fault{Member: member(3), Code: -1})
	inst := r.start(oneByOne)
	r.kafka.produce(event("invalid", 4, 1, fields{"gender": "X"}))
	inst.backlog(
		r.change(1, fields{"position": "1"}), r.change(1, fields{"position": "2"}), r.change(1, fields{"qq": "3"}),
		r.change(2, fields{"position": "refused"}), r.change(3, fields{"position": "retried"}))
	r.settled()
	r.eventually("the commit to be counted", func() bool { return inst.metric("membersync_lag_records") == 0 })
	for want, v := range map[string]float64{
		// the blocking event, two of member 1, the retried one
		`membersync_events_total{outcome="applied",path="live"}`:       4,
		`membersync_events_total{outcome="superseded",path="live"}`:    1,
		`membersync_events_total{outcome="dead_lettered",path="live"}`: 2,
		`membersync_dead_letters_total{reason="crm_invalid"}`:          1,
		`membersync_dead_letters_total{reason="invalid_field"}`:        1,
		`membersync_crm_calls_total{class="success",code="0"}`:         3,
		`membersync_crm_calls_total{class="poison",code="10001"}`:      1,
		`membersync_crm_calls_total{class="transient",code="-1"}`:      1,
		`membersync_crm_call_events{}`:                                 5,
		`membersync_calls_saved_total{}`:                               2, // three events in one call
		`membersync_crm_calls_in_flight{}`:                             0,
		`membersync_rebalances_total{}`:                                1,
		`membersync_late_calls_total{}`:                                0,
	} {
		if line := fmt.Sprintf("%s %v", want, v); !slices.Contains(series(t, inst.registry), line) {
			t.Errorf("no series %s", line)
		}
	}
}

// The class of a response can differ from the class of its code. Such a call, too, counts under
// labels that existed from the start. The rig checks this for every service.
func TestResponseClassCanDifferFromTheClassOfItsCode(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.crm.Push(
		crmapitest.Fault{Code: 20016},
		crmapitest.Fault{Status: 400, Type: "application/json", Body: `{"errorCode":0}`})
	inst := r.start()
	r.process(r.change(1, fields{"position": "1"}))
	for _, code := range []string{"20016", "other"} { // a fixed token cannot be renewed; a 4xx is not a success
		inst.wantMetric(1, "membersync_crm_calls_total", "class", "refused", "code", code)
	}
}

func TestUnknownCodeCountsAsOther(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.crm.Push(crmapitest.Fault{Code: 987654321})
	inst := r.start()
	r.process(r.change(1, fields{"position": "1"}))
	inst.wantMetric(1, "membersync_crm_calls_total", "class", "transient", "code", "other")
}
