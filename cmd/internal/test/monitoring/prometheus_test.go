package monitoring

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"membersync/cmd/internal/test/testbed"
	"membersync/cmd/internal/test/testbed/servicetest"
)

// A prometheus is a running one.
type prometheus struct {
	dir   string // of the configuration and the targets
	admin testbed.Admin
}

// startPrometheus starts it with the project's alerts. They fire at once, since no state lasts as
// long as they wait.
func startPrometheus(t *testing.T, binary string) *prometheus {
	t.Helper()
	p := &prometheus{dir: t.TempDir()}
	p.write(t, "prometheus.yml", fmt.Sprintf(`
global: {scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}
rule_files: [alerts.yml]
scrape_configs:
  - job_name: states
    file_sd_configs: [{files: [%q]}]
`, filepath.Join(p.dir, "targets-*.json")))
	p.write(t, "alerts.yml", regexp.MustCompile(`(?m)^ +for: .*\n`).ReplaceAllString(string(readFile(t, alertsFile)), ""))
	cmd := exec.Command(binary, "--config.file="+filepath.Join(p.dir, "prometheus.yml"), //nolint:gosec,noctx // given by the caller; Kill ends it
		"--storage.tsdb.path="+filepath.Join(p.dir, "data"), "--web.listen-address=127.0.0.1:0")
	var log servicetest.Output
	cmd.Stdout, cmd.Stderr = &log, &log
	process, err := testbed.StartProcess(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := process.Kill(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			all := log.String()
			t.Logf("the end of Prometheus' log:\n%s", all[max(0, len(all)-2000):])
		}
	})
	p.admin = testbed.Admin(log.Await(t, `msg="Listening on" address=(\S+)`, process.Done())[1])
	log.Await(t, `Server is ready`, process.Done())
	return p
}

func (p *prometheus) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o600); err != nil { //nolint:gosec // a folder of the test
		t.Fatal(err)
	}
}

// scrapes adds a target, and waits until it has been scraped.
func (p *prometheus) scrapes(t *testing.T, job, address string) {
	t.Helper()
	text := fmt.Sprintf(`[{"targets":[%q],"labels":{"job":%q}}]`, address, job)
	p.write(t, job+".tmp", text)
	// Renamed, so that no half of it is read.
	if err := os.Rename(filepath.Join(p.dir, job+".tmp"), filepath.Join(p.dir, "targets-"+job+".json")); err != nil { //nolint:gosec // a folder of the test
		t.Fatal(err)
	}
	servicetest.Eventually(t, "a scrape of "+job, func() bool {
		samples := p.query(t, fmt.Sprintf(`up{job=%q} == 1`, job))
		return len(samples) == 1
	})
}

// A sample is one series of a result.
type sample struct {
	Labels map[string]string
	Value  float64
}

// query asks for the present value of an expression.
func (p *prometheus) query(t *testing.T, expression string) []sample {
	t.Helper()
	status, body, err := p.admin.Get(t.Context(), "/api/v1/query?query="+url.QueryEscape(expression))
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Error string `json:"error"`
		Data  struct {
			Result []struct {
				Metric map[string]string `json:"metric"`
				Value  [2]any            `json:"value"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := json.NewDecoder(strings.NewReader(body)).Decode(&answer); err != nil || status != 200 || answer.Error != "" {
		t.Fatalf("%s: status %d: %v %s", expression, status, err, body)
	}
	var samples []sample
	for _, r := range answer.Data.Result {
		text, _ := r.Value[1].(string)
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatalf("%s: value %q", expression, text)
		}
		samples = append(samples, sample{r.Metric, value})
	}
	return samples
}
