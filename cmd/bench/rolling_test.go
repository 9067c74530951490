package main

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"membersync/cmd/bench/internal/chaos"
	"membersync/cmd/internal/test/testbed"
	"membersync/crmapi/crmapitest"
)

func span(from, to float64) chaos.Span { return chaos.Span{From: moment(from), To: moment(to)} }

// Members 1 and 2 are of different partitions. Event 3 was folded into 5, and 6 is not at the CRM.
func TestGaps(t *testing.T) {
	t.Parallel()
	const partitions = 4
	home := func(member int) int { return testbed.Event{Employee: member}.Record(partitions).Partition }
	if home(1) == home(2) {
		t.Fatal("the test needs members of two partitions")
	}
	effects, err := effectsOf([]crmapitest.Seen{
		call(moment(0), 1, 1, 500, crmapitest.OutcomeSuccess),
		call(moment(0), 2, 2, 1250, crmapitest.OutcomeSuccess),
		call(moment(0), 1, 5, 4000, crmapitest.OutcomeSuccess),
		call(moment(0), 2, 4, 4000, crmapitest.OutcomeGone),
		call(moment(0), 2, 4, 4500, crmapitest.OutcomeSuccess),
	})
	if err != nil {
		t.Fatal(err)
	}
	sent := []sending{
		{member: 1, n: 1, at: moment(0)},
		{member: 2, n: 2, at: moment(1)},
		{member: 1, n: 3, at: moment(1)},
		{member: 2, n: 4, at: moment(2)},
		{member: 1, n: 5, at: moment(3)},
		{member: 2, n: 6, at: moment(3)},
	}
	delays, missing := delaysOf(sent, effects, partitions)
	if missing != 1 || len(delays) != 5 {
		t.Errorf("%d missing, %v", missing, delays)
	}
	for _, tc := range []struct {
		span         chaos.Span
		first, other float64 // seconds
		events       int
	}{
		{span(0, 2), 3, 0.25, 3},
		{span(2, 9), 1, 2.5, 2},
		{span(1, 3), 3, 2.5, 3},
		{span(7, 9), 0, 0, 0},
	} {
		gaps := gapsIn(delays, tc.span, partitions)
		if gaps[home(1)].Seconds() != tc.first || gaps[home(2)].Seconds() != tc.other || len(tookIn(delays, tc.span)) != tc.events {
			t.Errorf("%v: %v, %v", tc.span, gaps, tookIn(delays, tc.span))
		}
	}
}

func TestJoinsOfTwoGenerations(t *testing.T) {
	t.Parallel()
	joins := []join{{moment(1), 7}, {moment(2), 8}, {moment(2.5), 8}, {moment(3), 9}}
	if generations, count := joinsIn(joins, span(1, 3)); generations != 2 || count != 3 {
		t.Errorf("%d generations, %d joins", generations, count)
	}
}

// The value of a call that failed counts: the CRM may have applied it.
func TestRepeats(t *testing.T) {
	t.Parallel()
	at := moment(0)
	repeated, back, err := repeatsOf([]crmapitest.Seen{
		call(at, 1, 1, 1, crmapitest.OutcomeSuccess),
		call(at, 1, 4, 2, crmapitest.OutcomeGone),
		call(at, 2, 3, 2, crmapitest.OutcomeSuccess),
		call(at, 1, 4, 3, crmapitest.OutcomeSuccess),
		call(at, 1, 2, 4, crmapitest.OutcomeSuccess),
		call(at, 1, 1, 5, crmapitest.OutcomeSuccess),
	})
	if repeated != 2 || back != 1 || err != nil {
		t.Errorf("%d repeated, %d back, %v", repeated, back, err)
	}
}

// A new instance that does not become ready ends the update, with what it said.
func TestAnInstanceThatIsRefused(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "control", http.StatusServiceUnavailable)
	}))
	defer server.Close()
	r := rollingRun{rolling: rolling{probe: 10 * time.Millisecond, deadline: 3 * time.Second}}
	i := &testbed.Instance{Admin: testbed.Admin(strings.TrimPrefix(server.URL, "http://"))}
	took, refused, err := r.awaitReady(t.Context(), i)
	if took != r.deadline || refused != "control" || err != nil {
		t.Errorf("%v, %q, %v", took, refused, err)
	}
}

// Each broken promise misses a target.
func TestRollingTargets(t *testing.T) {
	t.Parallel()
	o := rolling{instances: 2, partitions: 2, maxGap: 5, maxStop: 2}
	for name, tc := range map[string]struct {
		change func(*rollingResult)
		met    bool
	}{
		"nothing":      {func(*rollingResult) {}, true},
		"gap before":   {func(r *rollingResult) { r.delays[0].took = 6 * time.Second }, true},
		"gap":          {func(r *rollingResult) { r.delays[1].took = 6 * time.Second }, false},
		"stop":         {func(r *rollingResult) { r.restarts[0].stop = 3 * time.Second }, false},
		"lost":         {func(r *rollingResult) { r.lost = 1 }, false},
		"repeated":     {func(r *rollingResult) { r.repeated = 1 }, false},
		"back":         {func(r *rollingResult) { r.back = 1 }, false},
		"overlaps":     {func(r *rollingResult) { r.overlaps = 1 }, false},
		"failed":       {func(r *rollingResult) { r.failed = 1 }, false},
		"dead letters": {func(r *rollingResult) { r.deadLetters = 1 }, false},
		"lag":          {func(r *rollingResult) { r.lag = 1 }, false},
		"refused":      {func(r *rollingResult) { r.refused = "control" }, false},
	} {
		r := &rollingResult{
			phases:   []rollingPhase{{"before", span(0, 10), false}, {"update", span(10, 20), true}},
			restarts: []restart{{phase: "update", span: span(10, 20)}},
			delays:   []delay{{1, moment(1), time.Second}, {0, moment(11), 2 * time.Second}},
		}
		tc.change(r)
		if got := o.report(r); got.met() != tc.met {
			t.Errorf("%s: met %t, %+v", name, got.met(), got.targets)
		}
	}
	worst := o.report(&rollingResult{
		phases: []rollingPhase{{"update", span(10, 20), true}},
		delays: []delay{{1, moment(11), time.Second}, {0, moment(12), 2 * time.Second}, {1, moment(13), 4 * time.Second}},
	}).tables[0]
	if got := worst.rows[0][slices.Index(worst.columns, "worst_partition")]; got != 1 {
		t.Errorf("worst partition %v, want 1", got)
	}
}
