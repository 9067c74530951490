package deploytest

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	core "k8s.io/api/core/v1"
)

const dashboardFile = chart + "/files/dashboard.json"

// Grafana's own types take the dashboard, strictly: no unknown field, and each value valid.
func TestDashboardHasGrafanasSchema(t *testing.T) {
	t.Parallel()
	plugins.RegisterDefaultPlugins()
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard.Dashboard //nolint:staticcheck // what files hold, and Grafana's sidecar loads
	// A list of no errors is an error too.
	if err := d.UnmarshalJSONStrict(text); err != nil && err.Error() != "" {
		t.Error(err)
	}
	if err := d.Validate(); err != nil {
		t.Error(err)
	}
	place := map[uint32]bool{}
	for _, p := range d.Panels {
		panel := p.Panel
		if panel == nil {
			continue
		}
		if panel.Id == nil || place[*panel.Id] || panel.GridPos.X+panel.GridPos.W > 24 {
			t.Errorf("%s: at no place of its own", *panel.Title)
			continue
		}
		place[*panel.Id] = true
	}
}

func TestChartHasTheDashboard(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	rendered := find[*core.ConfigMap](t, render(t, values(t)["everything"]), "member-sync-dashboard")
	var want, got any
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(rendered.Data["membersync.json"]), &got); err != nil {
		t.Fatal(err)
	}
	if a, b := mustJSON(t, want), mustJSON(t, got); a != b {
		t.Error("the dashboard of the chart differs from its file")
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
