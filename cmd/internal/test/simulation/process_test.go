package simulation

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/segmentio/kafka-go"

	"membersync/cmd/internal/config"
	"membersync/cmd/internal/test/oracle/history"
	"membersync/cmd/internal/wiring"
	"membersync/consumer"
	"membersync/crmapi"
	"membersync/crmapi/crmapitest"
	"membersync/dlq"
	"membersync/mapper"
)

// A process is one instance of the service from its start to its stop or crash.
type process struct {
	w          *world
	n          int // number among all instances
	began      time.Time
	slot       int  // -1: a replay
	job        *job // of a replay
	host       *host
	ctx        context.Context //nolint:containedctx // passed from launch to Run
	cancel     context.CancelFunc
	done       chan struct{} // closed when it has ended and everything is closed
	crashPoint crashPoint
	// fetching holds the bytes that the open requests ask for.
	fetching gauge

	mu     sync.Mutex
	dead   bool
	passed int // how often the step was reached
	seen   map[history.Delivery]*history.Delivery
}

// A crashPoint is the step at which an instance crashes, if any.
type crashPoint struct {
	step string // empty: it does not crash
	nth  int
}

const (
	group       = "sim"
	source      = "in"
	deadLetters = source + ".dlq"
	redrives    = source + ".redrive"
	audits      = source + ".audit"

	base   = "http://crm.test"
	rate   = 40
	window = 5 * time.Second
	budget = 45 * time.Second

	stormShare = 0.5

	bufferBytes = 1 << 20
	// fetchBytes is the most that an instance may request at a time from the source topic: the share
	// of the buffer for responses of records in sequence and for requests of single records.
	fetchBytes = bufferBytes/4*2/5 + lookBytes
	lookBytes  = bufferBytes / 16 * 2 / 5
)

func topics() []string { return []string{source, deadLetters, redrives, audits} }

func allTopics() dlq.Topics {
	return dlq.Topics{Source: source, DLQ: deadLetters, Redrive: redrives, Audit: audits}
}

func (l *process) crmAddr() string { return fmt.Sprintf("localhost:%d", 20000+l.n) }

func (l *process) live() {
	defer close(l.done)
	transport := &kafka.Transport{
		ClientID: "membersync", DialTimeout: 5 * time.Second, Dial: l.dialKafka, MetadataTopics: topics(),
	}
	defer transport.CloseIdleConnections()
	cache := l.host.redis(l.w, l.n)
	defer func() { _ = cache.Close() }()
	web := &http.Transport{
		DialContext: l.dialCRM, MaxIdleConns: 64, MaxIdleConnsPerHost: 64, IdleConnTimeout: 90 * time.Second, DisableCompression: true,
	}
	defer web.CloseIdleConnections()
	service := consumer.New(l.config(), l.parts(transport, cache, web))
	if l.job != nil {
		l.replay(service)
		l.host.cut("")
		return
	}
	if err := service.Run(l.ctx); err != nil && !l.isDead() {
		l.w.log("run", "instance", l.n, "error", err)
	}
	l.host.cut("")
}

func (l *process) dialKafka(ctx context.Context, network, addr string) (net.Conn, error) {
	return l.host.dial(ctx, "kafka", func(ctx context.Context) (net.Conn, error) { return l.w.kafka.network.DialContext(ctx, network, addr) })
}

func (l *process) dialCRM(ctx context.Context, network, _ string) (net.Conn, error) {
	if l.w.faults.refuses() {
		l.w.fired("crm outage: refuse", l.n)
		return nil, errNoRoute
	}
	return l.host.dial(ctx, "crm", func(ctx context.Context) (net.Conn, error) {
		return l.w.kafka.network.DialContext(ctx, network, l.crmAddr())
	})
}

func (l *process) config() consumer.Config {
	cfg := consumer.Config{
		Topic: source, Redrives: redrives, StormShare: stormShare, HeldRetry: 2 * time.Second, Group: group, Brokers: l.w.kafka.fake.ListenAddrs(),
		BufferRecords: l.bufferRecords(), BufferBytes: bufferBytes, MaxRecordBytes: maxFetchedBytes,
		CallConfig: consumer.CallConfig{
			BaseURL: base, CorpID: corp, Concurrency: pick(l.random(), 4, 16), CallTimeout: callTimeout, Lease: lease,
			RetryBudget: budget, QuotaReset: func(now time.Time) time.Time { return now.Add(20 * time.Second) },
		},
		DrainLimit: 5 * time.Second, Version: "sim",
		Session: consumer.Session{
			Heartbeat: time.Second, Timeout: sessionTimeout, Rebalance: rebalanceTimeout,
			Backoff: 500 * time.Millisecond, Watch: 5 * time.Second,
		},
	}
	if l.job != nil {
		cfg.Group, cfg.LiveGroup, cfg.Replay, cfg.Reapply, cfg.StormShare = l.job.group(), group, true, l.job.reapply, 0
	}
	return cfg
}

func (l *process) parts(transport *kafka.Transport, cache redis.UniversalClient, web *http.Transport) consumer.Parts {
	client := &kafka.Client{Addr: kafka.TCP(l.w.kafka.fake.ListenAddrs()...), Transport: tappedKafka{l, transport}}
	store := l.w.newStore(cache)
	target, err := url.Parse(base)
	l.w.must(err)
	crm, err := crmapi.New(crmapi.Config{
		BaseURL: target, Path: crmapitest.UpdatePath, CorpID: corp, Timeout: callTimeout,
		Codes: crmapi.Table{crmapitest.CodeDuplicate: {Class: crmapi.ClassPoison, Reason: crmapi.ReasonRejected}},
		Token: crmapi.FixedToken(token), HTTP: &http.Client{Transport: web},
	})
	l.w.must(err)
	limiter, _ := wiring.NewLimiter(config.Config{CRM: config.CRM{
		Rate: config.Rate{Calls: rate, Window: window}, Timeout: callTimeout,
	}}, store)
	if l.job != nil {
		limiter = limiter.ForReplay()
	}
	parts := consumer.Parts{
		Kafka:  client,
		Dialer: &kafka.Dialer{ClientID: "membersync", Timeout: 5 * time.Second, DialFunc: l.dialKafka},
		Mapper: brokenMapping{l.w, l.w.newMapping()}, Store: tappedStore{l, store}, Marks: tappedStore{l, store},
		CRM:         tappedCRM{l, crm},
		DeadLetters: tappedDeadLetters{l, dlq.NewWriter(client, deadLetters)}, Limiter: tappedLimiter{l, limiter},
		Archive: dlq.NewReader(client, allTopics()), Audit: tappedAuditor{l, dlq.NewAuditor(client, audits)}, Control: store,
		EditDigest: editDigest(),
		Observer:   recorder{l}, Metrics: consumer.NewMetrics(prometheus.NewRegistry(), crmapi.Table{}),
		Logger: l.w.logger.With(slog.Int("instance", l.n)),
	}
	if l.job != nil {
		parts.Items = l.job.index
	}
	return parts
}

// bufferRecords returns a size that leaves room next to the events held in a storm.
func (l *process) bufferRecords() int {
	switch {
	case l.w.settings.storm.quiet:
		return 2000
	case l.w.settings.storm.kind != "":
		return pick(l.random(), 200, 2000)
	}
	return pick(l.random(), 20, 200)
}

func (w *world) newMapping() *mapper.Mapping {
	mapping, err := mapper.Builtin("canonical", mapper.Options{MaxRecordBytes: maxRecordBytes, MaxAhead: 24 * time.Hour})
	w.must(err)
	return mapping
}

func (l *process) random() *rand.Rand { return l.w.random.roll("process", l.n) }

// due counts the times that a step was reached and reports whether the instance crashes there.
func (l *process) due(step string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead || step != l.crashPoint.step || l.w.calm.Load() {
		return false
	}
	l.passed++
	return l.passed == l.crashPoint.nth
}

// reaches reports whether the instance has ended, possibly because it crashes at this step.
func (l *process) reaches(step string) bool {
	if l.due(step) {
		l.crash(step)
	}
	return l.isDead()
}

func (l *process) isDead() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead
}

// crash ends the instance: its connections break, and nothing it does from now on has an effect.
func (l *process) crash(step string) {
	l.mu.Lock()
	if l.dead || l.w.calm.Load() {
		l.mu.Unlock()
		return
	}
	l.dead = true
	l.mu.Unlock()
	l.host.kill()
	l.cancel()
	l.w.log("crash", "instance", l.n, "step", step)
	l.w.tally.crashed(step)
	l.w.instances.replaceCrashed(l)
}

// stop stops the instance cleanly.
func (l *process) stop() {
	l.w.log("stop", "instance", l.n)
	l.cancel()
	<-l.done
}

// note counts the events that a running instance receives and ends.
func (l *process) note(partition int, offset int64, index, arrived, ended int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		return
	}
	key := history.Delivery{Instance: l.n, Partition: partition, Offset: offset, Index: index}
	if l.seen[key] == nil {
		l.seen[key] = &history.Delivery{Instance: l.n, Partition: partition, Offset: offset, Index: index}
	}
	l.seen[key].Arrived += arrived
	l.seen[key].Ended += ended
}
