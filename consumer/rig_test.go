package consumer_test

import (
	"context"
	"flag"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
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
	kafka    *testKafka
	dlq      *testDLQ
	redis    *testRedis
	crm      *testCRM
	recorder *recorder
	logs     *logBuffer
	outcome  *outcomes

	callTimeout time.Duration // of the service: decides if a lease is young enough for a call
	gatherFor   time.Duration // 0: the service's default
	seq         int           // of the latest event of change
	replays     int
	instances   []*instance
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
	r := &rig{t: t, logs: &logBuffer{}, outcome: newOutcomes(), callTimeout: unending}
	r.kafka = newTestKafka(t, broker, partitions)
	r.dlq = &testDLQ{t, r.kafka}
	r.crm = newTestCRM(t, opts)
	r.recorder = &recorder{url: r.crm.url, members: make(map[dedupe.Member]leaseHistory)}
	t.Cleanup(func() { r.recorder.check(t) })
	r.redis = newTestRedis(t, "mstest-"+strings.ToLower(r.kafka.group), r.recorder)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(r.logs.String()[max(0, len(r.logs.String())-4000):])
		}
	})
	return r
}

// quick makes the rig's calls time out soon, and its leases expire soon after that.
func (r *rig) quick() *rig {
	r.callTimeout, r.crm.timeout, r.redis.lease = 700*time.Millisecond, 700*time.Millisecond, 3*time.Second
	return r
}

// withoutClientTimeout removes the timeout of the CRM client, for tests in which every call gets a
// response or a closed connection.
func (r *rig) withoutClientTimeout() *rig {
	r.crm.timeout = unending
	return r
}

// A change modifies the configuration and the parts of a service before it starts.
type change = func(*consumer.Config, *consumer.Parts)

// start starts a service, which ends with the test at the latest.
func (r *rig) start(changes ...change) *instance {
	t := r.t
	t.Helper()
	api := r.crm.client()
	registry := prometheus.NewRegistry()
	cfg, parts := r.config(), r.parts(api, registry)
	for _, c := range changes {
		c(&cfg, &parts)
	}
	ctx, cancel := context.WithCancel(context.Background())
	inst := &instance{rig: r, service: consumer.New(cfg, parts), registry: registry, cancel: cancel}
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
		Topic: r.kafka.topic, Group: r.kafka.group, Brokers: r.kafka.Addrs(),
		BufferRecords: 20000, BufferBytes: 32 << 20,
		DrainLimit: unending, Version: "test",
		CallConfig: consumer.CallConfig{
			BaseURL: r.crm.url, CorpID: corp, Concurrency: 16, CallTimeout: r.callTimeout, Lease: r.redis.lease,
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
	client := r.kafka.client()
	mapping, err := mapper.Builtin("canonical", mapper.Options{MaxRecordBytes: 1 << 20, MaxAhead: 24 * time.Hour})
	if err != nil {
		r.t.Fatal(err)
	}
	p := consumer.Parts{
		Kafka: client, Dialer: kafka.DefaultDialer, Mapper: mapping, Store: r.redis.store(), Marks: r.redis.store(), CRM: api,
		DeadLetters: dlq.NewWriter(client, r.kafka.topics().DLQ), Observer: r.outcome, Control: r.redis.store(),
		Metrics: consumer.NewMetrics(registry, crmapi.Table{}),
		Logger:  slog.New(slog.NewJSONHandler(r.logs, &slog.HandlerOptions{Level: slog.LevelInfo})),
	}
	r.recorder.install(&p, r.redis.lease)
	return p
}
