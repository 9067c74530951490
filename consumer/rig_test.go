package consumer_test

import (
	"context"
	"flag"
	"log/slog"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"github.com/segmentio/kafka-go"
	"go.uber.org/goleak"

	"membersync/consumer"
	"membersync/crmapi"
	"membersync/crmapi/crmapitest"
	"membersync/dedupe"
	"membersync/dedupe/dedupetest"
	"membersync/dlq"
	"membersync/dlq/kafkatest"
	"membersync/mapper"
)

// These tests wait most of their time, so many run at once even on few processors.
func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "12") // the command line's goes before it
	dedupe.SetClientLog(slog.New(slog.DiscardHandler))
	goleak.VerifyTestMain(m)
}

const corp = "CORP_TEST"

// unending is longer than any test. No call times out, no lease runs out and no drain reaches its limit but in tests that are about
// that: how soon anything happens on a busy machine is nobody's promise.
const unending = time.Hour

// A rig is Kafka, Redis and the fake CRM, for services that the test starts and stops.
type rig struct {
	t        *testing.T
	broker   *kafkatest.Broker
	topic    string
	group    string
	crm      *crmapitest.Server
	crmURL   string
	redis    redis.UniversalClient
	proxy    *dedupetest.Proxy // before Redis, if there is one
	addr     string            // of Redis
	prefix   string
	logs     *logBuffer
	seq      int
	outcome  *outcomes
	recorder *recorder

	callTimeout   time.Duration // by which the service tells whether a lease is young enough for a call
	clientTimeout time.Duration // of the CRM's client: when it gives a call up
	lease         time.Duration
	gatherFor     time.Duration // 0: the service's own
	fillFor       time.Duration // likewise
	instances     []*instance
}

func newRig(t *testing.T, partitions int, opts crmapitest.Options) *rig {
	t.Helper()
	return newRigOn(t, kafkatest.Start(t), partitions, opts)
}

// newFakeRig has a fake Kafka even if there is a real one, for tests that inject faults into it.
func newFakeRig(t *testing.T, partitions int, opts crmapitest.Options) *rig {
	t.Helper()
	return newRigOn(t, kafkatest.StartFake(t), partitions, opts)
}

func newRigOn(t *testing.T, broker *kafkatest.Broker, partitions int, opts crmapitest.Options) *rig {
	t.Helper()
	r := &rig{
		t: t, broker: broker, logs: &logBuffer{}, outcome: newOutcomes(),
		callTimeout: unending, clientTimeout: unending, lease: 2*unending + 5*time.Second,
	}
	r.topic = r.broker.Topic(t, partitions, nil)
	r.group = r.broker.Group(t)
	r.prefix = "mstest-" + strings.ToLower(r.group)
	r.startRedis()
	opts.CorpID, opts.Tokens, opts.AutoCreate = corp, []string{"token"}, true
	r.crm = crmapitest.New(opts)
	server := httptest.NewServer(r.crm)
	t.Cleanup(server.Close)
	r.crmURL = server.URL
	r.recorder = &recorder{url: r.crmURL, members: make(map[dedupe.Member]leaseHistory)}
	t.Cleanup(func() { r.recorder.check(t) })
	r.ensureTopics()
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(r.logs.String()[max(0, len(r.logs.String())-4000):])
		}
	})
	return r
}

// quick makes a rig's calls time out soon, and its leases run out soon after.
func (r *rig) quick() *rig {
	r.callTimeout, r.clientTimeout, r.lease = 700*time.Millisecond, 700*time.Millisecond, 3*time.Second
	return r
}

// patient takes the time-out of a rig's calls away again, for tests in which every call is answered or closed.
func (r *rig) withoutClientTimeout() *rig {
	r.clientTimeout = unending
	return r
}

func (r *rig) ensureTopics() {
	r.t.Helper()
	spec := dlq.TopicSpec{Topics: r.topics(), Create: true}
	if err := dlq.EnsureTopics(r.t.Context(), r.client(), spec); err != nil {
		r.t.Fatal(err)
	}
}

// client looks at the cluster seldom enough for a whole service.
func (r *rig) client() *kafka.Client {
	r.t.Helper()
	return r.broker.ClientLooking(r.t, 2*time.Second)
}

func (r *rig) topics() dlq.Topics {
	return dlq.Topics{Source: r.topic, DLQ: r.topic + ".dlq", Redrive: r.topic + ".redrive", Audit: r.topic + ".audit"}
}

func (r *rig) startRedis() {
	r.t.Helper()
	r.addr, _, _ = strings.Cut(strings.TrimPrefix(os.Getenv("MEMBERSYNC_TEST_REDIS"), "redis://"), "/")
	if r.addr == "" {
		mini := miniredis.RunT(r.t)
		letTimePass(r.t, mini)
		r.addr = mini.Addr()
	}
	r.redis = r.redisAt(r.addr)
}

// redisAt is a client as dedupe.Open makes it, but for its time-outs. On a busy machine they would now and then leave a lease behind.
func (r *rig) redisAt(addr string) redis.UniversalClient {
	r.t.Helper()
	client := redis.NewClient(&redis.Options{
		Addr: addr, ContextTimeoutEnabled: true, DialerRetries: 1, MaxRetries: 1,
		DialTimeout: unending, ReadTimeout: unending, WriteTimeout: unending, PoolTimeout: unending,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	r.t.Cleanup(func() { _ = client.Close() })
	return client
}

// redisStep is how the time of a fake Redis goes by, and so how much too early a key of it can run out.
const redisStep = 100 * time.Millisecond

// letTimePass lets keys run out as time goes by. miniredis' own ClockTTL walks over
// all keys at every command, which is too slow for thousands of done marks. A step takes its time from all keys, the one set just now
// too. So it is never a long one: after a stall, Redis' clock is slow.
func letTimePass(t *testing.T, mini *miniredis.Miniredis) {
	t.Helper()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(redisStep)
		defer tick.Stop()
		last := time.Now()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				now := time.Now()
				mini.FastForward(min(now.Sub(last), redisStep).Truncate(time.Millisecond))
				last = now
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-done })
}

// An instance is one running service.
type instance struct {
	service  *consumer.Service
	registry *prometheus.Registry
	cancel   context.CancelFunc
	stop     func() // once; returns when Run has
}

// A change alters a service before it starts.
type change = func(*consumer.Config, *consumer.Parts)

func (r *rig) start(changes ...change) *instance {
	t := r.t
	t.Helper()
	api := r.api()
	registry := prometheus.NewRegistry()
	cfg, parts := r.config(), r.parts(api, registry)
	for _, c := range changes {
		c(&cfg, &parts)
	}
	ctx, cancel := context.WithCancel(context.Background())
	inst := &instance{service: consumer.New(cfg, parts), registry: registry, cancel: cancel}
	first := labels(t, registry)
	done := make(chan error, 1)
	go func() { done <- inst.service.Run(ctx) }()
	inst.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(30 * time.Second):
			t.Error("Run has not returned 30 s after its context ended")
		}
		wantLabels(t, first, registry)
		api.Close()
	})
	t.Cleanup(inst.stop)
	r.instances = append(r.instances, inst)
	return inst
}

func (r *rig) config() consumer.Config {
	return consumer.Config{
		Topic: r.topic, Group: r.group, Brokers: r.broker.Addrs(),
		BufferRecords: 20000, BufferBytes: 32 << 20,
		BaseURL: r.crmURL, CorpID: corp, Concurrency: 16, CallTimeout: r.callTimeout, Lease: r.lease,
		RetryBudget: time.Second, QuotaReset: func(now time.Time) time.Time { return now.Add(time.Hour) },
		DrainLimit: unending, Version: "test", GatherFor: r.gatherFor, FillFor: r.fillFor,
		Session: consumer.Session{
			Heartbeat: 200 * time.Millisecond, Timeout: time.Minute, Rebalance: time.Minute,
			Backoff: 100 * time.Millisecond, Watch: 500 * time.Millisecond,
		},
	}
}

func (r *rig) parts(api *crmapi.Client, registry *prometheus.Registry) consumer.Parts {
	r.t.Helper()
	client := r.client()
	mapping, err := mapper.Builtin("canonical", mapper.Options{MaxRecordBytes: 1 << 20, MaxAhead: 24 * time.Hour})
	if err != nil {
		r.t.Fatal(err)
	}
	r.recorder.lease = r.lease
	p := consumer.Parts{
		Kafka: client, Dialer: kafka.DefaultDialer, Mapper: mapping, Store: r.store(r.redis), CRM: api,
		DeadLetters: dlq.NewWriter(client, r.topic+".dlq"), Observer: r.outcome, Control: r.store(r.redis),
		Metrics: consumer.NewMetrics(registry, crmapi.Table{}),
		Logger:  slog.New(slog.NewJSONHandler(r.logs, &slog.HandlerOptions{Level: slog.LevelInfo})),
	}
	r.recorder.install(&p)
	return p
}

func (r *rig) store(client redis.UniversalClient) *dedupe.Store {
	r.t.Helper()
	store, err := dedupe.New(client, dedupe.Options{
		Prefix: r.prefix, Scope: r.crmURL, DoneTTL: time.Hour, Lease: r.lease,
		DigestKey: []byte("test digest key"), DigestTTL: time.Hour,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return store
}

func (r *rig) api() *crmapi.Client {
	r.t.Helper()
	base, err := url.Parse(r.crmURL)
	if err != nil {
		r.t.Fatal(err)
	}
	api, err := crmapi.New(crmapi.Config{
		BaseURL: base, Path: crmapitest.UpdatePath, CorpID: corp, Timeout: r.clientTimeout,
		Token: crmapi.FixedToken("token"), MaxConns: 16,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return api
}
