package monitoring

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"membersync/cmd/internal/ops"
	"membersync/cmd/internal/test/testbed/servicetest"
	"membersync/dlq/kafkatest"
)

const (
	scraped   = "working catching_up crm_outage crm_throttled crm_quota crm_refused redis kafka dlq storm control paused_by_operator state_lost state_key mapping_rejects retention_risk stuck"
	consuming = "working catching_up crm_outage crm_throttled crm_quota crm_refused dlq storm paused_by_operator state_lost mapping_rejects retention_risk stuck"
	failing   = "crm_outage crm_throttled crm_quota crm_refused"
	calling   = "working " + failing + " dlq state_lost mapping_rejects"
	pausing   = failing + " redis kafka dlq storm control paused_by_operator state_key"
	waiting   = failing + " catching_up retention_risk stuck paused_by_operator"
)

// An expectation is what the query of a panel returns, by state.
type expectation struct {
	data    string // states in which it returns at least one sample
	nonzero string // states in which one of them is not 0; also states with data
	none    string // states in which it returns nothing
}

// expectations are those of each panel of the dashboard, by title.
func expectations() map[string]expectation {
	return map[string]expectation{
		"Instances":                {data: "no_instance", nonzero: scraped},
		"Paused by":                {nonzero: pausing, none: "working catching_up no_instance state_lost mapping_rejects stuck"},
		"State in Redis":           {data: scraped, nonzero: "state_lost"},
		"Last success":             {nonzero: calling, none: "paused_by_operator stuck no_instance"},
		"Oldest unfinished record": {data: scraped, nonzero: waiting},
		"Open dead letters":        {nonzero: "mapping_rejects", none: "working"},
		"Alerts that fire":         {nonzero: pausing + " state_lost mapping_rejects retention_risk catching_up", none: "working"},
		"Builds":                   {nonzero: scraped, none: "no_instance"},

		"Age of the oldest unfinished record": {data: consuming, nonzero: waiting},
		"Unfinished records":                  {data: consuming, nonzero: waiting},
		"Retention headroom":                  {nonzero: consuming, none: "no_instance"},
		"Commits of offsets":                  {data: scraped, nonzero: calling},
		"Rebalances":                          {data: scraped},
		"Records that were gone":              {data: scraped},

		"Events by outcome": {data: scraped, nonzero: calling},
		"Events by path":    {data: scraped, nonzero: calling},
		"From the record's timestamp to the outcome": {data: scraped, nonzero: calling},
		"Calls saved":      {data: scraped},
		"Reused event ids": {data: scraped},

		"Calls by class of the response":        {data: scraped, nonzero: calling},
		"Refusals by code":                      {nonzero: failing, none: "working no_instance"},
		"Duration of a call":                    {data: scraped, nonzero: calling},
		"Calls in flight":                       {data: scraped, nonzero: "retention_risk stuck"},
		"Events in one call":                    {nonzero: calling},
		"Members that wait for another attempt": {data: scraped, nonzero: "crm_outage"},
		"Late calls":                            {data: scraped},

		"Share of the limit that is used":     {data: scraped, nonzero: "catching_up"},
		"Time paused by the CRM's throttling": {data: scraped, nonzero: "crm_throttled"},

		"Pauses by cause": {data: scraped, nonzero: pausing},
		"Outage breaker":  {nonzero: scraped},

		"New dead letters by reason":           {nonzero: "mapping_rejects", none: "working no_instance"},
		"Share of new events that is rejected": {nonzero: "mapping_rejects"},
		"Events held by the storm guard":       {data: scraped, nonzero: "storm"},
		"Open dead letters by reason":          {nonzero: "mapping_rejects", none: "working no_instance"},
		"Age of the oldest open dead letter":   {nonzero: "mapping_rejects", none: "working no_instance"},

		"Requests to Redis":              {data: scraped, nonzero: calling},
		"Duration of a request to Redis": {nonzero: calling},

		"Resident memory": {nonzero: scraped, none: "no_instance"},
		"CPU":             {data: scraped},
		"Goroutines":      {nonzero: scraped},
	}
}

// alertsOf are the alerts that fire in a state, if they did not wait. States without an entry have
// none that is required.
func alertsOf() map[string]string {
	return map[string]string{
		"crm_outage": "MembersyncPausedCRMOutage", "crm_throttled": "MembersyncPausedCRMThrottled", "crm_quota": "MembersyncPausedCRMQuota",
		"crm_refused": "MembersyncPausedCRMRefused", "redis": "MembersyncPausedRedis", "kafka": "MembersyncPausedKafka",
		"dlq": "MembersyncPausedDLQ", "storm": "MembersyncPausedStorm MembersyncEventsHeld", "control": "MembersyncPausedControl",
		"paused_by_operator": "MembersyncPausedByOperator", "state_key": "MembersyncPausedStateKey", "state_lost": "MembersyncStateLost",
		"mapping_rejects": "MembersyncMappingRejects MembersyncDeadLetters", "retention_risk": "MembersyncRetentionHeadroom",
		"catching_up": "MembersyncLag",
	}
}

func TestTheTableIsComplete(t *testing.T) {
	t.Parallel()
	all := expectations()
	for _, p := range readDashboard(t).Panels {
		if _, known := all[p.Title]; !known && p.Type != "row" {
			t.Errorf("panel %q is not in the table", p.Title)
		}
		delete(all, p.Title)
	}
	for title := range all {
		t.Errorf("no panel %q", title)
	}
	produced := slices.Collect(maps.Keys(states()))
	for _, e := range expectations() {
		for name := range strings.FieldsSeq(e.data + " " + e.nonzero + " " + e.none) {
			if !slices.Contains(produced, name) {
				t.Errorf("no state %s", name)
			}
		}
	}
	for _, cause := range ops.StatusCauses() {
		if !slices.Contains(produced, string(cause)) {
			t.Errorf("state %s is not produced", cause)
		}
	}
}

// In each state of membersync status, Prometheus scrapes the service, and the dashboard and the
// alerts show that state.
func TestDashboardInEachState(t *testing.T) {
	t.Parallel()
	path := os.Getenv("MEMBERSYNC_TEST_PROMETHEUS")
	if path == "" {
		t.Skip("run .ci/deploy test")
	}
	binary, broker, prometheus := build(t), kafkatest.StartFake(t), startPrometheus(t, path)
	panels := readDashboard(t).Panels
	for name, produce := range states() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newState(t, name, binary, broker, prometheus)
			produce(s)
			servicetest.Eventually(t, "the status "+name, func() bool { return s.cause() == name })
			for _, p := range panels {
				for _, target := range p.Targets {
					s.check(p.Title, expectations()[p.Title], target.Expr)
				}
			}
			for alert := range strings.FieldsSeq(alertsOf()[name]) {
				servicetest.Eventually(t, alert, func() bool {
					return len(prometheus.query(t, fmt.Sprintf(`ALERTS{alertname=%q,job=%q,alertstate="firing"}`, alert, name))) > 0
				})
			}
		})
	}
}

// check runs the query of a panel until it returns what it should in this state.
func (s *state) check(title string, want expectation, query string) {
	s.t.Helper()
	query = strings.NewReplacer("$job", s.name+"(-ui)?", "$instance", ".*", "$__rate_interval", "5m").Replace(query)
	is := func(names string) bool { return slices.Contains(strings.Fields(names), s.name) }
	switch {
	case is(want.none):
		if samples := s.prometheus.query(s.t, query); len(samples) > 0 {
			s.t.Errorf("%s: %v, want nothing", title, samples)
		}
	case is(want.nonzero):
		s.eventually(title, query, func(samples []sample) bool {
			return slices.ContainsFunc(samples, func(one sample) bool { return one.Value != 0 && one.Value == one.Value })
		})
	case is(want.data):
		s.eventually(title, query, func(samples []sample) bool { return len(samples) > 0 })
	}
}

func (s *state) eventually(title, query string, ok func([]sample) bool) {
	s.t.Helper()
	var samples []sample
	defer func() {
		if !ok(samples) {
			s.t.Logf("%s: %s returns %v", title, query, samples)
		}
	}()
	servicetest.Eventually(s.t, title, func() bool {
		samples = s.prometheus.query(s.t, query)
		return ok(samples)
	})
}
