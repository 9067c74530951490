package cli

import (
	"context"
	"regexp"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"membersync/cmd/internal/wiring"
	"membersync/consumer"
)

// A service runs until the context ends and what it holds is drained. It shows its
// state with r.board.hand and registers its metrics at r.registry.
type service func(ctx context.Context, r *running) error

// serve hands the parts to the consumer and runs it.
func serve(ctx context.Context, r *running) error {
	cfg, parts := wiring.ConsumerConfig(r.cfg, r.version.Version), r.consumerParts()
	if r.dry != nil {
		r.doNothing(&cfg, &parts)
	}
	s := consumer.New(cfg, parts)
	r.board.hand(s)
	return s.Run(ctx)
}

// registerProcess registers the metrics of the Go runtime and of the process.
func registerProcess(r prometheus.Registerer) {
	r.MustRegister(
		collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(gcTime())),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
}

// gcTime is the time of the processors that the garbage collector has used. The runtime estimates
// it after each of its cycles. With process_cpu_seconds_total it is the collector's share.
func gcTime() collectors.GoRuntimeMetricsRule {
	return collectors.GoRuntimeMetricsRule{Matcher: regexp.MustCompile(`^/cpu/classes/gc/total:cpu-seconds$`)}
}

func (r *running) consumerParts() consumer.Parts {
	p := consumer.Parts{
		Kafka: r.parts.Kafka, Dialer: r.parts.Dialer, Mapper: r.parts.Mapping,
		Store: r.parts.Store, Marks: r.parts.Store,
		CRM: r.parts.CRM, DeadLetters: r.parts.DeadLetters, Archive: r.parts.Archive, Audit: r.parts.Audit, Control: r.parts.Store, Observer: r.observer,
		EditDigest: r.parts.EditDigest,
		Tracer:     r.parts.Traces.Tracer(),
		Metrics:    r.metrics, Logger: r.parts.Logger,
	}
	if r.parts.Hashes != nil {
		p.Lookups = r.parts.Hashes
	}
	if r.cfg.Kafka.CreateTopics {
		p.EnsureTopics = r.recreateTopics
	}
	used := func() float64 { return 0 } // where there is no limit
	if limiter, ok := wiring.NewLimiter(r.cfg, r.parts.Store); ok {
		p.Limiter, used = limiter, limiter.Used
	}
	r.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "membersync_rate_limit_used_ratio", Help: "Share of the limit on calls that all instances have taken, at the latest look.",
	}, used))
	return p
}
