package deploytest

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/statetimeline"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
	core "k8s.io/api/core/v1"
)

const dashboardFile = chart + "/files/dashboard.json"

// Grafana's own types take the dashboard, strictly: no unknown field, and each value valid.
func TestDashboardHasGrafanasSchema(t *testing.T) {
	t.Parallel()
	known := cog.NewRuntime() // only what is used: all that there is takes a minute to compile
	known.RegisterPanelcfgVariant(stat.VariantConfig())
	known.RegisterPanelcfgVariant(statetimeline.VariantConfig())
	known.RegisterPanelcfgVariant(table.VariantConfig())
	known.RegisterPanelcfgVariant(timeseries.VariantConfig())
	known.RegisterDataqueryVariant(prometheus.VariantConfig())
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	// What files hold, and Grafana's sidecar loads. The strict one is left without its panels: a list
	// of no errors is an error too.
	var strict, d dashboard.Dashboard //nolint:staticcheck // see above
	if err := strict.UnmarshalJSONStrict(text); err != nil && err.Error() != "" {
		t.Error(err)
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	if err := d.Validate(); err != nil {
		t.Error(err)
	}
	place := map[uint32]bool{}
	for i, p := range d.Panels {
		if p.RowPanel != nil {
			continue
		}
		panel := p.Panel
		if panel == nil {
			t.Fatalf("panel %d was not decoded", i)
		}
		if _, ok := known.ConfigForPanelcfgVariant(panel.Type); !ok {
			t.Errorf("%s: the test has no schema of a %s", *panel.Title, panel.Type)
		}
		for _, target := range panel.Targets {
			if _, ok := target.(*prometheus.Dataquery); !ok {
				t.Errorf("%s: a query is a %T, want Prometheus'", *panel.Title, target)
			}
		}
		if panel.Id == nil || place[*panel.Id] || panel.GridPos.X+panel.GridPos.W > 24 {
			t.Errorf("%s: at no place of its own", *panel.Title)
			continue
		}
		place[*panel.Id] = true
	}
	if len(place) == 0 {
		t.Error("no panel was looked at")
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
