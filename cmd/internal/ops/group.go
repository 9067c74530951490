package ops

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"

	"membersync/dlq"
	"membersync/dlq/partlog"
)

// committed returns what the group has stored for a topic, by partition; -1: nothing.
func (s *GroupOffsets) committed(ctx context.Context, topic string) (map[int]int64, error) {
	ids, err := s.partitions(ctx, topic)
	if err != nil {
		return nil, err
	}
	res, err := s.parts.Kafka.OffsetFetch(ctx, &kafka.OffsetFetchRequest{
		GroupID: s.cfg.Kafka.Group, Topics: map[string][]int{topic: ids},
	})
	if err != nil {
		return nil, fmt.Errorf("offsets of group %s: %w", s.cfg.Kafka.Group, err)
	}
	if res.Error != nil && !errors.Is(res.Error, kafka.GroupIdNotFound) {
		return nil, fmt.Errorf("offsets of group %s: %w", s.cfg.Kafka.Group, partlog.OnGroup("Describe", s.cfg.Kafka.Group, res.Error))
	}
	stored := make(map[int]int64, len(ids))
	for _, id := range ids {
		stored[id] = -1
	}
	for _, p := range res.Topics[topic] {
		if p.Error != nil {
			return nil, fmt.Errorf("offset of group %s for %s/%d: %w", s.cfg.Kafka.Group, topic, p.Partition,
				partlog.OnTopic("Describe", topic, p.Error))
		}
		stored[p.Partition] = p.CommittedOffset
	}
	return stored, nil
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

// partitions returns the ids of a topic's partitions in rising order.
func (s *GroupOffsets) partitions(ctx context.Context, topic string) ([]int, error) {
	res, err := s.parts.Kafka.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return nil, fmt.Errorf("looking up topic %s: %w", topic, err)
	}
	for _, t := range res.Topics {
		if t.Name != topic || errors.Is(t.Error, kafka.UnknownTopicOrPartition) {
			continue
		}
		if t.Error != nil {
			return nil, fmt.Errorf("looking up topic %s: %w", topic, partlog.OnTopic("Describe", topic, t.Error))
		}
		ids := make([]int, 0, len(t.Partitions))
		for _, p := range t.Partitions {
			ids = append(ids, p.ID)
		}
		slices.Sort(ids)
		return ids, nil
	}
	return nil, &dlq.MissingTopicError{Topic: topic}
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
