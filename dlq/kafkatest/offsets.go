package kafkatest

import (
	"context"
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Group returns a name for a consumer group. At the end of the test it deletes the group, if it
// exists and is empty.
func (b *Offsets) Group(tb testing.TB) string {
	tb.Helper()
	name := unique()
	tb.Cleanup(func() {
		req := kmsg.NewPtrDeleteGroupsRequest()
		req.Groups = []string{name}
		ctx, cancel := bounded(tb)
		defer cancel()
		if _, err := req.RequestWith(ctx, b.kgo); err != nil {
			tb.Logf("deleting group %s: %v", name, err)
		}
	})
	return name
}

// A Commit is the offset and metadata that a group has committed for one partition.
type Commit struct {
	Offset   int64
	Metadata string
}

// Commits returns what the group has committed for the topic's partitions. Partitions without a
// commit are absent.
func (b *Offsets) Commits(tb testing.TB, group, topic string) map[int]Commit {
	tb.Helper()
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group, req.RequireStable = group, true
	commits := make(map[int]Commit)
	b.retry(tb, "fetching the offsets of "+group, func(ctx context.Context) error {
		res, err := req.RequestWith(ctx, b.kgo)
		if err != nil {
			return err
		}
		for _, rt := range res.Topics {
			if rt.Topic == topic {
				err = errors.Join(err, collect(commits, rt.Partitions))
			}
		}
		if res.ErrorCode == kerr.GroupIDNotFound.Code {
			return nil
		}
		return errors.Join(err, kerr.ErrorForCode(res.ErrorCode))
	})
	return commits
}

func collect(commits map[int]Commit, partitions []kmsg.OffsetFetchResponseTopicPartition) error {
	for _, rp := range partitions {
		if rp.ErrorCode != 0 {
			return kerr.ErrorForCode(rp.ErrorCode)
		}
		if rp.Offset < 0 {
			continue
		}
		c := Commit{Offset: rp.Offset}
		if rp.Metadata != nil {
			c.Metadata = *rp.Metadata
		}
		commits[int(rp.Partition)] = c
	}
	return nil
}

// Committed returns the offsets of [Broker.Commits].
func (b *Offsets) Committed(tb testing.TB, group, topic string) map[int]int64 {
	tb.Helper()
	offsets := make(map[int]int64)
	for p, c := range b.Commits(tb, group, topic) {
		offsets[p] = c.Offset
	}
	return offsets
}

// Lag returns how many offsets the group's commits are behind [Broker.Ends], summed over all
// partitions. A partition without a commit counts from its log start.
func (b *Offsets) Lag(tb testing.TB, group, topic string) int64 {
	tb.Helper()
	committed := b.Committed(tb, group, topic)
	first, last := b.offsets(tb, topic)
	var lag int64
	for p, end := range last {
		at, ok := committed[p]
		if !ok {
			at = first[p]
		}
		lag += end - at
	}
	return lag
}

// Ends returns the last stable offset of each partition, where readers of committed data stop: the
// high watermark unless a transaction is open.
func (b *Offsets) Ends(tb testing.TB, topic string) map[int]int64 {
	tb.Helper()
	_, last := b.offsets(tb, topic)
	return last
}

// offsets returns the log start and the last stable offset of each partition.
func (b *Offsets) offsets(tb testing.TB, topic string) (first, last map[int]int64) {
	tb.Helper()
	const earliest, latest = -2, -1
	b.retry(tb, "listing the offsets of "+topic, func(ctx context.Context) error {
		n, err := b.countPartitions(ctx, topic)
		if err != nil {
			return err
		}
		if first, err = b.listOffsets(ctx, topic, n, earliest); err != nil {
			return err
		}
		last, err = b.listOffsets(ctx, topic, n, latest)
		return err
	})
	return first, last
}

func (b *cluster) listOffsets(ctx context.Context, topic string, partitions int, at int64) (map[int]int64, error) {
	const readCommitted = 1
	rt := kmsg.NewListOffsetsRequestTopic()
	rt.Topic = topic
	for p := range partitions {
		rp := kmsg.NewListOffsetsRequestTopicPartition()
		rp.Partition, rp.Timestamp = int32of(p), at
		rt.Partitions = append(rt.Partitions, rp)
	}
	req := kmsg.NewPtrListOffsetsRequest()
	req.IsolationLevel = readCommitted
	req.Topics = append(req.Topics, rt)
	res, err := req.RequestWith(ctx, b.kgo)
	if err != nil {
		return nil, err
	}
	offsets := make(map[int]int64)
	for _, rt := range res.Topics {
		for _, rp := range rt.Partitions {
			if rp.ErrorCode != 0 {
				return nil, kerr.ErrorForCode(rp.ErrorCode)
			}
			offsets[int(rp.Partition)] = rp.Offset
		}
	}
	return offsets, nil
}
