package partlog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/segmentio/kafka-go"
)

// A Range is the committed records that a partition holds: from First up to, not including, End.
type Range struct{ First, End int64 }

const lookTimeout = 15 * time.Second

var errLookTimeout = errors.New("no answer about a topic in time")

// Ranges returns what each partition of the topic holds now, up to its last stable offset: where a reader of
// committed records comes to a stop. It fails with kafka.UnknownTopicOrPartition if there is no such topic.
func (l *Log) Ranges(ctx context.Context, topic string) (map[int]Range, error) {
	var spans map[int]Range
	err := patiently(ctx, func(ctx context.Context) (err error) {
		spans, err = l.spans(ctx, topic)
		return err
	})
	return spans, err
}

func (l *Log) spans(ctx context.Context, topic string) (map[int]Range, error) {
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
	spans := make(map[int]Range, len(ids))
	for _, id := range ids {
		spans[id] = Range{first[id], max(first[id], end[id])}
	}
	return spans, nil
}

// Since returns, for each partition, the offset of the first record whose timestamp is at or after the time;
// partitions without such a record are absent.
func (l *Log) Since(ctx context.Context, topic string, at time.Time) (map[int]int64, error) {
	var found map[int]int64
	err := patiently(ctx, func(ctx context.Context) error {
		ids, err := l.Partitions(ctx, topic)
		if err == nil {
			found, err = l.offsets(ctx, topic, ids, max(at.UnixMilli(), 0))
		}
		return err
	})
	return found, err
}

// patiently looks until there is an answer, or the time for it is over.
func patiently(ctx context.Context, look func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, lookTimeout, errLookTimeout)
	defer cancel()
	var err error
	once := func() error {
		if err = look(ctx); !temporary(err) || errors.Is(err, kafka.UnknownTopicOrPartition) {
			return backoff.Permanent(err)
		}
		return err
	}
	if backoff.Retry(once, backoff.WithContext(newWaits(), ctx)) == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return err
}

func newWaits() *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(backoff.WithInitialInterval(50*time.Millisecond), backoff.WithMaxElapsedTime(patience))
}

// Partitions returns the ids of the topic's partitions.
func (l *Log) Partitions(ctx context.Context, topic string) ([]int, error) {
	res, err := l.client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return nil, fmt.Errorf("looking topic %s up: %w", topic, err)
	}
	for _, t := range res.Topics {
		if t.Name != topic {
			continue
		}
		if t.Error != nil {
			return nil, fmt.Errorf("looking topic %s up: %w", topic, t.Error)
		}
		ids := make([]int, 0, len(t.Partitions))
		for _, p := range t.Partitions {
			ids = append(ids, p.ID)
		}
		return ids, nil
	}
	return nil, fmt.Errorf("looking topic %s up: %w", topic, kafka.UnknownTopicOrPartition)
}

// offsets asks for one kind of offset of all the partitions; without an answer a partition is absent.
func (l *Log) offsets(ctx context.Context, topic string, ids []int, at int64) (map[int]int64, error) {
	asked := make([]kafka.OffsetRequest, 0, len(ids))
	for _, id := range ids {
		asked = append(asked, kafka.OffsetRequest{Partition: id, Timestamp: at})
	}
	res, err := l.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{
		Topics: map[string][]kafka.OffsetRequest{topic: asked}, IsolationLevel: kafka.ReadCommitted,
	})
	if err != nil {
		return nil, fmt.Errorf("bounds of %s: %w", topic, err)
	}
	found := make(map[int]int64, len(ids))
	for _, p := range res.Topics[topic] {
		if p.Error != nil {
			return nil, fmt.Errorf("bounds of %s/%d: %w", topic, p.Partition, p.Error)
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

// patience is how long a read goes on trying without getting anywhere.
const patience = 15 * time.Second

// Read visits the records of a partition from one offset up to, not including, another. What retention removed meanwhile is
// skipped; gone counts those offsets. A broker that does not answer is asked again for a while.
func (l *Log) Read(ctx context.Context, topic string, partition int, span Range, visit Visit) (gone int64, err error) {
	for at := span.First; at < span.End; {
		page, err := l.Page(ctx, topic, partition, at, func(r *Record) error {
			if r.Offset >= span.End {
				return nil
			}
			return visit(r)
		})
		var lost *OutOfRangeError
		switch {
		case errors.As(err, &lost):
			first, err := l.start(ctx, topic, partition)
			if err != nil {
				return gone, err
			}
			if first <= at { // the log ends below: it was made anew
				return gone + span.End - at, nil
			}
			gone += min(first, span.End) - at
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
	err := patiently(ctx, func(ctx context.Context) (err error) {
		first, err = l.offsets(ctx, topic, []int{partition}, kafka.FirstOffset)
		return err
	})
	return first[partition], err
}

// Page is Fetch, but a broker that does not answer is asked again for a while. Once a record was visited, a failure is
// final: none is visited twice.
func (l *Log) Page(ctx context.Context, topic string, partition int, at int64, visit Visit) (page Page, err error) {
	seen := false
	once := func() error {
		page, err = l.Fetch(ctx, topic, partition, at, func(r *Record) error {
			seen = true
			return visit(r)
		})
		var lost *OutOfRangeError
		if seen || errors.As(err, &lost) || !temporary(err) {
			return backoff.Permanent(err)
		}
		return err
	}
	if backoff.Retry(once, backoff.WithContext(newWaits(), ctx)) == nil {
		return page, nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return page, err
}

// temporary reports whether another try may do better. All but the broker's final answers may: a network's errors come in many forms.
func temporary(err error) bool {
	if err == nil {
		return false
	}
	var code kafka.Error
	return !errors.As(err, &code) || code.Temporary()
}
