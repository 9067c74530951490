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
			t.Errorf("%s: written with the time %v, want now: retention counts from it", name, records[0].Time)
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
				d := sample()
				d.Key, d.Source.Offset = fmt.Appendf(nil, "E%d", e), int64(n)
				if err := w.Write(t.Context(), d); err != nil {
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
		d, err := dlq.Parse(r)
		if err != nil {
			t.Fatal(err)
		}
		at, ok := seen[string(r.Key)]
		if ok && at.partition != r.Partition {
			t.Errorf("dead letters of %s are in partitions %d and %d", r.Key, at.partition, r.Partition)
		}
		if int(d.Source.Offset) != at.next {
			t.Errorf("dead letter %d of %s is in the place of %d", d.Source.Offset, r.Key, at.next)
		}
		seen[string(r.Key)] = place{r.Partition, at.next + 1}
		used[r.Partition] = true
	}
	if len(records) != employees*each || len(used) < 2 {
		t.Errorf("%d records in %d partitions, want %d in several", len(records), len(used), employees*each)
	}
}

// Copies of one failure without a key go to the same partition. Different failures do not all go to
// one partition.
func TestWriteDistributesDeadLettersWithoutKeyByID(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	topic := b.Topic(t, 4, nil)
	w := dlq.NewWriter(b.Client(t), topic)
	for n := range 40 {
		d := sample()
		d.Key, d.Source.Offset = [][]byte{nil, {}}[n%2], int64(n/4)
		if err := w.Write(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	where := make(map[int64]int)
	used := make(map[int]bool)
	for _, r := range b.ReadAll(t, topic) {
		d, err := dlq.Parse(r)
		if err != nil {
			t.Fatal(err)
		}
		if p, ok := where[d.Source.Offset]; ok && p != r.Partition {
			t.Errorf("copies of %s are in partitions %d and %d", d.ID(), p, r.Partition)
		}
		where[d.Source.Offset], used[r.Partition] = r.Partition, true
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

// After any response other than success, the dead letter does not count as written.
func TestWriteFails(t *testing.T) {
	t.Parallel()
	b := kafkatest.StartFake(t)
	topic := b.Topic(t, 1, nil)
	w := dlq.NewWriter(b.Client(t), topic)
	for _, c := range []struct {
		response    *kerr.Error
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
		b.Fake().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: c.response})
		err := w.Write(t.Context(), sample())
		var failed *dlq.WriteError
		if !errors.As(err, &failed) || !errors.Is(err, c.want) {
			t.Errorf("%s: error %v, want a WriteError with %v", c.response.Message, err, c.want)
			continue
		}
		if failed.Topic != topic || failed.Partition != 0 || failed.ID != sample().ID() || failed.Size == 0 {
			t.Errorf("%s: %+v", c.response.Message, failed)
		}
		if got := dlq.IsUnavailable(err); got != c.unavailable {
			t.Errorf("%s: unavailable %v, want %v", c.response.Message, got, c.unavailable)
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
	d := sample()
	d.Value = random(t, 200_000)
	err := w.Write(t.Context(), d)
	if !errors.Is(err, dlq.ErrTooLarge) || dlq.IsUnavailable(err) {
		t.Errorf("error %v, want ErrTooLarge", err)
	}
	if got := b.ReadAll(t, topic); len(got) != 0 {
		t.Errorf("%d records", len(got))
	}
}

// The source topic's limit counts compressed bytes. A record that fits there must fit into the DLQ
// too.
func TestWriteCompressesLargeDeadLetters(t *testing.T) {
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
		t.Errorf("the value is restored with %d of %d bytes, error %v", len(got.Value), len(want.Value), err)
	}
}

// Write errors do not show the value, the key or the headers of the dead letter.
func TestWriteErrorsShowNoContent(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	topic := b.Topic(t, 1, map[string]string{"max.message.bytes": "100000"})
	const canary = "canary-00000000001"
	d := sample()
	d.Key, d.Value = []byte(canary), append(random(t, 200_000), canary...)
	d.Headers = []dlq.Header{{Key: "h", Value: []byte(canary)}}
	err := dlq.NewWriter(b.Client(t), topic).Write(t.Context(), d)
	if err == nil || strings.Contains(err.Error(), canary) {
		t.Errorf("error %v", err)
	}
	for _, h := range d.Message().Headers {
		if strings.HasPrefix(h.Key, "dlq.") && bytes.Contains(h.Value, []byte(canary)) {
			t.Errorf("header %s holds content", h.Key)
		}
	}
}

func TestWriteToAMissingTopicSucceedsOnceItExists(t *testing.T) {
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
	writeUntilReady(t, w, sample())
}

// The writer notices that a topic was recreated with fewer partitions.
func TestWriteFollowsTheTopic(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	topic := b.Topic(t, 8, nil)
	w := dlq.NewWriter(b.Client(t), topic)
	for n := range 8 {
		d := sample()
		d.Key = fmt.Appendf(nil, "E%d", n)
		writeUntilReady(t, w, d)
	}
	b.Recreate(t, topic, 1, nil)
	for n := range 8 {
		d := sample()
		d.Key = fmt.Appendf(nil, "E%d", n)
		writeUntilReady(t, w, d)
	}
	if got := len(b.ReadAll(t, topic)); got != 8 {
		t.Errorf("%d dead letters, want 8", got)
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
		writeUntilReady(t, w, sample())
	}
	if got := len(b.ReadAll(t, topic)); got != 3 {
		t.Errorf("%d dead letters, want 3", got)
	}
}

func TestWriteTimesOut(t *testing.T) {
	t.Parallel()
	b := kafkatest.StartFake(t)
	topic := b.Topic(t, 1, nil)
	blockProduce(b)
	err := dlq.NewWriter(b.Client(t), topic, dlq.WithTimeout(300*time.Millisecond)).Write(t.Context(), sample())
	var failed *dlq.WriteError
	if !errors.As(err, &failed) || !dlq.IsUnavailable(err) {
		t.Errorf("error %v, want a timeout", err)
	}
}

func TestWriteEndsWithTheContext(t *testing.T) {
	t.Parallel()
	b := kafkatest.StartFake(t)
	topic := b.Topic(t, 1, nil)
	cause := errors.New("the partition was lost")
	ctx, cancel := context.WithCancelCause(t.Context())
	b.Fake().ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		cancel(cause)
		return nil, nil, true // no response
	})
	err := dlq.NewWriter(b.Client(t), topic).Write(ctx, sample())
	if !errors.Is(err, cause) || !errors.Is(err, context.Canceled) || dlq.IsUnavailable(err) {
		t.Errorf("error %v, want the cause, and not unavailable", err)
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

// writeUntilReady repeats the write while Kafka is not ready, as the service does.
func writeUntilReady(t *testing.T, w *dlq.Writer, d dlq.DeadLetter) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := w.Write(ctx, d)
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

// blockProduce makes the broker send no response to any produce request.
func blockProduce(b *kafkatest.Broker) {
	b.Fake().ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		b.Fake().KeepControl()
		return nil, nil, true
	})
}

// sameBytes compares like cmp, but faster.
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
