package consumer_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
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
	"github.com/segmentio/kafka-go"
	"go.uber.org/goleak"

	"membersync/consumer"
	"membersync/crmapi"
	"membersync/crmapi/crmapitest"
	"membersync/dedupe"
	"membersync/dlq"
	"membersync/dlq/kafkatest"
	"membersync/mapper"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	corp        = "CORP_TEST"
	callTimeout = 2 * time.Second
)

// A rig is Kafka, Redis and the fake CRM, for services that the test starts and stops.
type rig struct {
	t       *testing.T
	broker  *kafkatest.Broker
	topic   string
	group   string
	crm     *crmapitest.Server
	crmURL  string
	redis   redis.UniversalClient
	mini    *miniredis.Miniredis // nil with a real Redis
	prefix  string
	logs    *logBuffer
	seq     int
	outcome *outcomes

	instances []*instance
}

type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func newRig(t *testing.T, partitions int, opts crmapitest.Options) *rig {
	t.Helper()
	r := &rig{t: t, broker: kafkatest.Start(t), logs: &logBuffer{}, outcome: newOutcomes()}
	r.topic = r.broker.Topic(t, partitions, nil)
	r.broker.Topic(t, 1, nil)
	r.group = r.broker.Group(t)
	r.prefix = "mstest-" + strings.ToLower(r.group)
	r.redis, r.mini = startRedis(t)
	opts.CorpID, opts.Tokens, opts.AutoCreate = corp, []string{"token"}, true
	r.crm = crmapitest.New(opts)
	server := httptest.NewServer(r.crm)
	t.Cleanup(server.Close)
	r.crmURL = server.URL
	client := r.broker.Client(t)
	if err := dlq.EnsureTopics(t.Context(), client, dlq.TopicSpec{Topics: r.topics(), Create: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(r.logs.String()[max(0, len(r.logs.String())-4000):])
		}
	})
	return r
}

func (r *rig) topics() dlq.Topics {
	return dlq.Topics{Source: r.topic, DLQ: r.topic + ".dlq", Redrive: r.topic + ".redrive", Audit: r.topic + ".audit"}
}

func startRedis(t *testing.T) (redis.UniversalClient, *miniredis.Miniredis) {
	t.Helper()
	addr, mini := os.Getenv("MEMBERSYNC_TEST_REDIS"), (*miniredis.Miniredis)(nil)
	if addr == "" {
		mini = miniredis.RunT(t)
		letTimePass(t, mini)
		addr = "redis://" + mini.Addr()
	}
	client, err := dedupe.Open(dedupe.ClientConfig{URL: addr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client, mini
}

// letTimePass lets keys run out as time goes by. miniredis' own ClockTTL walks over
// all keys at every command, which is too slow for thousands of done marks.
func letTimePass(t *testing.T, mini *miniredis.Miniredis) {
	const step = 100 * time.Millisecond
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(step)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				mini.FastForward(step)
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-done })
}

// An instance is one running service.
type instance struct {
	service  *consumer.Service
	registry *prometheus.Registry
	stop     func()
}

func (r *rig) start(change ...func(*consumer.Config, *consumer.Parts)) *instance {
	t := r.t
	t.Helper()
	client := r.broker.Client(t)
	store, err := dedupe.New(r.redis, dedupe.Options{
		Prefix: r.prefix, Scope: r.crmURL, DoneTTL: time.Hour, Lease: 2*callTimeout + 5*time.Second,
		DigestKey: []byte("test digest key"), DigestTTL: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	base, err := url.Parse(r.crmURL)
	if err != nil {
		t.Fatal(err)
	}
	api, err := crmapi.New(crmapi.Config{
		BaseURL: base, Path: crmapitest.UpdatePath, CorpID: corp, Timeout: callTimeout,
		Token: crmapi.FixedToken("token"), MaxConns: 16,
	})
	if err != nil {
		t.Fatal(err)
	}
	mapping, err := mapper.Builtin("canonical", mapper.Options{MaxRecordBytes: 1 << 20, MaxAhead: 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	cfg := consumer.Config{
		Topic: r.topic, Group: r.group, Brokers: r.broker.Addrs(),
		BufferRecords: 20000, BufferBytes: 32 << 20,
		BaseURL: r.crmURL, CorpID: corp, Concurrency: 16, CallTimeout: callTimeout, Lease: 2*callTimeout + 5*time.Second,
		RetryBudget: time.Second, QuotaReset: func(now time.Time) time.Time { return now.Add(time.Hour) },
		DrainLimit: 10 * time.Second, Version: "test",
		Session: consumer.Session{
			Heartbeat: 200 * time.Millisecond, Timeout: 6 * time.Second, Rebalance: 10 * time.Second,
			Backoff: 100 * time.Millisecond, Watch: 500 * time.Millisecond,
		},
	}
	parts := consumer.Parts{
		Kafka: client, Dialer: kafka.DefaultDialer, Mapper: mapping, Store: store, CRM: api,
		Letters: dlq.NewWriter(client, r.topic+".dlq"), Observer: r.outcome,
		Metrics: consumer.NewMetrics(registry, crmapi.Table{}.Codes()),
		Logger:  slog.New(slog.NewJSONHandler(r.logs, &slog.HandlerOptions{Level: logLevel()})),
	}
	for _, c := range change {
		c(&cfg, &parts)
	}
	svc := consumer.New(cfg, parts)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- svc.Run(ctx) }()
	inst := &instance{service: svc, registry: registry}
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
		api.Close()
	})
	t.Cleanup(inst.stop)
	r.instances = append(r.instances, inst)
	return inst
}

// event is a canonical event of a made-up employee; a nil value of a field is a clear.
func (r *rig) event(id string, employee int, sequence int, after map[string]any) kafka.Message {
	body, err := json.Marshal(map[string]any{
		"eventId": id, "employeeId": fmt.Sprintf("E%04d", employee), "openUserId": member(employee),
		"sequence": sequence, "after": after,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return kafka.Message{Key: fmt.Appendf(nil, "E%04d", employee), Value: body}
}

// change is an event with a number of its own.
func (r *rig) change(employee int, after map[string]any) kafka.Message {
	r.seq++
	return r.event(fmt.Sprintf("ev-%d", r.seq), employee, r.seq, after)
}

func member(employee int) string { return fmt.Sprintf("FSUID_TEST%04d", employee) }

func (r *rig) produce(msgs ...kafka.Message) {
	r.t.Helper()
	r.broker.Produce(r.t, r.topic, msgs...)
}

// settled waits until everything in the topic has its outcome and is committed.
func (r *rig) settled() {
	r.t.Helper()
	r.eventually("the lag to end", func() bool { return r.broker.Lag(r.t, r.group, r.topic) == 0 })
}

func (r *rig) eventually(what string, ok func() bool) {
	r.t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			for _, inst := range r.instances {
				r.t.Log(inst.service.Dump())
			}
			r.t.Fatalf("waited a minute for %s", what)
		}
		<-tick.C
	}
}

func (r *rig) field(employee int, name string) string {
	return string(r.crm.State(member(employee))[name])
}

func (r *rig) wantField(employee int, name, want string) {
	r.t.Helper()
	if got := r.field(employee, name); got != want {
		r.t.Errorf("member %d: %s = %s, want %s", employee, name, got, want)
	}
}

func (r *rig) letters() []dlq.Letter {
	r.t.Helper()
	var letters []dlq.Letter
	for _, m := range r.broker.ReadAll(r.t, r.topic+".dlq") {
		l, err := dlq.Parse(m)
		if err != nil {
			r.t.Fatal(err)
		}
		letters = append(letters, l)
	}
	return letters
}

// outcomes counts what the observer is told.
type outcomes struct {
	mu    sync.Mutex
	ended map[string][]consumer.Outcome // by event id
	calls []consumer.Called
}

func newOutcomes() *outcomes { return &outcomes{ended: make(map[string][]consumer.Outcome)} }

func (*outcomes) Arrived(mapper.Record, []mapper.Result) {}

func (o *outcomes) Called(c consumer.Called) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.calls = append(o.calls, c)
}

func (o *outcomes) Ended(e consumer.Ended) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended[e.Event.ID] = append(o.ended[e.Event.ID], e.Outcome)
}

func (o *outcomes) of(id string) []consumer.Outcome {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ended[id]
}

func logLevel() slog.Level {
	if os.Getenv("DEBUGLOG") != "" {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}
