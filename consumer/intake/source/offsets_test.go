package source_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"

	"membersync/consumer/intake/source"
	"membersync/consumer/intake/watermark"
	"membersync/dlq/kafkatest"
)

func newOffsets(t *testing.T, b *kafkatest.Broker) *source.Offsets {
	t.Helper()
	return source.NewOffsets(b.Client(t), 10*time.Second)
}

// noMember commits for a group that has no members.
func noMember(group string) source.Member { return source.Member{Group: group, Generation: -1} }

func TestCommittedOffsetsAreReadBack(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	topic, group := b.Topic(t, 3, nil), b.Group(t)
	o := newOffsets(t, b)
	at := time.UnixMilli(1_700_000_000_123)
	err := o.Commit(t.Context(), noMember(group), topic, []source.Position{
		{Partition: 0, Offset: 8, Stamp: watermark.Stamp{Offset: 7, Time: at}},
		{Partition: 2, Offset: 1, Stamp: watermark.Stamp{Offset: -1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := o.Committed(t.Context(), group, topic, []int{0, 1, 2})
	if err != nil {
		t.Fatal(err)
	}
	want := map[int]source.Committed{
		0: {Offset: 8, Stamp: watermark.Stamp{Offset: 7, Time: at}},
		1: {Offset: -1, Stamp: watermark.Stamp{Offset: -1}},
		2: {Offset: 1, Stamp: watermark.Stamp{Offset: -1}},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })); diff != "" {
		t.Errorf("committed (-want +got):\n%s", diff)
	}
	if m := b.Commits(t, group, topic)[0].Metadata; len(m) > 4096 || !strings.HasPrefix(m, "membersync/1 ") {
		t.Errorf("metadata %q", m)
	}
}

func TestForeignMetadataIsNotAStamp(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	topic := b.Topic(t, 1, nil)
	for _, metadata := range []string{
		"", "x", "membersync/1", "membersync/1 ts=", "membersync/1 ts=1", "membersync/1 ts=1 offset=",
		"membersync/1 ts=x offset=1", "membersync/1 ts=1 offset=x", "membersync/1 ts=1 offset=1 ",
		"membersync/2 ts=1 offset=1", "membersync/1 ts=99999999999999999999 offset=1",
	} {
		group := b.Group(t)
		commitAs(t, b, group, topic, metadata)
		got, err := newOffsets(t, b).Committed(t.Context(), group, topic, []int{0})
		if err != nil {
			t.Fatal(err)
		}
		if got[0].Offset != 2 || got[0].Stamp.Offset != -1 {
			t.Errorf("metadata %q: %+v", metadata, got[0])
		}
	}
}

func commitAs(t *testing.T, b *kafkatest.Broker, group, topic, metadata string) {
	t.Helper()
	_, err := b.Client(t).OffsetCommit(t.Context(), &kafka.OffsetCommitRequest{
		GroupID: group, GenerationID: -1,
		Topics: map[string][]kafka.OffsetCommit{topic: {{Partition: 0, Offset: 2, Metadata: metadata}}},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Only a member of the current generation may commit.
func TestCommitsOfOthersAreFenced(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	topic, name := b.Topic(t, 1, nil), b.Group(t)
	group, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: name, Brokers: b.Addrs(), Topics: []string{topic}, HeartbeatInterval: 200 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = group.Close() })
	gen, err := group.Next(t.Context())
	for err != nil && t.Context().Err() == nil { // the coordinator may not be available yet
		gen, err = group.Next(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	o := newOffsets(t, b)
	mine := source.Member{Group: name, Generation: int(gen.ID), ID: gen.MemberID}
	position := []source.Position{{Partition: 0, Offset: 1, Stamp: watermark.Stamp{Offset: -1}}}
	if err := o.Commit(t.Context(), mine, topic, position); err != nil {
		t.Errorf("a member's own commit: %v", err)
	}
	for what, m := range map[string]source.Member{
		"an old generation": {Group: name, Generation: int(gen.ID) - 1, ID: gen.MemberID},
		"another member":    {Group: name, Generation: int(gen.ID), ID: "another-member"},
		"no member":         noMember(name),
	} {
		if err := o.Commit(t.Context(), m, topic, position); !source.Fenced(err) {
			t.Errorf("%s: %v, want a fenced commit", what, err)
		}
	}
	if source.Fenced(nil) || source.Fenced(kafka.NotCoordinatorForGroup) || source.Fenced(context.DeadlineExceeded) {
		t.Error("an error that a retry can resolve counts as fenced")
	}
}

func TestBoundsAreThoseOfTheLog(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	topic := b.Topic(t, 2, nil)
	for range 3 {
		b.Produce(t, topic, kafka.Message{Partition: 1, Value: []byte("x")})
	}
	b.DeleteRecords(t, topic, 1, 2)
	o := newOffsets(t, b)
	for partition, want := range [][2]int64{{0, 0}, {2, 3}} {
		first, end, err := o.Bounds(t.Context(), topic, partition)
		if err != nil || first != want[0] || end != want[1] {
			t.Errorf("partition %d: %d to %d, %v, want %v", partition, first, end, err, want)
		}
	}
	if _, _, err := o.Bounds(t.Context(), topic, 2); err == nil {
		t.Error("Bounds of a missing partition returned no error")
	}
}

func TestPartitionsAreListedInOrder(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	topic := b.Topic(t, 12, nil)
	o := newOffsets(t, b)
	ids, err := o.Partitions(t.Context(), topic)
	if diff := cmp.Diff([]int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, ids); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if _, err := o.Partitions(t.Context(), b.Name(t)); err == nil {
		t.Error("Partitions of a missing topic returned no error")
	}
}
