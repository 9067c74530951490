package deploycheck

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
)

// TestStackRunsWithoutContainers starts every service of docker-compose.yml as a process of this
// machine, in the file's own order, with its own commands, variables and health checks. Only the
// addresses and folders differ.
func TestStackRunsWithoutContainers(t *testing.T) {
	t.Parallel()
	st := newStack(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()

	help, err := exec.CommandContext(ctx, st.images["membersync"].Files["/membersync"], "run", "--help").CombinedOutput()
	if err != nil {
		t.Fatalf("membersync run --help: %v\n%s", err, help)
	}
	if unknown := UnknownVariables(st.project, string(help)); len(unknown) > 0 {
		t.Errorf("variables that membersync does not know: %q", unknown)
	}

	for _, name := range startOrder(st.project) {
		st.start(ctx, name)
	}
	st.waitFor(ctx, "the CRM holds members", func() bool { return members(ctx, st.address("fakecrm", "8090")) > 0 })
	st.waitFor(ctx, "membersync is ready", func() bool { return get(ctx, "http://"+st.address("membersync", "8080")+"/readyz") != nil })
	st.waitFor(ctx, "Redis holds done marks", func() bool { return st.holdsKeys(ctx, "ms:{*}:d") })

	st.waitFor(ctx, "Prometheus has scraped both", func() bool { return st.samples(ctx, `count(up{job=~"membersync(-ui)?"} == 1) == 2`) == 1 })
	st.waitFor(ctx, "Prometheus has the alerts and knows the Alertmanager", func() bool {
		api := "http://" + st.address("prometheus", "9090") + "/api/v1/"
		rules, alertmanagers := string(get(ctx, api+"rules")), string(get(ctx, api+"alertmanagers"))
		return strings.Contains(rules, `"name":"MembersyncLag"`) && !strings.Contains(rules, `"health":"err"`) &&
			strings.Contains(alertmanagers, `"activeAlertmanagers":[{`)
	})

	_ = st.stop("hr") // it may run until it is stopped
	if err := st.stop("membersync"); err != nil {
		t.Errorf("membersync run did not end with 0 on SIGTERM: %v\n%s", err, st.log("membersync"))
	}
	log := st.log("membersync")
	for _, warning := range []string{"no such setting", "unknown setting"} { // the old and the new words
		if strings.Contains(log, warning) {
			t.Errorf("membersync warns about a variable:\n%s", log)
		}
	}
}

func TestStartOrder(t *testing.T) {
	t.Parallel()
	p, err := LoadCompose(t.Context(), writeCompose(t, rightCompose))
	if err != nil {
		t.Fatal(err)
	}
	if order := startOrder(p); !slices.Equal(order, []string{"store", "init", "app"}) {
		t.Errorf("order %q", order)
	}
}

// startOrder names each service after all that it waits for.
func startOrder(p *types.Project) []string {
	names := p.ServiceNames()
	slices.SortStableFunc(names, func(a, b string) int { return len(waitedFor(p, a)) - len(waitedFor(p, b)) })
	return names
}

func members(ctx context.Context, address string) int {
	var all map[string]any
	_ = json.Unmarshal(get(ctx, "http://"+address+"/_fake/members"), &all)
	return len(all)
}

// samples counts what a query returns.
func (st *stack) samples(ctx context.Context, query string) int {
	var answer struct {
		Data struct {
			Result []any `json:"result"`
		} `json:"data"`
	}
	_ = json.Unmarshal(get(ctx, "http://"+st.address("prometheus", "9090")+"/api/v1/query?query="+url.QueryEscape(query)), &answer)
	return len(answer.Data.Result)
}

// get returns the body of a 200, and nil of anything else: what waits for one tries again.
func get(ctx context.Context, url string) []byte {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil
	}
	client := &http.Client{Timeout: 5 * time.Second}
	response, err := client.Do(request)
	if err != nil {
		return nil
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		return nil
	}
	return body // not nil, even if empty
}

func (st *stack) holdsKeys(ctx context.Context, pattern string) bool {
	_, port, _ := strings.Cut(st.address("redis", "6379"), ":")
	keys, err := exec.CommandContext(ctx, "redis-cli", "-p", port, "--scan", "--pattern", pattern).Output()
	return err == nil && len(keys) > 0
}

func ci(name string) string { return filepath.Join(root, ".ci", name) }
