package dlq_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"membersync/dlq"
	"membersync/dlq/kafkatest"
)

const retention = 720 * time.Hour

func spec(source string) dlq.TopicSpec {
	return dlq.TopicSpec{
		Topics:    dlq.Topics{Source: source, DLQ: source + ".dlq", Redrive: source + ".redrive", Audit: source + ".audit"},
		Retention: retention, Create: true,
	}
}

func TestEnsureTopicsCreatesWhatIsMissing(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	source := b.Topic(t, 5, map[string]string{"max.message.bytes": "2000000", "retention.ms": "12345678", "cleanup.policy": "compact"})
	s := spec(source)
	client := b.Client(t)
	if err := dlq.EnsureTopics(t.Context(), client, s); err != nil {
		t.Fatal(err)
	}
	of := layout(t, client, s)
	for name, retentionMs := range map[string]string{
		s.DLQ: "2592000000", s.Audit: "2592000000", s.Redrive: b.Configs(t, b.Topic(t, 1, nil))["retention.ms"],
	} {
		if diff := cmp.Diff(of[source], of[name]); diff != "" {
			t.Errorf("%s differs from the source topic (-source +topic):\n%s", name, diff)
		}
		got := b.Configs(t, name)
		for key, want := range map[string]string{
			"cleanup.policy": "delete", "retention.ms": retentionMs, "max.message.bytes": strconv.Itoa(2_000_000 + 65536),
		} {
			if got[key] != want {
				t.Errorf("%s of %s is %q, want %q", key, name, got[key], want)
			}
		}
	}
	if err := dlq.EnsureTopics(t.Context(), client, s); err != nil {
		t.Errorf("second call: %v", err)
	}
}

// Existing topics stay unchanged.
func TestEnsureTopicsChangesNothing(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	s := spec(b.Topic(t, 3, nil))
	s.Audit = b.Topic(t, 1, map[string]string{"retention.ms": "1000"})
	client := b.Client(t)
	if err := dlq.EnsureTopics(t.Context(), client, s); err != nil {
		t.Fatal(err)
	}
	if got := b.Configs(t, s.Audit)["retention.ms"]; got != "1000" {
		t.Errorf("retention.ms is %s now", got)
	}
	if got := layout(t, client, s)[s.Audit].Partitions; got != 1 {
		t.Errorf("%d partitions now", got)
	}
}

func TestEnsureTopicsLeavesRetentionToTheBroker(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	source := b.Topic(t, 1, nil)
	s := spec(source)
	s.Retention = 0
	if err := dlq.EnsureTopics(t.Context(), b.Client(t), s); err != nil {
		t.Fatal(err)
	}
	if got, want := b.Configs(t, s.DLQ)["retention.ms"], b.Configs(t, source)["retention.ms"]; got != want {
		t.Errorf("retention.ms is %s, want the broker's %s", got, want)
	}
}

func TestEnsureTopicsMissing(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	absent, present := b.Name(t), b.Topic(t, 1, nil)
	for name, c := range map[string]struct {
		source string
		create bool
		want   string
	}{
		"no source":                 {absent, false, absent},
		"no source, create is set":  {absent, true, absent},
		"no DLQ, create is not set": {present, false, present + ".dlq"},
	} {
		s := spec(c.source)
		s.Create = c.create
		client := b.Client(t)
		err := dlq.EnsureTopics(t.Context(), client, s)
		var missing *dlq.MissingTopicError
		if !errors.As(err, &missing) || missing.Topic != c.want || dlq.IsUnavailable(err) {
			t.Errorf("%s: error %v, want that %s is missing", name, err, c.want)
		}
		for topic := range layout(t, b.Client(t), s) {
			if topic != present {
				t.Errorf("%s: created %s", name, topic)
			}
		}
	}
}

func TestEnsureTopicsFromManyInstances(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	s := spec(b.Topic(t, 3, nil))
	var all sync.WaitGroup
	for range 8 {
		client := b.Client(t)
		all.Go(func() {
			if err := dlq.EnsureTopics(t.Context(), client, s); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := len(layout(t, b.Client(t), s)); got != 4 {
		t.Errorf("%d topics, want 4", got)
	}
}

// Another instance creates the topics after this one has found them missing.
func TestEnsureTopicsWhileAnotherInstanceCreatesThem(t *testing.T) {
	t.Parallel()
	b := kafkatest.StartFake(t)
	s := spec(b.Topic(t, 1, nil))
	b.Fake().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Topic: s.DLQ, Err: kerr.TopicAlreadyExists})
	if err := dlq.EnsureTopics(t.Context(), b.Client(t), s); err != nil {
		t.Error(err)
	}
}

func TestEnsureTopicsWarnsAboutASmallDLQ(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	s := spec(b.Topic(t, 1, map[string]string{"max.message.bytes": "2000000"}))
	s.DLQ = b.Topic(t, 1, map[string]string{"max.message.bytes": "2065535"})
	client := b.Client(t)
	var small *dlq.SmallTopicError
	err := dlq.EnsureTopics(t.Context(), client, s)
	if !errors.As(err, &small) || dlq.IsUnavailable(err) {
		t.Fatalf("error %v, want a warning", err)
	}
	if diff := cmp.Diff(&dlq.SmallTopicError{Topic: s.DLQ, Limit: 2_065_535, Need: 2_065_536}, small); diff != "" {
		t.Errorf("warning (-want +got):\n%s", diff)
	}
	if got := len(layout(t, client, s)); got != 4 {
		t.Errorf("%d topics, want 4: a warning must not prevent the creation", got)
	}
}

func TestEnsureTopicsFails(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		key         kmsg.Key
		response    *kerr.Error
		want        error
		unavailable bool
	}{
		{kmsg.CreateTopics, kerr.TopicAuthorizationFailed, kafka.TopicAuthorizationFailed, false},
		{kmsg.CreateTopics, kerr.PolicyViolation, kafka.PolicyViolation, false},
		{kmsg.CreateTopics, kerr.NotController, kafka.NotController, true},
		{kmsg.DescribeConfigs, kerr.TopicAuthorizationFailed, kafka.TopicAuthorizationFailed, false},
		{kmsg.DescribeConfigs, kerr.UnknownServerError, kafka.Unknown, true},
	} {
		b := kafkatest.StartFake(t)
		s := spec(b.Topic(t, 1, nil))
		b.Fake().Fault(kfake.Fault{Keys: []kmsg.Key{c.key}, Err: c.response, Count: -1})
		err := dlq.EnsureTopics(t.Context(), b.Client(t), s)
		if !errors.Is(err, c.want) || dlq.IsUnavailable(err) != c.unavailable {
			t.Errorf("%s %s: error %v", c.key.Name(), c.response.Message, err)
		}
	}
}

// A leader that does not know yet that it is one would fail the first reads and dead letters of a
// new service.
func TestEnsureTopicsWaitsForTheLeaders(t *testing.T) {
	t.Parallel()
	b := kafkatest.StartFake(t)
	s := spec(b.Topic(t, 3, nil))
	client := b.Client(t)
	b.Fake().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Err: kerr.NotLeaderForPartition, Count: 3})
	if err := dlq.EnsureTopics(t.Context(), client, s); err != nil {
		t.Fatal(err)
	}
	if err := offsetsOf(t, client, s.DLQ); err != nil {
		t.Errorf("after the topics were created: %v", err)
	}
	refused := b.Topic(t, 3, nil)
	b.Fake().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Err: kerr.TopicAuthorizationFailed, Count: -1})
	if err := offsetsOf(t, b.Client(t), refused); !errors.Is(err, kafka.TopicAuthorizationFailed) {
		t.Fatalf("the fault shows as %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := dlq.EnsureTopics(ctx, b.Client(t), spec(refused)); err != nil || ctx.Err() != nil {
		t.Errorf("EnsureTopics waits for credentials that may not list offsets: %v, %v", err, ctx.Err())
	}
}

func offsetsOf(t *testing.T, client *kafka.Client, topic string) error {
	t.Helper()
	res, err := client.ListOffsets(t.Context(), &kafka.ListOffsetsRequest{
		Topics: map[string][]kafka.OffsetRequest{topic: {kafka.FirstOffsetOf(0)}},
	})
	if err != nil {
		return err
	}
	return res.Topics[topic][0].Error
}

// If all topics exist, credentials that may not read settings suffice.
func TestEnsureTopicsWithoutTheRightToReadSettings(t *testing.T) {
	t.Parallel()
	b := kafkatest.StartFake(t)
	s := spec(b.Topic(t, 1, nil))
	client := b.Client(t)
	if err := dlq.EnsureTopics(t.Context(), client, s); err != nil {
		t.Fatal(err)
	}
	b.Fake().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeConfigs}, Err: kerr.TopicAuthorizationFailed, Count: -1})
	if err := dlq.EnsureTopics(t.Context(), client, s); err != nil {
		t.Error(err)
	}
}

func TestEnsureTopicsWithoutKafka(t *testing.T) {
	t.Parallel()
	transport := &kafka.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	client := &kafka.Client{Addr: kafka.TCP("127.0.0.1:1"), Transport: transport}
	if err := dlq.EnsureTopics(t.Context(), client, spec("in")); !dlq.IsUnavailable(err) {
		t.Errorf("error %v, want unavailable", err)
	}
}

type shape struct{ Partitions, Replicas int }

// layout returns the partitions and the replication factor of the topics that exist.
func layout(t *testing.T, client *kafka.Client, s dlq.TopicSpec) map[string]shape {
	t.Helper()
	res, err := client.Metadata(t.Context(), &kafka.MetadataRequest{Topics: []string{s.Source, s.DLQ, s.Redrive, s.Audit}})
	if err != nil {
		t.Fatal(err)
	}
	shapes := make(map[string]shape)
	for _, topic := range slices.DeleteFunc(res.Topics, func(t kafka.Topic) bool { return t.Error != nil }) {
		shapes[topic.Name] = shape{len(topic.Partitions), len(topic.Partitions[0].Replicas)}
	}
	return shapes
}
