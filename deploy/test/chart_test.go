package deploytest

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

const (
	root   = "../.."
	chart  = root + "/deploy/helm/membersync"
	alerts = chart + "/files/alerts.yml"
)

// values are the files of the matrix, by name.
func values(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("testdata/values/*.yaml")
	if err != nil || len(files) < 4 {
		t.Fatalf("files %q: %v", files, err)
	}
	all := map[string]string{}
	for _, file := range files {
		all[strings.TrimSuffix(filepath.Base(file), ".yaml")] = file
	}
	return all
}

func TestChartPassesLint(t *testing.T) {
	t.Parallel()
	for name, file := range values(t) {
		merged, err := merge(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range lint.All(chart, merged, namespace, true).Messages {
			if m.Severity >= support.WarningSev {
				t.Errorf("%s: %v", name, m)
			}
		}
	}
}

// TestChartIsRight renders the chart with each file of values, decodes each object strictly, and
// applies this project's rules.
func TestChartIsRight(t *testing.T) {
	t.Parallel()
	for name, file := range values(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			objects := render(t, file)
			for _, fault := range objects.faults() {
				t.Error(fault)
			}
		})
	}
}

// Each kind of object appears where it should.
func TestChartHasWhatIsAskedFor(t *testing.T) {
	t.Parallel()
	files := values(t)
	for name, want := range map[string]string{
		"minimal": "Deployment/membersync Deployment/membersync-ui NetworkPolicy/membersync NetworkPolicy/membersync-ui " +
			"PodDisruptionBudget/membersync Service/membersync Service/membersync-ui ServiceAccount/membersync",
		"service-only": "Deployment/membersync PrometheusRule/membersync Service/membersync ServiceMonitor/membersync",
		"everything": "ConfigMap/member-sync-dashboard ConfigMap/member-sync-mapping CronJob/member-sync-redrives Deployment/member-sync " +
			"Deployment/member-sync-ui NetworkPolicy/member-sync NetworkPolicy/member-sync-egress NetworkPolicy/member-sync-ui " +
			"PodDisruptionBudget/member-sync PrometheusRule/member-sync Service/member-sync Service/member-sync-ui " +
			"ServiceAccount/member-sync ServiceMonitor/member-sync ServiceMonitor/member-sync-ui",
	} {
		var names []string
		for _, o := range render(t, files[name]) {
			names = append(names, o.kind+"/"+o.name)
		}
		slices.Sort(names)
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s: %s\nwant %s", name, got, want)
		}
	}
}

// The rules in the chart are those that promtool has tested, with the address of the runbook.
func TestPrometheusRuleIsTheAlertsFile(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(alerts)
	if err != nil {
		t.Fatal(err)
	}
	for name, prefix := range map[string]string{"service-only": "", "everything": "https://git.example.com/membersync/blob/main/"} {
		var want monitoring.PrometheusRuleSpec
		if err := yaml.UnmarshalStrict(text, &want); err != nil {
			t.Fatal(err)
		}
		for _, group := range want.Groups {
			for _, rule := range group.Rules {
				rule.Annotations["runbook_url"] = prefix + rule.Annotations["runbook_url"]
			}
		}
		rule := find[*monitoring.PrometheusRule](t, render(t, values(t)[name]), "")
		if len(rule.Spec.Groups) == 0 || !reflect.DeepEqual(rule.Spec, want) {
			t.Errorf("%s: the rule differs from %s", name, alerts)
		}
	}
}

func TestValuesAreRefused(t *testing.T) {
	t.Parallel()
	minimal := values(t)["minimal"]
	for _, c := range []struct{ set, want string }{
		{"settings.CRM_TOKEN=sample", "CRM_TOKEN"},
		{"settings.STATE_KEY=sample", "STATE_KEY"},
		{"settings.STATE_KEY_FILE=/sample", "STATE_KEY_FILE"},
		{"settings.SHUTDOWN_TIMEOUT=5m", "SHUTDOWN_TIMEOUT"},
		{"settings.MEMBERSYNC_TIMEZONE=UTC", "MEMBERSYNC_TIMEZONE"},
		{"settings.REDIS_URL=redis://user:sample@redis:6379/0", "REDIS_URL"},
		{"settings.KAFKA_BROKERS=null", "KAFKA_BROKERS"},
		{"secrets.UNKNOWN.name=sample", "UNKNOWN"},
		{"secrets.REDIS_PASSWORD.name=sample", "key"},
		{"secrets.REDIS_PASSWORD=sample", "REDIS_PASSWORD"},
		{"ui.secrets.UI_TOKEN=null", "ui"},
		{"image.tag=latest", "tag"},
		{"run.replica=3", "replica"},
		{"unknown=1", "unknown"},
		{"redrives.reasons={sample}", "reasons"},
		{"redrives.olderThan=soon", "olderThan"},
		{"mapping.main=a.yaml,mapping.files.b\\.yaml=version: 1", "a.yaml is not among"},
		{"mapping.configMap=sample", "name the mapping"},
		{"files.KAFKA_TLS_CA_FILE.key=a", "KAFKA_TLS_CA_FILE"},
		{"prometheusRule.runbookURL=sample", "runbookURL"},
	} {
		if _, err := manifests(minimal, c.set); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", c.set, err, c.want)
		}
	}
}

// A changed mapping starts new pods.
func TestChangedMappingRestartsThePods(t *testing.T) {
	t.Parallel()
	file := values(t)["everything"]
	of := func(sets ...string) string {
		pods := render(t, file, sets...).pods()
		return pods["Deployment/member-sync"].Annotations["checksum/mapping"]
	}
	if before, after := of(), of("mapping.files.hr\\.yaml=version: 2"); before == "" || before == after {
		t.Errorf("checksum %q, then %q", before, after)
	}
}

// The binary accepts the settings and the arguments of each pod.
func TestBinaryAcceptsWhatThePodsHave(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "membersync")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./cmd/membersync") //nolint:gosec // fixed words
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, file := range values(t) {
		for pod, template := range render(t, file).pods() {
			container := template.Spec.Containers[0]
			dir := t.TempDir()
			env := inFolder(t, container.Env, dir)
			show := exec.CommandContext(t.Context(), binary, "config") //nolint:gosec // built here
			show.Env = env
			var stderr bytes.Buffer
			show.Stderr = &stderr
			if err := show.Run(); err != nil || stderr.Len() > 0 {
				t.Errorf("%s: %s: membersync config: %v\n%s", name, pod, err, stderr.String())
			}
			if !strings.HasPrefix(pod, "CronJob/") {
				continue
			}
			// Bad usage has status 2; a Kafka that is away has status 1.
			job := exec.CommandContext(t.Context(), binary, append(slices.Clone(container.Args), "--kafka-brokers=127.0.0.1:1")...) //nolint:gosec // built here
			job.Env = env
			if out, err := job.CombinedOutput(); job.ProcessState.ExitCode() != 1 {
				t.Errorf("%s: %q: %v\n%s", name, container.Args, err, out)
			}
		}
	}
}

// inFolder creates the files that the variables name in a folder, and returns the variables.
func inFolder(t *testing.T, variables []core.EnvVar, dir string) []string {
	t.Helper()
	var env []string
	for _, v := range variables {
		value := v.Value
		if strings.HasPrefix(value, "/etc/membersync/") {
			value = filepath.Join(dir, value)
			if err := os.MkdirAll(filepath.Dir(value), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(value, []byte("sample of a secret, 32 bytes or more"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if strings.HasSuffix(v.Name, "_TLS_CA_FILE") || v.Name == "MEMBERSYNC_MAPPING" {
			continue // a certificate and a mapping are read, and these are none
		}
		env = append(env, v.Name+"="+value)
	}
	return env
}

// The job goes under a principal of its own, where there is one.
func TestRedrivesHaveTheirOwnPrincipal(t *testing.T) {
	t.Parallel()
	job := find[*batch.CronJob](t, render(t, values(t)["everything"]), "")
	spec := job.Spec.JobTemplate.Spec.Template.Spec
	user := map[string]string{}
	for _, v := range spec.Containers[0].Env {
		user[v.Name] = v.Value
	}
	var secrets []string
	for _, source := range spec.Volumes[0].Projected.Sources {
		secrets = append(secrets, source.Secret.Name)
	}
	if user["MEMBERSYNC_KAFKA_SASL_USERNAME"] != "oncall" || !slices.Contains(secrets, "kafka-oncall") || slices.Contains(secrets, "kafka") {
		t.Errorf("user %q, secrets %q", user["MEMBERSYNC_KAFKA_SASL_USERNAME"], secrets)
	}
	if job.Spec.ConcurrencyPolicy != batch.ForbidConcurrent || spec.RestartPolicy != core.RestartPolicyNever {
		t.Errorf("%s, %s", job.Spec.ConcurrencyPolicy, spec.RestartPolicy)
	}
	if names := slices.Sorted(maps.Keys(user)); len(names) != len(spec.Containers[0].Env) {
		t.Errorf("a variable twice: %q", names)
	}
}
