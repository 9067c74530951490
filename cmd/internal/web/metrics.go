package web

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"membersync/dlq"
)

// deadLetterMetrics are the open dead letters by reason. Each reason has a series from the start.
type deadLetterMetrics struct{ catalog *dlq.Catalog }

func descriptions() (open, oldest *prometheus.Desc) {
	labels := []string{"reason"}
	return prometheus.NewDesc("membersync_dead_letters_open", "Open dead letters.", labels, nil),
		prometheus.NewDesc("membersync_dead_letters_oldest_seconds", "Age of the oldest open dead letter; 0 without one.", labels, nil)
}

// Describe implements [prometheus.Collector].
func (m deadLetterMetrics) Describe(out chan<- *prometheus.Desc) {
	open, oldest := descriptions()
	out <- open
	out <- oldest
}

// Collect implements [prometheus.Collector].
func (m deadLetterMetrics) Collect(out chan<- prometheus.Metric) {
	now := time.Now()
	counts, ages := map[dlq.Reason]int{}, map[dlq.Reason]float64{}
	for _, g := range m.catalog.Open(now) {
		reason := g.First.Reason
		counts[reason] += g.Count
		ages[reason] = max(ages[reason], now.Sub(g.Oldest).Seconds())
	}
	open, oldest := descriptions()
	for _, reason := range dlq.Reasons() {
		out <- prometheus.MustNewConstMetric(open, prometheus.GaugeValue, float64(counts[reason]), string(reason))
		out <- prometheus.MustNewConstMetric(oldest, prometheus.GaugeValue, ages[reason], string(reason))
	}
}
