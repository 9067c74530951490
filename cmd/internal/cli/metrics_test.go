package cli

import (
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// metrics are all that the service serves: type and labels of each.
func metrics() map[string]string {
	return map[string]string{
		"events_total": "counter outcome,path", "dead_letters_total": "counter reason", "crm_calls_total": "counter class,code",
		"crm_call_duration_seconds": "histogram", "crm_call_events": "histogram", "crm_calls_in_flight": "gauge",
		"crm_throttled_seconds_total": "counter", "calls_saved_total": "counter", "rate_limit_used_ratio": "gauge",
		"lag_records": "gauge partition,topic", "lag_seconds": "gauge partition,topic", "retention_headroom_seconds": "gauge partition,topic",
		"oldest_in_flight_seconds": "gauge", "lanes_retrying": "gauge", "breaker_state": "gauge state", "paused": "gauge cause",
		"events_held":           "gauge",
		"event_latency_seconds": "histogram path", "commits_total": "counter result", "rebalances_total": "counter",
		"gap_records_total": "counter", "late_calls_total": "counter", "reused_event_ids_total": "counter", "state_lost": "gauge",
		"redis_duration_seconds": "histogram op", "last_success_timestamp_seconds": "gauge",
		"build_info": "gauge goversion,revision,version",
	}
}

// exposed reads type and labels of each of our metrics off what is served.
func exposed(body string) map[string]string {
	all := map[string]string{}
	for _, found := range regexp.MustCompile(`(?m)^# TYPE membersync_(\S+) (\S+)$`).FindAllStringSubmatch(body, -1) {
		name, of := found[1], found[2]
		series := regexp.MustCompile(`(?m)^membersync_` + name + `(?:_count)?(?:\{(.*)\})? `).FindStringSubmatch(body)
		if series == nil {
			continue
		}
		var labels []string
		for _, label := range regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(series[1], -1) {
			labels = append(labels, label[1])
		}
		slices.Sort(labels)
		all[name] = strings.TrimSpace(of + " " + strings.Join(labels, ","))
	}
	return all
}

// Dashboards and alerts of others go by these names.
func TestRunServesItsMetrics(t *testing.T) {
	t.Parallel()
	r := newService(t)
	r.set("STATE_DONE_TTL", "1h")
	end, status := r.background(t)
	var body string
	until(t, "a partition to be measured", func() bool {
		_, body = r.get(t, "/metrics")
		return strings.Contains(body, "membersync_retention_headroom_seconds{")
	})
	if d := cmp.Diff(metrics(), exposed(body)); d != "" {
		t.Errorf("metrics (-contract +served): %s", d)
	}
	until(t, "readiness", func() bool {
		code, body := r.get(t, "/readyz")
		return code == http.StatusOK && body == "ok\n"
	})
	r.errs.await(t, `"setting":"state.done_ttl","done_ttl":"1h0m0s"`)
	end(errors.New("test over"))
	if s := <-status; s != exitDone {
		t.Errorf("status %d", s)
	}
}
