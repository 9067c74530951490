package kafkatest

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Env is the name of the environment variable that holds the comma-separated addresses of a real
// Kafka.
const Env = "MEMBERSYNC_TEST_KAFKA"

const (
	opTimeout     = 30 * time.Second
	timeoutMillis = int32(opTimeout / time.Millisecond)
	maxBatchBytes = 16 << 20
)

var (
	errTimeout = errors.New("kafkatest: the operation took too long")
	errNotYet  = errors.New("kafkatest: the cluster is not ready yet")
)

// A Broker is a Kafka cluster for one test. Its methods fail the test when the cluster returns an
// error. They are safe for concurrent use.
type Broker struct {
	*cluster
	*Topics
	*Offsets
	*Records
}

type (
	// Topics creates, changes and deletes topics.
	Topics struct{ *cluster }
	// Offsets reads those of topics and groups.
	Offsets struct{ *Topics }
	// Records writes and reads records.
	Records struct{ *Offsets }

	// cluster is what the parts share.
	cluster struct {
		addrs []string
		fake  *kfake.Cluster // nil for a real Kafka
		kgo   *kgo.Client    // for what kafka-go cannot do, and for writes without duplicates
	}
)

// Start returns the real Kafka that [Env] names. If Env is not set, it returns a fake cluster of
// the test's own.
func Start(tb testing.TB) *Broker {
	tb.Helper()
	if env := os.Getenv(Env); env != "" {
		return connect(tb, &cluster{addrs: strings.Split(env, ",")})
	}
	return StartFake(tb)
}

// StartFake returns a fake cluster of three brokers even if [Env] names a real Kafka. It is for
// tests that inject faults through [Broker.Fake].
func StartFake(tb testing.TB, opts ...kfake.Opt) *Broker {
	tb.Helper()
	defaults := []kfake.Opt{kfake.NumBrokers(3), kfake.GroupMinSessionTimeout(time.Second)}
	fake, err := kfake.NewCluster(append(defaults, opts...)...)
	if err != nil {
		tb.Fatalf("starting a fake Kafka: %v", err)
	}
	tb.Cleanup(fake.Close)
	return connect(tb, &cluster{addrs: fake.ListenAddrs(), fake: fake})
}

func connect(tb testing.TB, c *cluster) *Broker {
	tb.Helper()
	c.kgo = c.newKgo(tb)
	topics := &Topics{c}
	offsets := &Offsets{topics}
	return &Broker{cluster: c, Topics: topics, Offsets: offsets, Records: &Records{offsets}}
}

// newKgo returns a franz-go client that is closed at the end of the test.
func (c *cluster) newKgo(tb testing.TB, opts ...kgo.Opt) *kgo.Client {
	tb.Helper()
	base := []kgo.Opt{
		kgo.SeedBrokers(c.addrs...),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProducerBatchMaxBytes(maxBatchBytes),
		kgo.MetadataMinAge(50 * time.Millisecond),
	}
	cl, err := kgo.NewClient(append(base, opts...)...)
	if err != nil {
		tb.Fatalf("creating a Kafka client: %v", err)
	}
	tb.Cleanup(cl.Close)
	return cl
}

// Real reports whether the cluster is a real Kafka.
func (c *cluster) Real() bool { return c.fake == nil }

// Fake returns the fake cluster, or nil for a real Kafka.
func (c *cluster) Fake() *kfake.Cluster { return c.fake }

// Addrs returns the addresses of the brokers.
func (c *cluster) Addrs() []string { return c.addrs }

// int32of converts a partition number or a partition count.
func int32of(n int) int32 { return int32(n) } //nolint:gosec // int in kafka-go, int32 in the protocol

// unique returns a name that no other test uses.
func unique() string { return "test-" + strings.ToLower(rand.Text()) }

// bounded returns the test's context with a timeout. It also works during cleanup.
func bounded(tb testing.TB) (context.Context, context.CancelFunc) {
	tb.Helper()
	return context.WithTimeoutCause(context.WithoutCancel(tb.Context()), opTimeout, errTimeout)
}

// retry repeats f while the cluster is not ready for it: a broker does not know a new topic yet, a
// coordinator is moving, or a deleted topic still exists.
func (c *cluster) retry(tb testing.TB, what string, f func(context.Context) error) {
	tb.Helper()
	ctx, cancel := bounded(tb)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f(ctx)
		if !kerr.IsRetriable(err) && !errors.Is(err, kerr.TopicAlreadyExists) && !errors.Is(err, errNotYet) {
			check(tb, what, err)
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			tb.Fatalf("%s: %v: %v", what, context.Cause(ctx), err)
		}
	}
}

func check(tb testing.TB, what string, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatalf("%s: %v", what, err)
	}
}
