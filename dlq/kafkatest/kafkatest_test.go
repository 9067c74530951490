package kafkatest_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/segmentio/kafka-go"
	"go.uber.org/goleak"

	"membersync/dlq/kafkatest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestProduceAndReadAllKeepEverything(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	topic := b.Topic(t, 3, nil)
	at := time.UnixMilli(1_700_000_000_123).UTC()
	want := []kafka.Message{
		{Partition: 0, Offset: 0, Key: nil, Value: []byte("a"), Time: at},
		{Partition: 0, Offset: 1, Key: []byte{}, Value: nil, Time: at.Add(-time.Hour)},
		{Partition: 2, Offset: 0, Key: []byte("k"), Value: []byte{}, Time: at, Headers: []kafka.Header{
			{Key: "h", Value: nil}, {Key: "h", Value: []byte{}}, {Key: "", Value: []byte{0xff, 0}},
		}},
	}
	b.Produce(t, topic, want...)
	got := b.ReadAll(t, topic)
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(kafka.Message{}, "Topic")); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	if got := b.ReadAll(t, b.Topic(t, 2, nil)); len(got) != 0 {
		t.Errorf("an empty topic holds %d records", len(got))
	}
}

func TestTransactions(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	topic := b.Topic(t, 1, nil)
	b.Produce(t, topic, text("before"))
	aborted := b.Begin(t)
	aborted.Produce(t, topic, text("aborted"))
	aborted.Abort(t)
	committed := b.Begin(t)
	committed.Produce(t, topic, text("committed"))
	committed.Commit(t)
	open := b.Begin(t)
	open.Produce(t, topic, text("open"))

	if diff := cmp.Diff([]string{"before", "committed"}, values(b.ReadAll(t, topic))); diff != "" {
		t.Errorf("committed records (-want +got):\n%s", diff)
	}
	if got := b.Ends(t, topic)[0]; got != 5 {
		t.Errorf("the open transaction starts at %d, want 5: one record, then two records with a marker each", got)
	}
	open.Abort(t)
	if got := b.Ends(t, topic)[0]; got != 7 {
		t.Errorf("the log ends at %d, want 7", got)
	}
	if got := b.ReadAll(t, topic); len(got) != 2 {
		t.Errorf("%d committed records, want 2", len(got))
	}
}

func TestCommitsAndLag(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	topic, group := b.Topic(t, 3, nil), b.Group(t)
	b.Produce(t, topic, text("a"), text("b"), text("c"), kafka.Message{Partition: 1, Value: []byte("d")})
	if got := b.Lag(t, group, topic); got != 4 {
		t.Errorf("lag is %d before any commit, want 4", got)
	}
	commit(t, b, group, topic, kafka.OffsetCommit{Partition: 0, Offset: 2, Metadata: "m"})
	want := map[int]kafkatest.Commit{0: {Offset: 2, Metadata: "m"}}
	if diff := cmp.Diff(want, b.Commits(t, group, topic)); diff != "" {
		t.Errorf("commits (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[int]int64{0: 2}, b.Committed(t, group, topic)); diff != "" {
		t.Errorf("offsets (-want +got):\n%s", diff)
	}
	if got := b.Lag(t, group, topic); got != 2 {
		t.Errorf("lag is %d, want 2", got)
	}
}

func TestDeleteRecordsMovesTheStart(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	topic, group := b.Topic(t, 1, nil), b.Group(t)
	b.Produce(t, topic, text("a"), text("b"), text("c"))
	b.DeleteRecords(t, topic, 0, 2)
	if diff := cmp.Diff([]string{"c"}, values(b.ReadAll(t, topic))); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	if got := b.Lag(t, group, topic); got != 1 {
		t.Errorf("lag is %d, want 1: deleted records do not count", got)
	}
}

func TestTopicsChange(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	topic := b.Topic(t, 1, map[string]string{"max.message.bytes": "4321"})
	if got := b.Configs(t, topic)["max.message.bytes"]; got != "4321" {
		t.Errorf("max.message.bytes is %q, want 4321", got)
	}
	b.Produce(t, topic, text("old"))
	b.Recreate(t, topic, 2, nil)
	b.Produce(t, topic, text("new"))
	b.AddPartitions(t, topic, 3)
	if diff := cmp.Diff([]string{"new"}, values(b.ReadAll(t, topic))); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[int]int64{0: 1, 1: 0, 2: 0}, b.Ends(t, topic)); diff != "" {
		t.Errorf("ends (-want +got):\n%s", diff)
	}
}

// The topics of a test are deleted with it, including those derived from its own.
func TestTopicsAreDeletedAtTheEnd(t *testing.T) { //nolint:tparallel // the inner test must end first
	t.Parallel()
	b := kafkatest.Start(t)
	var name string
	t.Run("test", func(t *testing.T) {
		name = b.Name(t)
		create(t, b, name+".dlq")
	})
	res, err := b.Client(t).Metadata(t.Context(), &kafka.MetadataRequest{Topics: []string{name + ".dlq"}})
	if err != nil {
		t.Fatal(err)
	}
	if res.Topics[0].Error == nil {
		t.Errorf("topic %s still exists", name+".dlq")
	}
}

func TestStartFakeIsAlwaysFake(t *testing.T) {
	t.Parallel()
	b := kafkatest.StartFake(t)
	if b.Real() || b.Fake() == nil || len(b.Addrs()) != 3 {
		t.Errorf("real %v, fake %v, addresses %v", b.Real(), b.Fake(), b.Addrs())
	}
}

func text(s string) kafka.Message { return kafka.Message{Value: []byte(s)} }

func values(msgs []kafka.Message) []string {
	var vs []string
	for _, m := range msgs {
		vs = append(vs, string(m.Value))
	}
	return vs
}

func commit(t *testing.T, b *kafkatest.Broker, group, topic string, c kafka.OffsetCommit) {
	t.Helper()
	res, err := b.Client(t).OffsetCommit(t.Context(), &kafka.OffsetCommitRequest{
		GroupID: group, GenerationID: -1, Topics: map[string][]kafka.OffsetCommit{topic: {c}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range res.Topics[topic] {
		if p.Error != nil {
			t.Fatal(p.Error)
		}
	}
}

func create(t *testing.T, b *kafkatest.Broker, topic string) {
	t.Helper()
	res, err := b.Client(t).CreateTopics(t.Context(), &kafka.CreateTopicsRequest{
		Topics: []kafka.TopicConfig{{Topic: topic, NumPartitions: 1, ReplicationFactor: 1}},
	})
	if err != nil || res.Errors[topic] != nil {
		t.Fatal(err, res.Errors[topic])
	}
}
