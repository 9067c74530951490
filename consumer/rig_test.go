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

// TestMain lets many tests run at once, even on few processors: they wait most of the time.
func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "12") // -test.parallel on the command line overrides it
	dedupe.SetClientLog(slog.New(slog.DiscardHandler))
	goleak.VerifyTestMain(m)
}

const corp = "CORP_TEST"

// unending is longer than any test. The call timeout and the drain limit have this value, and
// leases live longer, except in tests about one of these: on a busy machine no test can rely on how
// soon something happens.
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
	proxy    *dedupetest.Proxy // between the services and Redis; nil: none
	addr     string            // host:port of Redis
	prefix   string
	key      string // the state key
	logs     *logBuffer
	seq      int
	replays  int
	outcome  *outcomes
	recorder *recorder

	callTimeout   time.Duration // of the service: decides if a lease is young enough for a call
	clientTimeout time.Duration // of the CRM client: when it gives up a call
	lease         time.Duration
	gatherFor     time.Duration // 0: the service's default
	instances     []*instance
}

func newRig(t *testing.T, partitions int, opts crmapitest.Options) *rig {
	t.Helper()
	return newRigOn(t, kafkatest.Start(t), partitions, opts)
}

// newFakeRig returns a rig with a fake Kafka, even if a real one is configured, for tests that
// inject faults into it.
func newFakeRig(t *testing.T, partitions int) *rig {
	t.Helper()
	return newRigOn(t, kafkatest.StartFake(t), partitions, crmapitest.Options{})
}

func newRigOn(t *testing.T, broker *kafkatest.Broker, partitions int, opts crmapitest.Options) *rig {
	t.Helper()
	r := &rig{
		t: t, broker: broker, logs: &logBuffer{}, outcome: newOutcomes(),
		callTimeout: unending, clientTimeout: unending, lease: 2*unending + 5*time.Second,
	}
	r.topic = r.broker.Topic(t, partitions, nil)
	r.group = r.broker.Group(t)
	r.key = "a state key made up for tests, 32 bytes"
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

// quick makes the rig's calls time out soon, and its leases expire soon after that.
func (r *rig) quick() *rig {
	r.callTimeout, r.clientTimeout, r.lease = 700*time.Millisecond, 700*time.Millisecond, 3*time.Second
	return r
}

// withoutClientTimeout removes the timeout of the CRM client, for tests in which every call gets a
// response or a closed connection.
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

// client returns a Kafka client that fetches the cluster's metadata as rarely as a whole service
// tolerates: every 2 s.
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
		runRedisClock(r.t, mini)
		r.addr = mini.Addr()
	}
	r.redis = r.redisAt(r.addr)
}

// redisAt returns a client as dedupe.Open makes it, except for the timeouts. On a busy machine,
// those of dedupe.Open would sometimes leave a lease behind.
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

// redisStep is the step in which the clock of a fake Redis advances. Its keys can expire too early
// by up to one step.
const redisStep = 100 * time.Millisecond

// runRedisClock lets the keys of a fake Redis expire in real time. miniredis' own ClockTTL visits
// all keys at every command, which is too slow for thousands of done marks.
//
// A step shortens the remaining time of all keys, including one that was set a moment ago. So no
// step is longer than redisStep: after a stall of this process, Redis' clock is slow.
func runRedisClock(t *testing.T, mini *miniredis.Miniredis) {
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
	stop     func() // returns when Run has returned; later calls do nothing
}

// A change modifies the configuration and the parts of a service before it starts.
type change = func(*consumer.Config, *consumer.Parts)

// start starts a service, which ends with the test at the latest.
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
		DrainLimit: unending, Version: "test",
		CallConfig: consumer.CallConfig{
			BaseURL: r.crmURL, CorpID: corp, Concurrency: 16, CallTimeout: r.callTimeout, Lease: r.lease,
			RetryBudget: time.Second, QuotaReset: func(now time.Time) time.Time { return now.Add(time.Hour) },
			GatherFor: r.gatherFor,
		},
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
		Key: []byte(r.key), DigestTTL: time.Hour,
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
