package monitoring

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

const dashboardFile = "deploy/helm/membersync/files/dashboard.json"

// A panel is one of the dashboard, with its queries.
type panel struct {
	Type        string `json:"type"`
	Title       string `json:"title"`
	Description string `json:"description"`
	Datasource  source `json:"datasource"`
	Targets     []struct {
		Expr       string `json:"expr"`
		RefID      string `json:"refId"`
		Datasource source `json:"datasource"`
	} `json:"targets"`
}

type source struct {
	UID string `json:"uid"`
}

type dashboard struct {
	Panels     []panel `json:"panels"`
	Templating struct {
		List []struct {
			Name  string `json:"name"`
			Type  string `json:"type"`
			Query any    `json:"query"`
		} `json:"list"`
	} `json:"templating"`
}

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	var d dashboard
	if err := json.Unmarshal(readFile(t, dashboardFile), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDashboardNamesWhatExists(t *testing.T) {
	t.Parallel()
	d := readDashboard(t)
	var rows, titles, variables []string
	var queries strings.Builder
	for _, p := range d.Panels {
		if p.Type == "row" {
			rows = append(rows, p.Title)
			continue
		}
		if slices.Contains(titles, p.Title) {
			t.Errorf("two panels %q", p.Title)
		}
		titles = append(titles, p.Title)
		if len(p.Targets) == 0 || p.Datasource.UID != "${datasource}" {
			t.Errorf("%s: %d queries of %q", p.Title, len(p.Targets), p.Datasource.UID)
		}
		for _, target := range p.Targets {
			checkMetrics(t, target.Expr)
			queries.WriteString(target.Expr + "\n")
			if target.Datasource.UID != "${datasource}" || !strings.Contains(target.Expr, "$job") {
				t.Errorf("%s: a query without the variables: %s", p.Title, target.Expr)
			}
		}
	}
	for _, v := range d.Templating.List {
		variables = append(variables, v.Name)
	}
	for what, got := range map[string][2][]string{
		"rows":      {rows, {"Health", "Lag", "Outcomes", "Calls", "Limit", "Pauses", "Dead letters", "Redis", "Processes"}},
		"variables": {variables, {"datasource", "job", "instance"}},
	} {
		if !slices.Equal(got[0], got[1]) {
			t.Errorf("%s %q, want %q", what, got[0], got[1])
		}
	}
	for name := range promised() {
		if !slices.Contains(metricsIn(queries.String()), "membersync_"+name) {
			t.Errorf("no panel shows membersync_%s", name)
		}
	}
}
