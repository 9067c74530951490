package dlq_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
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

func TestWriteKeepsTheRecordByteForByte(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	for name, c := range map[string]struct{ key, value []byte }{
		"text":   {[]byte("E1001"), []byte(`{"eventId":"ev-1"}`)},
		"nil":    {nil, nil},
		"empty":  {[]byte{}, []byte{}},
		"binary": {[]byte{0, 0xff}, []byte("\x00\x01\xfe\xff\r\n")},
		"large":  {[]byte("E1001"), random(t, 900<<10)},
	} {
		topic := b.Topic(t, 3, nil)
		want := sample()
		want.Key, want.Value = c.key, c.value
		want.Headers = []dlq.Header{{Key: "n", Value: nil}, {Key: "e", Value: []byte{}}, {Key: "dlq.id", Value: []byte{0xff}}, {Key: "n", Value: nil}}
		before := time.Now().Add(-time.Minute)
		if err := dlq.NewWriter(b.Client(t), topic).Write(t.Context(), want); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		records := b.ReadAll(t, topic)
		if len(records) != 1 {
			t.Fatalf("%s: %d records", name, len(records))
		}
		got, err := dlq.Parse(records[0])
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(sameBytes)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if records[0].Time.Before(before) {
			t.Errorf("%s: written with the time %v: retention counts from there", name, records[0].Time)
		}
	}
}

func TestWriteKeepsTheOrderOfAKey(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	topic := b.Topic(t, 4, nil)
	w := dlq.NewWriter(b.Client(t), topic)
	const employees, each = 16, 8
	var all sync.WaitGroup
	for e := range employees {
		all.Go(func() {
			for n := range each {
				l := sample()
				l.Key, l.Source.Offset = fmt.Appendf(nil, "E%d", e), int64(n)
				if err := w.Write(t.Context(), l); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	type place struct{ partition, next int }
	seen := make(map[string]place)
	used := make(map[int]bool)
	records := b.ReadAll(t, topic)
	for _, r := range records {
		l, err := dlq.Parse(r)
		if err != nil {
			t.Fatal(err)
		}
		at, ok := seen[string(r.Key)]
		if ok && at.partition != r.Partition {
			t.Errorf("letters of %s are in partitions %d and %d", r.Key, at.partition, r.Partition)
		}
		if int(l.Source.Offset) != at.next {
			t.Errorf("letter %d of %s stands where %d should", l.Source.Offset, r.Key, at.next)
		}
		seen[string(r.Key)] = place{r.Partition, at.next + 1}
		used[r.Partition] = true
	}
	if len(records) != employees*each || len(used) < 2 {
		t.Errorf("%d records in %d partitions, want %d in several", len(records), len(used), employees*each)
	}
}

// Copies of one death without a key stay together, and all of them do not end in one partition.
func TestWriteSpreadsLettersWithoutKeyByID(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	topic := b.Topic(t, 4, nil)
	w := dlq.NewWriter(b.Client(t), topic)
	for n := range 40 {
		l := sample()
		l.Key, l.Source.Offset = [][]byte{nil, {}}[n%2], int64(n/4)
		if err := w.Write(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	where := make(map[int64]int)
	used := make(map[int]bool)
	for _, r := range b.ReadAll(t, topic) {
		l, err := dlq.Parse(r)
		if err != nil {
			t.Fatal(err)
		}
		if p, ok := where[l.Source.Offset]; ok && p != r.Partition {
			t.Errorf("copies of %s are in partitions %d and %d", l.ID(), p, r.Partition)
		}
		where[l.Source.Offset], used[r.Partition] = r.Partition, true
	}
	if len(where) != 10 || len(used) < 2 {
		t.Errorf("%d items in %d partitions, want 10 in several", len(where), len(used))
	}
}

func TestWriteAsksForAllReplicasOnce(t *testing.T) {
	t.Parallel()
	b := kafkatest.StartFake(t)
	topic := b.Topic(t, 1, nil)
	var acks []int16
	var timeouts []int32
	b.Fake().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Count: -1, Err: kerr.NotEnoughReplicas, When: func(r kmsg.Request) bool {
		p, ok := r.(*kmsg.ProduceRequest)
		if ok {
			acks, timeouts = append(acks, p.Acks), append(timeouts, p.TimeoutMillis)
		}
		return ok
	}})
	err := dlq.NewWriter(b.Client(t), topic, dlq.WithTimeout(8*time.Second)).Write(t.Context(), sample())
	if !errors.Is(err, kafka.NotEnoughReplicas) || !dlq.IsUnavailable(err) {
		t.Errorf("error %v", err)
	}
	if !slices.Equal(acks, []int16{-1}) {
		t.Errorf("produce requests with acks %v, want one for all replicas", acks)
	}
	if len(timeouts) > 0 && (timeouts[0] < 3000 || timeouts[0] > 4000) {
		t.Errorf("the replicas have %d ms, want about 4000", timeouts[0])
	}
}

// Whatever the broker answers but success, the letter does not count as written.
func TestWriteFails(t *testing.T) {
	t.Parallel()
	b := kafkatest.StartFake(t)
	topic := b.Topic(t, 1, nil)
	w := dlq.NewWriter(b.Client(t), topic)
	for _, c := range []struct {
		answer      *kerr.Error
		want        error
		unavailable bool
	}{
		{kerr.NotEnoughReplicas, kafka.NotEnoughReplicas, true},
		{kerr.NotEnoughReplicasAfterAppend, kafka.NotEnoughReplicasAfterAppend, true},
		{kerr.RequestTimedOut, kafka.RequestTimedOut, true},
		{kerr.NotLeaderForPartition, kafka.NotLeaderForPartition, true},
		{kerr.UnknownServerError, kafka.Unknown, true},
		{kerr.KafkaStorageError, kafka.KafkaStorageError, true},
		{kerr.MessageTooLarge, dlq.ErrTooLarge, false},
		{kerr.RecordListTooLarge, dlq.ErrTooLarge, false},
		{kerr.TopicAuthorizationFailed, kafka.TopicAuthorizationFailed, false},
		{kerr.InvalidTimestamp, kafka.InvalidTimestamp, false},
		{kerr.InvalidRecord, kafka.InvalidRecord, false},
		{kerr.PolicyViolation, kafka.PolicyViolation, false},
	} {
		b.Fake().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: c.answer})
		err := w.Write(t.Context(), sample())
		var failed *dlq.WriteError
		if !errors.As(err, &failed) || !errors.Is(err, c.want) {
			t.Errorf("%s: error %v, want a WriteError with %v", c.answer.Message, err, c.want)
			continue
		}
		if failed.Topic != topic || failed.Partition != 0 || failed.ID != "3:42:1" || failed.Size == 0 {
			t.Errorf("%s: %+v", c.answer.Message, failed)
		}
		if got := dlq.IsUnavailable(err); got != c.unavailable {
			t.Errorf("%s: unavailable %v, want %v", c.answer.Message, got, c.unavailable)
		}
	}
	if err := w.Write(t.Context(), sample()); err != nil {
		t.Errorf("after the faults: %v", err)
	}
}

func TestWriteTooLarge(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	topic := b.Topic(t, 1, map[string]string{"max.message.bytes": "100000"})
	w := dlq.NewWriter(b.Client(t), topic)
	l := sample()
	l.Value = random(t, 200_000)
	err := w.Write(t.Context(), l)
	if !errors.Is(err, dlq.ErrTooLarge) || dlq.IsUnavailable(err) {
		t.Errorf("error %v, want one of the size", err)
	}
	if got := b.ReadAll(t, topic); len(got) != 0 {
		t.Errorf("%d records", len(got))
	}
}

// The source's limit counts compressed bytes: such a record must fit into the DLQ too.
func TestWriteCompressesLargeLetters(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	topic := b.Topic(t, 1, map[string]string{"max.message.bytes": "100000"})
	want := sample()
	want.Value = bytes.Repeat([]byte("0123456789"), 300_000)
	if err := dlq.NewWriter(b.Client(t), topic).Write(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	got, err := dlq.Parse(b.ReadAll(t, topic)[0])
	if err != nil || !bytes.Equal(got.Value, want.Value) {
		t.Errorf("the value came back with %d of %d bytes, error %v", len(got.Value), len(want.Value), err)
	}
}

// No error of a letter shows its value, its key or its headers.
func TestWriteErrorsShowNoContent(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	topic := b.Topic(t, 1, map[string]string{"max.message.bytes": "100000"})
	const canary = "canary-00000000001"
	l := sample()
	l.Key, l.Value = []byte(canary), append(random(t, 200_000), canary...)
	l.Headers = []dlq.Header{{Key: "h", Value: []byte(canary)}}
	err := dlq.NewWriter(b.Client(t), topic).Write(t.Context(), l)
	if err == nil || strings.Contains(err.Error(), canary) {
		t.Errorf("error %v", err)
	}
	for _, h := range l.Message().Headers {
		if strings.HasPrefix(h.Key, "dlq.") && bytes.Contains(h.Value, []byte(canary)) {
			t.Errorf("header %s holds content", h.Key)
		}
	}
}

func TestWriteToAMissingTopicSucceedsOnceItIsThere(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	topic := b.Name(t)
	client := b.Client(t)
	w := dlq.NewWriter(client, topic)
	var failed *dlq.WriteError
	if err := w.Write(t.Context(), sample()); !errors.As(err, &failed) || !dlq.IsUnavailable(err) || failed.Partition != -1 {
		t.Errorf("error %v, want unavailable", err)
	}
	if _, err := client.CreateTopics(t.Context(), &kafka.CreateTopicsRequest{
		Topics: []kafka.TopicConfig{{Topic: topic, NumPartitions: 2, ReplicationFactor: 1}},
	}); err != nil {
		t.Fatal(err)
	}
	writeAtLast(t, w, sample())
}

// A topic that is made anew with fewer partitions is noticed.
func TestWriteFollowsTheTopic(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	topic := b.Topic(t, 8, nil)
	w := dlq.NewWriter(b.Client(t), topic)
	for n := range 8 {
		l := sample()
		l.Key = fmt.Appendf(nil, "E%d", n)
		writeAtLast(t, w, l)
	}
	b.Recreate(t, topic, 1, nil)
	for n := range 8 {
		l := sample()
		l.Key = fmt.Appendf(nil, "E%d", n)
		writeAtLast(t, w, l)
	}
	if got := len(b.ReadAll(t, topic)); got != 8 {
		t.Errorf("%d letters, want 8", got)
	}
}

func TestWriteFollowsTheLeader(t *testing.T) {
	t.Parallel()
	b := kafkatest.StartFake(t)
	topic := b.Topic(t, 1, nil)
	w := dlq.NewWriter(b.Client(t), topic)
	for node := range int32(3) {
		if err := b.Fake().MoveTopicPartition(topic, 0, node); err != nil {
			t.Fatal(err)
		}
		writeAtLast(t, w, sample())
	}
	if got := len(b.ReadAll(t, topic)); got != 3 {
		t.Errorf("%d letters, want 3", got)
	}
}

func TestWriteEndsWithItsTime(t *testing.T) {
	t.Parallel()
	b := kafkatest.StartFake(t)
	topic := b.Topic(t, 1, nil)
	hang(b)
	err := dlq.NewWriter(b.Client(t), topic, dlq.WithTimeout(300*time.Millisecond)).Write(t.Context(), sample())
	var failed *dlq.WriteError
	if !errors.As(err, &failed) || !dlq.IsUnavailable(err) {
		t.Errorf("error %v, want a time-out", err)
	}
}

func TestWriteEndsWithItsContext(t *testing.T) {
	t.Parallel()
	b := kafkatest.StartFake(t)
	topic := b.Topic(t, 1, nil)
	cause := errors.New("the partition was lost")
	ctx, cancel := context.WithCancelCause(t.Context())
	b.Fake().ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		cancel(cause)
		return nil, nil, true // never answered
	})
	err := dlq.NewWriter(b.Client(t), topic).Write(ctx, sample())
	if !errors.Is(err, cause) || !errors.Is(err, context.Canceled) || dlq.IsUnavailable(err) {
		t.Errorf("error %v, want the cause, and not Kafka to blame", err)
	}
}

func TestWriteWithoutKafka(t *testing.T) {
	t.Parallel()
	transport := &kafka.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	w := dlq.NewWriter(&kafka.Client{Addr: kafka.TCP("127.0.0.1:1"), Transport: transport}, "dlq")
	if err := w.Write(t.Context(), sample()); !dlq.IsUnavailable(err) {
		t.Errorf("error %v, want unavailable", err)
	}
}

// writeAtLast writes again while Kafka is not ready, as the service does.
func writeAtLast(t *testing.T, w *dlq.Writer, l dlq.DeadLetter) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := w.Write(ctx, l)
		if err == nil {
			return
		}
		if !dlq.IsUnavailable(err) {
			t.Fatal(err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal(err)
		}
	}
}

// hang lets every produce request go unanswered.
func hang(b *kafkatest.Broker) {
	b.Fake().ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		b.Fake().KeepControl()
		return nil, nil, true
	})
}

// sameBytes is what cmp does, but fast.
func sameBytes(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }

// random returns bytes that cannot be compressed.
func random(t *testing.T, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}
