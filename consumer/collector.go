package consumer

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"membersync/consumer/intake"
	"membersync/consumer/schedule"
)

// A stateCollector reads the state of the service at each scrape. The series of a partition exist
// only while this process owns it and has measured it.
type stateCollector struct {
	service                            *Service
	lag, age, inFlight, retrying, open *prometheus.Desc
	headroom, throttled, held          *prometheus.Desc
}

func newStateCollector(s *Service) *stateCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
	}
	return &stateCollector{
		service:  s,
		lag:      desc("lag_records", "Records from the lowest unfinished one to the end of the log.", "topic", "partition"),
		age:      desc("lag_seconds", "Age of the oldest unfinished record.", "topic", "partition"),
		inFlight: desc("oldest_in_flight_seconds", "Age of the oldest unfinished record over all partitions."),
		retrying: desc("lanes_retrying", "Members whose next attempt is later."),
		open:     desc("breaker_state", "1 for the state that the outage breaker is in.", "state"),
		headroom: desc("retention_headroom_seconds", "Time until the topic's retention deletes the oldest unfinished record.",
			"topic", "partition"),
		held:      desc("events_held", "Rejected events that the storm guard holds or tries again."),
		throttled: desc("crm_throttled_seconds_total", "Time for which the CRM's throttling has paused calls."),
	}
}

// Describe implements [prometheus.Collector].
func (c *stateCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.lag, c.age, c.inFlight, c.retrying, c.open, c.headroom, c.throttled, c.held} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *stateCollector) Collect(ch chan<- prometheus.Metric) {
	now := time.Now()
	c.collectLags(ch, c.service.intake.Lags(now))
	stats := c.service.schedule.Stats(now)
	ch <- prometheus.MustNewConstMetric(c.throttled, prometheus.CounterValue, stats.Throttled.Seconds())
	gaugeTo(ch, c.retrying, float64(stats.Parked))
	gaugeTo(ch, c.held, float64(stats.Held))
	for _, state := range []schedule.Breaker{schedule.BreakerClosed, schedule.BreakerOpen, schedule.BreakerHalfOpen} {
		gaugeTo(ch, c.open, boolValue(state == stats.Breaker), string(state))
	}
}

func (c *stateCollector) collectLags(ch chan<- prometheus.Metric, lags []intake.Lag) {
	oldest := time.Duration(0)
	for _, l := range lags {
		oldest = max(oldest, l.Age)
		id := strconv.Itoa(l.Partition)
		gaugeTo(ch, c.lag, float64(l.Records), l.Topic, id)
		gaugeTo(ch, c.age, l.Age.Seconds(), l.Topic, id)
		if l.Retention > 0 {
			gaugeTo(ch, c.headroom, (l.Retention - l.Age).Seconds(), l.Topic, id)
		}
	}
	gaugeTo(ch, c.inFlight, oldest.Seconds())
}

func gaugeTo(ch chan<- prometheus.Metric, d *prometheus.Desc, value float64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

func boolValue(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
