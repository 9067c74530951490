package deploytest

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/strvals"
	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"
)

// An object is one of a rendered chart.
type object struct {
	kind, name string
	labels     map[string]string
	value      any // a pointer to the type of the kind
}

// objects are all of a rendered chart.
type objects []object

// newObject returns a pointer to the type of a kind.
func newObject(apiVersion, kind string) any {
	all := map[string]any{
		"apps/v1 Deployment": &apps.Deployment{}, "batch/v1 CronJob": &batch.CronJob{}, "v1 ConfigMap": &core.ConfigMap{},
		"v1 Service": &core.Service{}, "v1 ServiceAccount": &core.ServiceAccount{},
		"policy/v1 PodDisruptionBudget": &policy.PodDisruptionBudget{}, "networking.k8s.io/v1 NetworkPolicy": &networking.NetworkPolicy{},
		"monitoring.coreos.com/v1 ServiceMonitor": &monitoring.ServiceMonitor{},
		"monitoring.coreos.com/v1 PrometheusRule": &monitoring.PrometheusRule{},
	}
	return all[apiVersion+" "+kind]
}

const (
	namespace   = "sample"
	kubeVersion = "v1.31.0"
)

// merge reads a file of values and sets others over them, as the flags --values and --set do.
func merge(file string, sets ...string) (chartutil.Values, error) {
	merged, err := chartutil.ReadValuesFile(file)
	if err != nil {
		return nil, err
	}
	for _, set := range sets {
		if err := strvals.ParseInto(set, merged); err != nil {
			return nil, err
		}
	}
	return merged, nil
}

// manifests are the files that the chart makes of values, by name, for a first installation.
func manifests(file string, sets ...string) (map[string]string, error) {
	merged, err := merge(file, sets...)
	if err != nil {
		return nil, err
	}
	loaded, err := loader.Load(chart)
	if err != nil {
		return nil, err
	}
	cluster := chartutil.DefaultCapabilities.Copy()
	version, err := chartutil.ParseKubeVersion(kubeVersion)
	if err != nil {
		return nil, err
	}
	cluster.KubeVersion = *version
	release := chartutil.ReleaseOptions{Name: "membersync", Namespace: namespace, Revision: 1, IsInstall: true}
	input, err := chartutil.ToRenderValues(loaded, merged, release, cluster)
	if err != nil {
		return nil, err
	}
	return engine.Render(loaded, input)
}

// render renders the chart, and decodes each object strictly: an unknown or repeated field is an
// error.
func render(t *testing.T, file string, sets ...string) objects {
	t.Helper()
	made, err := manifests(file, sets...)
	if err != nil {
		t.Fatalf("%s %q: %v", file, sets, err)
	}
	var all objects
	for name, content := range made {
		if !strings.HasSuffix(name, ".yaml") {
			continue
		}
		for text := range strings.SplitSeq(content, "\n---\n") {
			if strings.TrimSpace(regexp.MustCompile(`(?m)^(#.*|---)$`).ReplaceAllString(text, "")) != "" {
				all = append(all, decode(t, text))
			}
		}
	}
	return all
}

func decode(t *testing.T, text string) object {
	t.Helper()
	var head struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Metadata   struct {
			Name   string            `json:"name"`
			Labels map[string]string `json:"labels"`
		} `json:"metadata"`
	}
	if err := yaml.Unmarshal([]byte(text), &head); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	value := newObject(head.APIVersion, head.Kind)
	if value == nil {
		t.Fatalf("a kind that the chart should not have: %s %s", head.APIVersion, head.Kind)
	}
	if err := yaml.UnmarshalStrict([]byte(text), value); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return object{kind: head.Kind, name: head.Metadata.Name, labels: head.Metadata.Labels, value: value}
}

// find returns the only object of a type, or the one with the name.
func find[T any](t *testing.T, all objects, name string) T {
	t.Helper()
	for _, o := range all {
		if value, ok := o.value.(T); ok && (name == "" || name == o.name) {
			return value
		}
	}
	t.Fatalf("no %s %s", reflect.TypeFor[T](), name)
	panic("not reached")
}

// pods are the templates of all pods, by kind/name.
func (all objects) pods() map[string]core.PodTemplateSpec {
	pods := map[string]core.PodTemplateSpec{}
	for _, o := range all {
		switch value := o.value.(type) {
		case *apps.Deployment:
			pods["Deployment/"+o.name] = value.Spec.Template
		case *batch.CronJob:
			pods["CronJob/"+o.name] = value.Spec.JobTemplate.Spec.Template
		}
	}
	return pods
}

// faults lists what breaks this project's rules.
func (all objects) faults() []string {
	var faults []string
	add := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	for _, o := range all {
		if o.name == "" || len(validation.IsDNS1123Label(o.name)) > 0 {
			add("%s: invalid name %q", o.kind, o.name)
		}
		for name, value := range o.labels {
			if len(validation.IsQualifiedName(name)) > 0 || len(validation.IsValidLabelValue(value)) > 0 {
				add("%s/%s: invalid label %s=%s", o.kind, o.name, name, value)
			}
		}
		for _, fault := range all.selectorFaults(o) {
			add("%s/%s: %s", o.kind, o.name, fault)
		}
	}
	for name, pod := range all.pods() {
		for _, fault := range podFaults(pod.Spec, strings.HasPrefix(name, "Deployment/")) {
			add("%s: %s", name, fault)
		}
	}
	return faults
}

// selectorFaults finds selectors that select nothing, and ports that do not exist.
func (all objects) selectorFaults(o object) []string {
	switch value := o.value.(type) {
	case *apps.Deployment:
		return missing(value.Spec.Selector.MatchLabels, value.Spec.Template.Labels)
	case *policy.PodDisruptionBudget:
		return all.selects(value.Spec.Selector.MatchLabels, nil)
	case *networking.NetworkPolicy:
		var ports []string
		for _, rule := range value.Spec.Ingress {
			for _, port := range rule.Ports {
				ports = append(ports, port.Port.String())
			}
		}
		return all.selects(value.Spec.PodSelector.MatchLabels, ports)
	case *core.Service:
		var ports []string
		for _, port := range value.Spec.Ports {
			ports = append(ports, port.TargetPort.String())
		}
		return all.selects(value.Spec.Selector, ports)
	case *monitoring.ServiceMonitor:
		return all.monitors(value)
	}
	return nil
}

// selects checks that pods have the labels, and that the first of them has the ports.
func (all objects) selects(labels map[string]string, ports []string) []string {
	for _, pod := range all.pods() {
		if len(missing(labels, pod.Labels)) > 0 {
			continue
		}
		var faults []string
		for _, port := range ports {
			if !slices.ContainsFunc(pod.Spec.Containers[0].Ports, func(p core.ContainerPort) bool { return p.Name == port }) {
				faults = append(faults, "no port "+port)
			}
		}
		return faults
	}
	return []string{fmt.Sprintf("selects no pod: %v", labels)}
}

func (all objects) monitors(m *monitoring.ServiceMonitor) []string {
	for _, o := range all {
		service, ok := o.value.(*core.Service)
		if !ok || len(missing(m.Spec.Selector.MatchLabels, service.Labels)) > 0 {
			continue
		}
		var faults []string
		for _, endpoint := range m.Spec.Endpoints {
			if !slices.ContainsFunc(service.Spec.Ports, func(p core.ServicePort) bool { return p.Name == endpoint.Port }) {
				faults = append(faults, "no port "+endpoint.Port)
			}
		}
		return faults
	}
	return []string{"selects no service"}
}

func missing(labels, of map[string]string) []string {
	var faults []string
	for name, value := range labels {
		if of[name] != value {
			faults = append(faults, fmt.Sprintf("no label %s=%s", name, value))
		}
	}
	return faults
}

// podFaults lists what is wrong with a pod.
func podFaults(pod core.PodSpec, isService bool) []string {
	var faults []string
	check := func(ok bool, fault string) {
		if !ok {
			faults = append(faults, fault)
		}
	}
	c := pod.Containers[0]
	secured, own := pod.SecurityContext, c.SecurityContext
	check(len(pod.Containers) == 1 && len(pod.InitContainers) == 0, "not one container")
	check(isTrue(secured.RunAsNonRoot) && *secured.RunAsUser == 65532, "may run as root")
	check(secured.SeccompProfile.Type == core.SeccompProfileTypeRuntimeDefault, "no seccomp profile")
	check(isTrue(own.ReadOnlyRootFilesystem), "root can be written")
	check(own.AllowPrivilegeEscalation != nil && !*own.AllowPrivilegeEscalation, "may gain privileges")
	check(own.Privileged == nil && len(own.Capabilities.Add) == 0 && slices.Equal(own.Capabilities.Drop, []core.Capability{"ALL"}), "has capabilities")
	check(!pod.HostNetwork && !pod.HostPID && !pod.HostIPC, "uses the host's namespaces")
	check(pod.AutomountServiceAccountToken != nil && !*pod.AutomountServiceAccountToken, "has a token of the cluster")
	check(pod.EnableServiceLinks != nil && !*pod.EnableServiceLinks, "gets variables of other services")
	check(regexp.MustCompile(`^[^:@]+(:[0-9][\w.-]*|@sha256:[0-9a-f]{64})$`).MatchString(c.Image), "image without a version: "+c.Image)
	check(!c.Resources.Limits.Memory().IsZero() && !c.Resources.Requests.Cpu().IsZero() && !c.Resources.Requests.Memory().IsZero(), "no resources")
	if isService {
		check(c.LivenessProbe != nil && c.LivenessProbe.HTTPGet.Path == "/livez", "no liveness probe")
		check(c.ReadinessProbe != nil && len(c.Ports) == 1 && c.ReadinessProbe.HTTPGet.Port.String() == c.Ports[0].Name, "no readiness probe")
	}
	return append(faults, environmentFaults(pod)...)
}

func isTrue(b *bool) bool { return b != nil && *b }

// environmentFaults checks the variables: none twice, no secret, files only where one is mounted,
// and a drain limit that ends before the pod is killed.
func environmentFaults(pod core.PodSpec) []string {
	var faults []string
	values := map[string]string{}
	mounted := mountedFiles(pod)
	for _, v := range pod.Containers[0].Env {
		if _, twice := values[v.Name]; twice {
			faults = append(faults, v.Name+" twice")
		}
		values[v.Name] = v.Value
		if regexp.MustCompile(`(PASSWORD|TOKEN|SECRET|KEY|CODE)$`).MatchString(v.Name) || v.ValueFrom != nil {
			faults = append(faults, v.Name+" is a secret in a variable")
		}
		if strings.HasPrefix(v.Value, "/etc/membersync/") && !slices.Contains(mounted, v.Value) &&
			!slices.ContainsFunc(mounted, func(dir string) bool {
				return strings.HasSuffix(dir, "/*") && strings.HasPrefix(v.Value, dir[:len(dir)-1])
			}) {
			faults = append(faults, v.Name+" names no mounted file: "+v.Value)
		}
	}
	limit, err := time.ParseDuration(values["MEMBERSYNC_SHUTDOWN_TIMEOUT"])
	if grace := time.Duration(*pod.TerminationGracePeriodSeconds) * time.Second; err != nil || grace < limit+10*time.Second {
		faults = append(faults, fmt.Sprintf("killed after %v, with a drain limit of %v", grace, limit))
	}
	return faults
}

// mountedFiles are the files of projected volumes, and dir/* for those of a whole ConfigMap.
func mountedFiles(pod core.PodSpec) []string {
	var files []string
	for _, mount := range pod.Containers[0].VolumeMounts {
		for _, volume := range pod.Volumes {
			if volume.Name != mount.Name {
				continue
			}
			if volume.ConfigMap != nil {
				files = append(files, mount.MountPath+"/*")
				continue
			}
			for _, source := range volume.Projected.Sources {
				var items []core.KeyToPath
				if source.Secret != nil {
					items = source.Secret.Items
				} else {
					items = source.ConfigMap.Items
				}
				for _, item := range items {
					files = append(files, mount.MountPath+"/"+item.Path)
				}
			}
		}
	}
	return files
}
