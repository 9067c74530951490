package consumer

import (
	"errors"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"membersync/consumer/event"
	"membersync/crmapi"
	"membersync/dlq"
)

// Metrics are the service's Prometheus metrics. The labels are closed sets, present from the start
// at zero. Its methods are safe for concurrent use.
type Metrics struct {
	registry prometheus.Registerer
	codes    map[response]bool // that have a series of their own

	events    *prometheus.CounterVec
	latency   *prometheus.HistogramVec
	dead      *prometheus.CounterVec
	reusedIDs prometheus.Counter
	pauses    *prometheus.GaugeVec
	stateLost prometheus.Gauge
	redis     *prometheus.HistogramVec
	callMetrics
	kafkaMetrics
}

type callMetrics struct {
	calls        *prometheus.CounterVec
	callDuration prometheus.Histogram
	callEvents   prometheus.Histogram
	inFlight     prometheus.Gauge
	saved        prometheus.Counter
	lateCalls    prometheus.Counter
	lastSuccess  prometheus.Gauge
}

type kafkaMetrics struct {
	commits    *prometheus.CounterVec
	rebalances prometheus.Counter
	gaps       prometheus.Counter
}

const (
	namespace  = "membersync"
	causeKafka = "kafka"
	causeDLQ   = "dlq"

	causeControl = "control" // the control state cannot be read
	pathLive     = "live"
	pathRedrive  = "redrive"
	pathReplay   = "replay" // of a process of its own
)

// NewMetrics registers the metrics. The codes of the table get a label value of their own, with the
// class that they have there; all others count as other.
func NewMetrics(reg prometheus.Registerer, table crmapi.Table) *Metrics {
	m := &Metrics{
		registry: reg, codes: make(map[response]bool),
		events: counters("events_total", "Deliveries of events by outcome.", "outcome", "path"),
		latency: histograms("event_latency_seconds", "From the record's timestamp to the event's outcome.",
			[]float64{0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 300, 1800, 7200, 86400}, "path"),
		dead:      counters("dead_letters_total", "Dead letters written, by reason.", "reason"),
		pauses:    gauges("paused", "1 while this cause pauses the service.", "cause"),
		stateLost: gauge("state_lost", "1 while the state in Redis is missing although the group has committed offsets."),
		reusedIDs: counter("reused_event_ids_total", "Events whose id was seen before with another order value."),
		redis: histograms("redis_duration_seconds", "Time of one request to Redis.",
			[]float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5}, "op"),
		callMetrics: callMetrics{
			calls:        counters("crm_calls_total", "Calls of the CRM by class and code of the response.", "class", "code"),
			callDuration: histogram("crm_call_duration_seconds", "Time that one call took.", prometheus.DefBuckets),
			callEvents:   histogram("crm_call_events", "Events folded into one call.", []float64{1, 2, 5, 10, 20, 50, 100, 200, 500}),
			inFlight:     gauge("crm_calls_in_flight", "Calls that wait for their response."),
			saved:        counter("calls_saved_total", "Events that needed no call of their own: folded, superseded, unchanged or duplicate."),
			lateCalls:    counter("late_calls_total", "Calls completed after their lease had expired."),
			lastSuccess:  gauge("last_success_timestamp_seconds", "When the CRM last accepted a call."),
		},
		kafkaMetrics: kafkaMetrics{
			commits:    counters("commits_total", "Offset commits by result.", "result"),
			rebalances: counter("rebalances_total", "Generations of the consumer group joined."),
			gaps:       counter("gap_records_total", "Records that were gone before they were read; 1 where their number is unknown."),
		},
	}
	reg.MustRegister(m.events, m.latency, m.dead, m.calls, m.callDuration, m.callEvents, m.inFlight, m.saved,
		m.pauses, m.commits, m.rebalances, m.gaps, m.lateCalls, m.lastSuccess, m.stateLost, m.reusedIDs, m.redis)
	m.zero(table)
	return m
}

// zero makes every series exist from the start: a rate over a series that appears later misses its
// first step.
func (m *Metrics) zero(table crmapi.Table) {
	for _, path := range []string{pathLive, pathRedrive, pathReplay} {
		for _, o := range Outcomes() {
			m.events.WithLabelValues(string(o), path)
		}
		m.latency.WithLabelValues(path)
	}
	for _, r := range dlq.Reasons() {
		m.dead.WithLabelValues(string(r))
	}
	for _, code := range table.Codes() {
		row, _ := table.Lookup(code)
		m.knows(row.Class, code)
		if row.Class == crmapi.ClassToken { // of a token that cannot be renewed
			m.knows(crmapi.ClassRefused, code)
		}
	}
	for _, c := range crmapi.Classes() {
		m.calls.WithLabelValues(c.String(), codeOther)
	}
	for _, result := range []string{"ok", "failed", "fenced"} {
		m.commits.WithLabelValues(result)
	}
	for c := range event.Cause(event.NumCauses) {
		m.pauses.WithLabelValues(c.String())
	}
	for _, op := range []string{opAcquire, opComplete, opPermit, opOther} {
		m.redis.WithLabelValues(op)
	}
	m.pauses.WithLabelValues(causeKafka)
	m.pauses.WithLabelValues(causeDLQ)
	m.pauses.WithLabelValues(causeControl)
}

const codeOther = "other"

// A response is what the labels of a call name. The class need not be that of the code.
type response struct {
	class crmapi.Class
	code  int
}

func (m *Metrics) knows(class crmapi.Class, code int) {
	m.codes[response{class, code}] = true
	m.calls.WithLabelValues(class.String(), strconv.Itoa(code))
}

// watch registers what is read from the service itself at each scrape.
func (m *Metrics) watch(s *Service) { m.registry.MustRegister(newStateCollector(s)) }

func (m *Metrics) finished(o Outcome, path string, age time.Duration) {
	m.events.WithLabelValues(string(o), path).Inc()
	m.latency.WithLabelValues(path).Observe(age.Seconds())
	if o == Superseded || o == Unchanged || o == Duplicate {
		m.saved.Inc()
	}
}

func (m *Metrics) deadLetter(reason string) { m.dead.WithLabelValues(reason).Inc() }

// CallBegins implements [deliver.Metrics].
func (m *Metrics) CallBegins() { m.inFlight.Inc() }

// CallEnds implements [deliver.Metrics]. A call that was given up before it was sent does not
// count.
func (m *Metrics) CallEnds(took time.Duration, u *event.Update, err error) {
	m.inFlight.Dec()
	if errors.Is(err, crmapi.ErrTooLate) {
		return
	}
	m.callDuration.Observe(took.Seconds())
	m.callEvents.Observe(float64(len(u.Events)))
	class, code := crmapi.ClassSuccess, "0"
	if err != nil {
		class, code = m.classify(err)
	} else {
		m.lastSuccess.SetToCurrentTime()
		m.saved.Add(float64(len(u.Contributors) - 1)) // the others of the fold count by their outcome
	}
	m.calls.WithLabelValues(class.String(), code).Inc()
}

func (m *Metrics) classify(err error) (crmapi.Class, string) {
	var e *crmapi.Error
	if !errors.As(err, &e) {
		return crmapi.ClassUnacknowledged, codeOther
	}
	if e.HasCode && m.codes[response{e.Class, e.Code}] {
		return e.Class, strconv.Itoa(e.Code)
	}
	return e.Class, codeOther
}

func (m *Metrics) setPaused(cause string, on bool) {
	m.pauses.WithLabelValues(cause).Set(boolValue(on))
}

func (m *Metrics) setStateLost(lost bool) { m.stateLost.Set(boolValue(lost)) }

// KafkaPaused implements [intake.Metrics].
func (m *Metrics) KafkaPaused(isPaused bool) { m.setPaused(causeKafka, isPaused) }

// RedisPaused reports whether an instance waits for Redis before it begins; once it runs, the
// service reports that itself.
func (m *Metrics) RedisPaused(isPaused bool) { m.setPaused(event.CauseRedis.String(), isPaused) }

// Committed implements [intake.Metrics].
func (m *Metrics) Committed(result string) { m.commits.WithLabelValues(result).Inc() }

// Rebalanced implements [intake.Metrics].
func (m *Metrics) Rebalanced() { m.rebalances.Inc() }

// Gap implements [intake.Metrics].
func (m *Metrics) Gap(records int64) { m.gaps.Add(float64(records)) }

func (m *Metrics) late() { m.lateCalls.Inc() }

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help})
}

func gauge(name, help string) prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help})
}

func gauges(name, help string, labels ...string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

func histogram(name, help string, buckets []float64) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets})
}

func histograms(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}, labels)
}
