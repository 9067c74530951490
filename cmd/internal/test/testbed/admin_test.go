package testbed

import "testing"

const exposition = `# HELP membersync_events_total Events.
# TYPE membersync_events_total counter
membersync_events_total{outcome="applied",path="live"} 10
membersync_events_total{outcome="applied",path="replay"} 2
membersync_events_total{outcome="superseded",path="live"} 1.5e+01

membersync_state_lost 0
membersync_lag_records{partition="1",topic="a b"} 3
`

func TestMetrics(t *testing.T) {
	t.Parallel()
	m, err := ParseMetrics(exposition)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		metric string
		labels []string
		want   float64
	}{
		{"membersync_events_total", nil, 27},
		{"membersync_events_total", []string{`outcome="applied"`}, 12},
		{"membersync_events_total", []string{`path="live"`, `outcome="applied"`}, 10},
		{"membersync_events_total", []string{`path="liv`}, 0},
		{"membersync_events", nil, 0},
		{"membersync_state_lost", nil, 0},
		{"membersync_lag_records", []string{`topic="a b"`}, 3},
	} {
		if got := m.Sum(tt.metric, tt.labels...); got != tt.want {
			t.Errorf("%s %v: %v, want %v", tt.metric, tt.labels, got, tt.want)
		}
	}
}

func TestNoMetrics(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"word\n", "name value\n", "404 page not found\n", " 1\n"} {
		if _, err := ParseMetrics(text); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}
