package partlog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/segmentio/kafka-go"
)

// A Range holds the offsets of a partition's committed records: from First up to, not including,
// End.
type Range struct{ First, End int64 }

const lookupTimeout = 15 * time.Second

var errLookupTimeout = errors.New("no response to a topic lookup in time")

// Ranges returns what each partition of the topic holds now, up to its last stable offset. That is
// where a reader of committed records stops. It fails with kafka.UnknownTopicOrPartition if the
// topic does not exist.
func (l *Log) Ranges(ctx context.Context, topic string) (map[int]Range, error) {
	var ranges map[int]Range
	err := retryLookup(ctx, func(ctx context.Context) (err error) {
		ranges, err = l.ranges(ctx, topic)
		return err
	})
	return ranges, err
}

func (l *Log) ranges(ctx context.Context, topic string) (map[int]Range, error) {
	ids, err := l.Partitions(ctx, topic)
	if err != nil {
		return nil, err
	}
	first, err := l.offsets(ctx, topic, ids, kafka.FirstOffset)
	if err != nil {
		return nil, err
	}
	end, err := l.offsets(ctx, topic, ids, kafka.LastOffset)
	if err != nil {
		return nil, err
	}
	ranges := make(map[int]Range, len(ids))
	for _, id := range ids {
		ranges[id] = Range{first[id], max(first[id], end[id])}
	}
	return ranges, nil
}

// HighWatermark returns the end of a partition for a reader that does not wait for transactions. It
// is above the end of [Log.Ranges] while one is open.
func (l *Log) HighWatermark(ctx context.Context, topic string, partition int) (int64, error) {
	var end int64
	err := retryLookup(ctx, func(ctx context.Context) error {
		found, err := l.offsetsAt(ctx, topic, []int{partition}, kafka.LastOffset, kafka.ReadUncommitted)
		end = found[partition]
		return err
	})
	return end, err
}

// Since returns, for each partition, the offset of the first record whose timestamp is at or after
// the given time. Partitions without such a record are absent.
func (l *Log) Since(ctx context.Context, topic string, at time.Time) (map[int]int64, error) {
	var found map[int]int64
	err := retryLookup(ctx, func(ctx context.Context) error {
		ids, err := l.Partitions(ctx, topic)
		if err == nil {
			found, err = l.offsets(ctx, topic, ids, max(at.UnixMilli(), 0))
		}
		return err
	})
	return found, err
}

// retryLookup repeats a lookup until it succeeds, fails with a final error or times out.
func retryLookup(ctx context.Context, lookup func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, lookupTimeout, errLookupTimeout)
	defer cancel()
	var err error
	once := func() error {
		if err = lookup(ctx); !temporary(err) || errors.Is(err, kafka.UnknownTopicOrPartition) {
			return backoff.Permanent(err)
		}
		return err
	}
	if backoff.Retry(once, backoff.WithContext(newBackoff(), ctx)) == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return err
}

func newBackoff() *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(50*time.Millisecond), backoff.WithMaxElapsedTime(retryTimeout),
	)
}

// Partitions returns the ids of the topic's partitions. It fails with kafka.UnknownTopicOrPartition
// if the topic does not exist.
func (l *Log) Partitions(ctx context.Context, topic string) ([]int, error) {
	ids, err := l.partitions(ctx, topic)
	if !errors.Is(err, kafka.UnknownTopicOrPartition) {
		return ids, err
	}
	// kafka.Transport responds from metadata that may be seconds old: the topic may be newer. It reads
	// the metadata again after a request to create topics. This one creates none.
	if _, refused := l.client.CreateTopics(ctx, &kafka.CreateTopicsRequest{}); refused != nil {
		return nil, err
	}
	return l.partitions(ctx, topic)
}

func (l *Log) partitions(ctx context.Context, topic string) ([]int, error) {
	res, err := l.client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return nil, fmt.Errorf("looking up topic %s: %w", topic, ofRequest(err))
	}
	for _, t := range res.Topics {
		if t.Name != topic {
			continue
		}
		if t.Error != nil {
			return nil, fmt.Errorf("looking up topic %s: %w", topic, OnTopic("Describe", topic, t.Error))
		}
		ids := make([]int, 0, len(t.Partitions))
		for _, p := range t.Partitions {
			ids = append(ids, p.ID)
		}
		return ids, nil
	}
	return nil, fmt.Errorf("looking up topic %s: %w", topic, kafka.UnknownTopicOrPartition)
}

// ofRequest returns the error of a request without the name of kafka-go's method, which kafka-go
// puts in front of it. Operators read the rest.
func ofRequest(err error) error {
	if cause := errors.Unwrap(err); cause != nil && strings.HasPrefix(err.Error(), "kafka.(*Client).") {
		return cause
	}
	return err
}

// offsets requests one kind of offset for all given partitions. A partition is absent from the
// result if the broker returned none for it.
func (l *Log) offsets(ctx context.Context, topic string, ids []int, at int64) (map[int]int64, error) {
	return l.offsetsAt(ctx, topic, ids, at, kafka.ReadCommitted)
}

func (l *Log) offsetsAt(
	ctx context.Context, topic string, ids []int, at int64, level kafka.IsolationLevel,
) (map[int]int64, error) {
	requests := make([]kafka.OffsetRequest, 0, len(ids))
	for _, id := range ids {
		requests = append(requests, kafka.OffsetRequest{Partition: id, Timestamp: at})
	}
	res, err := l.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{
		Topics: map[string][]kafka.OffsetRequest{topic: requests}, IsolationLevel: level,
	})
	if err != nil {
		return nil, fmt.Errorf("listing offsets of %s: %w", topic, ofRequest(Explain(ctx, l.client, topic, err)))
	}
	found := make(map[int]int64, len(ids))
	for _, p := range res.Topics[topic] {
		if p.Error != nil {
			return nil, fmt.Errorf("listing offsets of %s/%d: %w", topic, p.Partition, OnTopic("Describe", topic, p.Error))
		}
		switch at {
		case kafka.FirstOffset:
			found[p.Partition] = p.FirstOffset
		case kafka.LastOffset:
			found[p.Partition] = p.LastOffset
		default:
			for offset := range p.Offsets {
				if offset >= 0 {
					found[p.Partition] = offset
				}
			}
		}
	}
	return found, nil
}

// retryTimeout is how long a request is retried before the read fails.
const retryTimeout = 15 * time.Second

// Read visits the records of a partition that lie in the range. It skips what retention removes
// during the read; gone counts those offsets. Failed requests are retried as [Log.Page] does.
func (l *Log) Read(
	ctx context.Context, topic string, partition int, within Range, visit Visit,
) (gone int64, err error) {
	for at := within.First; at < within.End; {
		page, err := l.Page(ctx, topic, partition, at, func(r *Record) error {
			if r.Offset >= within.End {
				return nil
			}
			return visit(r)
		})
		var outOfRange *OutOfRangeError
		switch {
		case errors.As(err, &outOfRange):
			first, err := l.start(ctx, topic, partition)
			if err != nil {
				return gone, err
			}
			if first <= at { // the log ends below the offset: the topic was recreated
				return gone + within.End - at, nil
			}
			gone += min(first, within.End) - at
			at = first
		case err != nil:
			return gone, err
		default:
			at = page.Next
		}
	}
	return gone, nil
}

func (l *Log) start(ctx context.Context, topic string, partition int) (int64, error) {
	var first map[int]int64
	err := retryLookup(ctx, func(ctx context.Context) (err error) {
		first, err = l.offsets(ctx, topic, []int{partition}, kafka.FirstOffset)
		return err
	})
	return first[partition], err
}

// Page is [Log.Fetch] with retries for up to 15 s while the error may be temporary. Once a record
// was visited, a failure is final, so no record is visited twice.
func (l *Log) Page(ctx context.Context, topic string, partition int, at int64, visit Visit) (page Page, err error) {
	seen := false
	once := func() error {
		page, err = l.Fetch(ctx, topic, partition, at, func(r *Record) error {
			seen = true
			return visit(r)
		})
		var outOfRange *OutOfRangeError
		if seen || errors.As(err, &outOfRange) || !temporary(err) {
			return backoff.Permanent(err)
		}
		return err
	}
	if backoff.Retry(once, backoff.WithContext(newBackoff(), ctx)) == nil {
		return page, nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return page, err
}

// temporary reports whether a retry may succeed. All errors but the broker's final ones may pass:
// network errors come in many forms.
func temporary(err error) bool {
	if err == nil {
		return false
	}
	var code kafka.Error
	return !errors.As(err, &code) || code.Temporary()
}
