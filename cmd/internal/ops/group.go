package ops

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/segmentio/kafka-go"

	"membersync/dlq"
	"membersync/dlq/partlog"
)

// coordinatorTimeout is how long a command waits for the coordinator of a group.
const coordinatorTimeout = 10 * time.Second

// onCoordinator repeats a request to the coordinator of a group while that is loaded or moves to
// another broker: when a broker has restarted, and for the first group of a new cluster.
func onCoordinator(ctx context.Context, request func() error) error {
	waits := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(50*time.Millisecond), backoff.WithMaxElapsedTime(coordinatorTimeout),
	)
	return backoff.Retry(func() error {
		err := request()
		for _, moving := range []error{kafka.GroupLoadInProgress, kafka.GroupCoordinatorNotAvailable, kafka.NotCoordinatorForGroup} {
			if errors.Is(err, moving) {
				return err
			}
		}
		return backoff.Permanent(err)
	}, backoff.WithContext(waits, ctx))
}

// committed returns what the group has stored for a topic, by partition; -1: nothing.
func (s *GroupOffsets) committed(ctx context.Context, topic string) (map[int]int64, error) {
	ids, err := s.log().Partitions(ctx, topic)
	if errors.Is(err, kafka.UnknownTopicOrPartition) {
		return nil, &dlq.MissingTopicError{Topic: topic}
	}
	if err != nil {
		return nil, err
	}
	stored := make(map[int]int64, len(ids))
	for _, id := range ids {
		stored[id] = -1
	}
	found, err := s.offsetsOf(ctx, s.cfg.Kafka.Group, map[string][]int{topic: ids})
	if err != nil {
		return nil, err
	}
	for _, p := range found[topic] {
		if p.Error != nil {
			return nil, fmt.Errorf("offset of group %s for %s/%d: %w", s.cfg.Kafka.Group, topic, p.Partition,
				partlog.OnTopic("Describe", topic, p.Error))
		}
		stored[p.Partition] = p.CommittedOffset
	}
	return stored, nil
}

// offsetsOf returns what a group has stored for partitions of topics. A group that does not exist
// has stored nothing.
func (s *GroupOffsets) offsetsOf(
	ctx context.Context, group string, partitions map[string][]int,
) (stored map[string][]kafka.OffsetFetchPartition, err error) {
	err = onCoordinator(ctx, func() error {
		res, err := s.parts.Kafka.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: group, Topics: partitions})
		if err == nil && res.Error != nil && !errors.Is(res.Error, kafka.GroupIdNotFound) {
			err = partlog.OnGroup("Describe", group, res.Error)
		}
		if err != nil {
			return fmt.Errorf("offsets of group %s: %w", group, err)
		}
		stored = res.Topics
		return nil
	})
	return stored, err
}

func (s *GroupOffsets) hasOffsets(ctx context.Context) (bool, error) {
	stored, err := s.committed(ctx, s.cfg.Kafka.Topic)
	if err != nil {
		return false, err
	}
	for _, offset := range stored {
		if offset >= 0 {
			return true, nil
		}
	}
	return false, nil
}

const dropTimeout = 5 * time.Second

var errDropTimeout = errors.New("no response in time")

// dropGroup removes a group that is not needed any more. If that fails, Kafka forgets its offsets
// in time.
func (s *GroupOffsets) dropGroup(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeoutCause(ctx, dropTimeout, errDropTimeout)
	defer cancel()
	res, err := s.parts.Kafka.DeleteGroups(ctx, &kafka.DeleteGroupsRequest{GroupIDs: []string{name}})
	if err == nil {
		err = partlog.OnGroup("Delete", name, res.Errors[name])
	}
	if err != nil {
		s.parts.Logger.LogAttrs(ctx, slog.LevelInfo, "own consumer group not removed", slog.String("error", err.Error()))
	}
}
