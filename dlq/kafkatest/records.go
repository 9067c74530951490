package kafkatest

import (
	"context"
	"slices"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Produce writes messages to a topic, acknowledged by all replicas and without duplicates. Each
// message goes to the partition that it names, with its own time, key, value and headers. The zero
// time means now. Messages of one partition keep their order.
func (b *Records) Produce(tb testing.TB, topic string, msgs ...kafka.Message) {
	tb.Helper()
	ctx, cancel := bounded(tb)
	defer cancel()
	produce(ctx, tb, b.kgo, topic, msgs)
}

func produce(ctx context.Context, tb testing.TB, cl *kgo.Client, topic string, msgs []kafka.Message) {
	tb.Helper()
	records := make([]*kgo.Record, len(msgs))
	for i, m := range msgs {
		r := &kgo.Record{Topic: topic, Partition: int32of(m.Partition), Timestamp: m.Time, Key: m.Key, Value: m.Value}
		for _, h := range m.Headers {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
		records[i] = r
	}
	check(tb, "producing", cl.ProduceSync(ctx, records...).FirstErr())
}

// ReadAll returns the committed records of a topic, from the start of each partition to its current
// end, sorted by partition and offset.
func (b *Records) ReadAll(tb testing.TB, topic string) []kafka.Message {
	tb.Helper()
	first, last := b.offsets(tb, topic)
	open := make(map[int32]int64) // the end offsets of the partitions not yet read to their end
	from := make(map[int32]kgo.Offset)
	for p, end := range last {
		if first[p] < end {
			open[int32of(p)] = end
			from[int32of(p)] = kgo.NewOffset().At(first[p])
		}
	}
	if len(open) == 0 {
		return nil
	}
	cl := b.newKgo(tb, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.FetchMaxPartitionBytes(maxBatchBytes))
	defer cl.Close()
	ctx, cancel := bounded(tb)
	defer cancel()
	var msgs []kafka.Message
	for len(open) > 0 {
		fetches := cl.PollFetches(ctx)
		check(tb, "reading "+topic, fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			end, wanted := open[r.Partition]
			if r.Offset+1 >= end {
				delete(open, r.Partition)
			}
			if wanted && r.Offset < end && !r.Attrs.IsControl() {
				msgs = append(msgs, message(r))
			}
		})
	}
	slices.SortFunc(msgs, func(a, b kafka.Message) int {
		if a.Partition != b.Partition {
			return a.Partition - b.Partition
		}
		return int(a.Offset - b.Offset)
	})
	return msgs
}

func message(r *kgo.Record) kafka.Message {
	m := kafka.Message{
		Topic: r.Topic, Partition: int(r.Partition), Offset: r.Offset,
		Key: r.Key, Value: r.Value, Time: r.Timestamp.UTC(),
	}
	for _, h := range r.Headers {
		m.Headers = append(m.Headers, kafka.Header{Key: h.Key, Value: h.Value})
	}
	return m
}
