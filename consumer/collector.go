package consumer

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A partitionCollector reads the accounts at each scrape. The series of a partition
// exist only while this process owns it and has measured it.
type partitionCollector struct {
	service                            *Service
	lag, age, inFlight, retrying, open *prometheus.Desc
	headroom, throttled                *prometheus.Desc
}

func newPartitionCollector(s *Service) *partitionCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
	}
	return &partitionCollector{
		service:  s,
		lag:      desc("lag_records", "Records from the lowest unfinished one to the end of the log.", "topic", "partition"),
		age:      desc("lag_seconds", "Age of the oldest unfinished record.", "topic", "partition"),
		inFlight: desc("oldest_in_flight_seconds", "Age of the oldest unfinished record over all partitions."),
		retrying: desc("lanes_retrying", "Members whose next try is later."),
		open:     desc("breaker_state", "1 for the state that the outage breaker is in.", "state"),
		headroom: desc("retention_headroom_seconds", "Time until the topic's retention deletes the oldest unfinished record.",
			"topic", "partition"),
		throttled: desc("crm_throttled_seconds_total", "Time for which the CRM's throttling has paused calls."),
	}
}

// Describe implements [prometheus.Collector].
func (c *partitionCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.lag, c.age, c.inFlight, c.retrying, c.open, c.headroom, c.throttled} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *partitionCollector) Collect(ch chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	s := c.service.engine.snapshot(time.Now(), c.service.status.current())
	oldest := time.Duration(0)
	for _, p := range s.partitions {
		oldest = max(oldest, p.age)
		id := strconv.Itoa(p.id)
		send(c.lag, float64(p.records), p.topic, id)
		send(c.age, p.age.Seconds(), p.topic, id)
		if p.retention > 0 {
			send(c.headroom, (p.retention - p.age).Seconds(), p.topic, id)
		}
	}
	ch <- prometheus.MustNewConstMetric(c.throttled, prometheus.CounterValue, s.throttled.Seconds())
	send(c.inFlight, oldest.Seconds())
	send(c.retrying, float64(s.retrying))
	for _, state := range []breaker{breakerClosed, breakerOpen, breakerHalfOpen} {
		v := 0.0
		if state == s.breaker {
			v = 1
		}
		send(c.open, v, string(state))
	}
}

type breaker string

const (
	breakerClosed   breaker = "closed"
	breakerOpen     breaker = "open"
	breakerHalfOpen breaker = "half_open" // a probe is under way
)

type snapshot struct {
	partitions []partitionLag
	retrying   int
	breaker    breaker
	throttled  time.Duration
}

type partitionLag struct {
	topic   string
	id      int
	records int64
	age     time.Duration

	retention time.Duration // of the topic; 0: none, or not known
}

func (e *engine) snapshot(now time.Time, g *generation) snapshot {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := snapshot{
		retrying: e.lanes.Parked(), breaker: e.breakerState(),
		throttled: e.throttled.total(now),
	}
	if g == nil {
		return s
	}
	for _, p := range g.partitions {
		if p.mark != nil {
			records, age := p.lag(now)
			s.partitions = append(s.partitions, partitionLag{p.topic, p.id, records, age, e.retention[p.topic]})
		}
	}
	return s
}
