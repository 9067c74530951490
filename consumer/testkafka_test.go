package consumer_test

import (
	"context"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"membersync/consumer"
	"membersync/dlq"
	"membersync/dlq/kafkatest"
)

// A testKafka is a Kafka with the source topic and membersync's own topics, and the group of the
// services.
type testKafka struct {
	*kafkatest.Broker
	t     *testing.T
	topic string // the source topic
	group string
}

func newTestKafka(t *testing.T, broker *kafkatest.Broker, partitions int) *testKafka {
	t.Helper()
	k := &testKafka{Broker: broker, t: t, topic: broker.Topic(t, partitions, nil), group: broker.Group(t)}
	k.ensureTopics()
	return k
}

func (k *testKafka) topics() dlq.Topics {
	return dlq.Topics{Source: k.topic, DLQ: k.topic + ".dlq", Redrive: k.topic + ".redrive", Audit: k.topic + ".audit"}
}

func (k *testKafka) ensureTopics() {
	k.t.Helper()
	spec := dlq.TopicSpec{Topics: k.topics(), Create: true}
	if err := dlq.EnsureTopics(k.t.Context(), k.client(), spec); err != nil {
		k.t.Fatal(err)
	}
}

// creating lets a service create membersync's own topics, as the program does.
func (k *testKafka) creating(_ *consumer.Config, p *consumer.Parts) {
	p.EnsureTopics = func(ctx context.Context) error {
		return dlq.EnsureTopics(ctx, p.Kafka, dlq.TopicSpec{Topics: k.topics(), Create: true})
	}
}

// client returns a Kafka client that fetches the cluster's metadata as rarely as a whole service
// tolerates: every 2 s.
func (k *testKafka) client() *kafka.Client {
	k.t.Helper()
	return k.ClientLooking(k.t, 2*time.Second)
}

// produce writes records to the source topic.
func (k *testKafka) produce(msgs ...kafka.Message) {
	k.t.Helper()
	k.Produce(k.t, k.topic, msgs...)
}

// produceZstd writes one compressed batch.
func (k *testKafka) produceZstd(msgs ...kafka.Message) {
	k.t.Helper()
	var records []kafka.Record
	for _, m := range msgs {
		records = append(records, kafka.Record{Key: kafka.NewBytes(m.Key), Value: kafka.NewBytes(m.Value), Headers: m.Headers, Time: m.Time})
	}
	res, err := k.client().Produce(k.t.Context(), &kafka.ProduceRequest{
		Topic: k.topic, RequiredAcks: kafka.RequireAll, Compression: kafka.Zstd, Records: kafka.NewRecordReader(records...),
	})
	if err == nil {
		err = res.Error
	}
	if err != nil {
		k.t.Fatal(err)
	}
}

// lag returns how many records of a topic are not committed.
func (k *testKafka) lag(topic string) int64 {
	k.t.Helper()
	return k.Lag(k.t, k.group, topic)
}

// committed returns the group's committed offset of a partition of the source topic; -1 if nothing
// was committed.
func (k *testKafka) committed(partition int) int64 {
	k.t.Helper()
	if at, ok := k.Committed(k.t, k.group, k.topic)[partition]; ok {
		return at
	}
	return -1
}

// restore commits the former offset again. Deleting a topic deletes its offsets too, but not where
// the topic was mirrored, or was restored from a backup.
func (k *testKafka) restore(c kafkatest.Commit) {
	k.t.Helper()
	res, err := k.client().OffsetCommit(k.t.Context(), &kafka.OffsetCommitRequest{
		GroupID: k.group, GenerationID: -1,
		Topics: map[string][]kafka.OffsetCommit{k.topic: {{Partition: 0, Offset: c.Offset, Metadata: c.Metadata}}},
	})
	if err != nil || res.Topics[k.topic][0].Error != nil {
		k.t.Fatal(err, res)
	}
}

// all returns the ranges of the whole source topic, up to its current end.
func (k *testKafka) all() []consumer.Range {
	k.t.Helper()
	var ranges []consumer.Range
	for partition, end := range k.Ends(k.t, k.topic) {
		ranges = append(ranges, consumer.Range{Topic: k.topic, Partition: partition, End: end})
	}
	return ranges
}
