package monitoring

import (
	"cmp"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"membersync/dlq"
)

const (
	root       = "../../../.."
	alertsFile = "deploy/helm/membersync/files/alerts.yml"
	testsFile  = "deploy/prometheus/alerts_test.yml"
)

// An alert is a rule of the alerts' file.
type alert struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func readAlerts(t *testing.T) []alert {
	t.Helper()
	var file struct {
		Groups []struct {
			Name  string  `yaml:"name"`
			Rules []alert `yaml:"rules"`
		} `yaml:"groups"`
	}
	readYAML(t, alertsFile, &file)
	var all []alert
	for _, group := range file.Groups {
		all = append(all, group.Rules...)
	}
	if len(all) < 20 {
		t.Fatalf("%d alerts", len(all))
	}
	return all
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name)) //nolint:gosec // a fixed name
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func readYAML(t *testing.T, name string, to any) {
	t.Helper()
	if err := yaml.Unmarshal(readFile(t, name), to); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func TestAlertsNameWhatExists(t *testing.T) {
	t.Parallel()
	sections := sectionsOf(string(readFile(t, "dlq/RUNBOOK.md")))
	for _, a := range readAlerts(t) {
		checkMetrics(t, a.Expr)
		if !slices.Contains([]string{"critical", "warning", "info"}, a.Labels["severity"]) || len(a.Labels) != 1 {
			t.Errorf("%s: labels %v", a.Alert, a.Labels)
		}
		for _, name := range []string{"summary", "description", "runbook_url"} {
			if a.Annotations[name] == "" {
				t.Errorf("%s: no %s", a.Alert, name)
			}
		}
		for _, name := range labelsIn(a.Annotations) {
			if !slices.Contains([]string{"instance", "topic", "partition", "cause", "reason"}, name) {
				t.Errorf("%s: an annotation shows the label %s", a.Alert, name)
			}
		}
		for _, url := range urlsOf(a) {
			page, section, _ := strings.Cut(url, "#")
			if page != "dlq/RUNBOOK.md" || !slices.Contains(sections, section) {
				t.Errorf("%s: unknown section %s", a.Alert, url)
			}
		}
	}
}

// urlsOf are the links of an alert, one for each reason if it depends on that.
func urlsOf(a alert) []string {
	const reason = "{{ $labels.reason }}"
	url := a.Annotations["runbook_url"]
	if !strings.Contains(url, reason) {
		return []string{url}
	}
	var urls []string
	for _, r := range dlq.Reasons() {
		urls = append(urls, strings.Replace(url, reason, string(r), 1))
	}
	return urls
}

func labelsIn(annotations map[string]string) []string {
	var names []string
	for _, text := range annotations {
		for _, found := range regexp.MustCompile(`\$labels\.(\w+)`).FindAllStringSubmatch(text, -1) {
			names = append(names, found[1])
		}
	}
	return names
}

// sectionsOf are the anchors that a page of Markdown has on the web.
func sectionsOf(page string) []string {
	var anchors []string
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(page, -1) {
		text := regexp.MustCompile(`[^a-z0-9_ -]`).ReplaceAllString(strings.ToLower(heading[1]), "")
		anchors = append(anchors, strings.ReplaceAll(text, " ", "-"))
	}
	return anchors
}

// promtool runs the tests. This test checks that they have each alert, firing and not firing.
func TestEachAlertIsTested(t *testing.T) {
	t.Parallel()
	var file struct {
		Tests []struct {
			Name  string `yaml:"name"`
			Evals []struct {
				Expr    string `yaml:"expr"`
				Samples []struct {
					Labels string `yaml:"labels"`
				} `yaml:"exp_samples"`
			} `yaml:"promql_expr_test"`
		} `yaml:"tests"`
	}
	readYAML(t, testsFile, &file)
	tested := map[string]bool{}
	for _, test := range file.Tests {
		firing := map[string]int{}
		for _, eval := range test.Evals {
			if eval.Expr != `count by (alertname) (ALERTS{alertstate="firing"})` {
				t.Errorf("%s: does not ask for all alerts: %s", test.Name, eval.Expr)
			}
			for _, sample := range eval.Samples {
				firing[regexp.MustCompile(`alertname="(\w+)"`).FindStringSubmatch(sample.Labels)[1]]++
			}
		}
		for name, times := range firing {
			tested[name] = tested[name] || times < len(test.Evals)
		}
	}
	for _, a := range readAlerts(t) {
		if !tested[a.Alert] {
			t.Errorf("%s: no test in which it first does not fire and then does", a.Alert)
		}
		delete(tested, a.Alert)
	}
	for name := range tested {
		t.Errorf("%s is tested and does not exist", name)
	}
}

// The page of the alerts has a row for each, with its time and its severity.
func TestPageNamesEachAlert(t *testing.T) {
	t.Parallel()
	page := string(readFile(t, "deploy/README.md"))
	for _, a := range readAlerts(t) {
		row := regexp.MustCompile("(?m)^\\| `" + a.Alert + "` \\| .* \\| (.*) \\| (.*) \\|$").FindStringSubmatch(page)
		if row == nil || row[1] != cmp.Or(a.For, "at once") || row[2] != a.Labels["severity"] {
			t.Errorf("%s: row %q", a.Alert, row)
		}
	}
	if rows := strings.Count(page, "\n| `Membersync"); rows != len(readAlerts(t)) {
		t.Errorf("%d rows, %d alerts", rows, len(readAlerts(t)))
	}
}

// Each pause of the service has an alert of its own.
func TestEachPauseHasAnAlert(t *testing.T) {
	t.Parallel()
	var causes []string
	for _, a := range readAlerts(t) {
		if found := regexp.MustCompile(`membersync_paused\{cause="(\w+)"\}`).FindStringSubmatch(a.Expr); found != nil {
			causes = append(causes, found[1])
		}
	}
	slices.Sort(causes)
	want := []string{
		"control", "crm_outage", "crm_quota", "crm_refused", "crm_throttled", "dlq", "kafka", "operator", "redis", "state_key", "storm",
	}
	if !slices.Equal(causes, want) {
		t.Errorf("alerts for the causes %q", causes)
	}
}
