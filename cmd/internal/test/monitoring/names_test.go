package monitoring

import (
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"

	"membersync/cmd/internal/test/testbed"
	"membersync/cmd/internal/test/testbed/servicetest"
	"membersync/crmapi/crmapitest"
	"membersync/dlq/kafkatest"
)

// promised are the metrics that dashboards and alerts may use, with their labels.
func promised() map[string]string {
	all := promisedOfUI()
	maps.Copy(all, map[string]string{
		"events_total": "outcome,path", "dead_letters_total": "reason", "crm_calls_total": "class,code",
		"crm_call_duration_seconds": "", "crm_call_events": "", "crm_calls_in_flight": "", "crm_throttled_seconds_total": "",
		"calls_saved_total": "", "rate_limit_used_ratio": "", "lag_records": "partition,topic", "lag_seconds": "partition,topic",
		"retention_headroom_seconds": "partition,topic", "oldest_in_flight_seconds": "", "lanes_retrying": "", "events_held": "",
		"breaker_state": "state", "paused": "cause", "event_latency_seconds": "path", "commits_total": "result",
		"rebalances_total": "", "gap_records_total": "", "late_calls_total": "", "reused_event_ids_total": "", "state_lost": "",
		"redis_duration_seconds": "op", "last_success_timestamp_seconds": "",
	})
	return all
}

// promisedOfUI are those of membersync ui.
func promisedOfUI() map[string]string {
	return map[string]string{
		"dead_letters_open": "reason", "dead_letters_oldest_seconds": "reason", "build_info": "goversion,revision,version",
	}
}

// ofOthers are the metrics that Prometheus' client library and Prometheus itself provide.
func ofOthers() []string {
	return []string{"ALERTS", "go_goroutines", "process_cpu_seconds_total", "process_resident_memory_bytes", "process_start_time_seconds"}
}

func TestScrapeHasEveryMetric(t *testing.T) {
	t.Parallel()
	r := servicetest.New(t, kafkatest.StartFake(t), servicetest.Options{Partitions: 1, CRM: crmapitest.Options{AutoCreate: true}})
	service := r.Start(nil, "ADMIN_ADDR", "127.0.0.1:0", "REDIS_PREFIX", "names")
	admin := testbed.Admin(service.Logs.Await(t, `"addr":"([^"]*)"`, service.Done)[1])
	r.Broker.Produce(t, r.Topic, kafka.Message{Value: event(1, `{"position":"Lead"}`)})
	var run string
	servicetest.Eventually(t, "a partition to be measured", func() bool {
		_, body, err := admin.Get(t.Context(), "/metrics")
		run = body
		return err == nil && strings.Contains(body, "membersync_retention_headroom_seconds{")
	})
	_, url := r.StartUI()
	ui := scrape(t, url+"/metrics")
	if d := cmp.Diff(promisedOfUI(), served(ui)); d != "" {
		t.Errorf("metrics of ui (-promised +served): %s", d)
	}
	if d := cmp.Diff(promised(), served(run+ui)); d != "" {
		t.Errorf("metrics of run and ui (-promised +served): %s", d)
	}
	for _, name := range ofOthers()[1:] {
		if !strings.Contains(run, "\n"+name+" ") {
			t.Errorf("run does not serve %s", name)
		}
	}
}

func scrape(t *testing.T, url string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	response, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// served reads the labels of each of our metrics from a scrape.
func served(text string) map[string]string {
	all := map[string]string{}
	for _, found := range regexp.MustCompile(`(?m)^membersync_(\w+?)(?:_count|_sum|_bucket)?(?:\{(.*)\})? `).FindAllStringSubmatch(text, -1) {
		var labels []string
		for _, label := range regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(found[2], -1) {
			if label[1] != "le" {
				labels = append(labels, label[1])
			}
		}
		slices.Sort(labels)
		all[found[1]] = strings.Join(labels, ",")
	}
	return all
}

// metricsIn are the metrics that a query names, without what histograms add.
func metricsIn(query string) []string {
	query = regexp.MustCompile(`"[^"]*"|\{[^}]*\}`).ReplaceAllString(query, "")
	var names []string
	for _, name := range regexp.MustCompile(`\b(?:membersync|process|go)_\w+|\bALERTS\b`).FindAllString(query, -1) {
		for _, suffix := range []string{"_bucket", "_count", "_sum"} {
			name = strings.TrimSuffix(name, suffix)
		}
		names = append(names, name)
	}
	return names
}

// checkMetrics fails for a query that names no metric, or one that does not exist.
func checkMetrics(t *testing.T, query string) {
	t.Helper()
	names := metricsIn(query)
	if len(names) == 0 {
		t.Errorf("no metric: %s", query)
	}
	for _, name := range names {
		ours, isOurs := strings.CutPrefix(name, "membersync_")
		if _, isPromised := promised()[ours]; !isOurs && !slices.Contains(ofOthers(), name) || isOurs && !isPromised {
			t.Errorf("unknown metric %s: %s", name, query)
		}
	}
}
