package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/segmentio/kafka-go"

	"membersync/dlq"
	"membersync/dlq/partlog"
)

// committed returns what the group has stored for a topic, by partition; -1: nothing.
func (d *desk) committed(ctx context.Context, topic string) (map[int]int64, error) {
	ids, err := d.partitions(ctx, topic)
	if err != nil {
		return nil, err
	}
	res, err := d.parts.Kafka.OffsetFetch(ctx, &kafka.OffsetFetchRequest{
		GroupID: d.cfg.Kafka.Group, Topics: map[string][]int{topic: ids},
	})
	if err != nil {
		return nil, fmt.Errorf("offsets of group %s: %w", d.cfg.Kafka.Group, err)
	}
	if res.Error != nil && !errors.Is(res.Error, kafka.GroupIdNotFound) {
		return nil, fmt.Errorf("offsets of group %s: %w", d.cfg.Kafka.Group, partlog.OnGroup("Describe", d.cfg.Kafka.Group, res.Error))
	}
	stored := make(map[int]int64, len(ids))
	for _, id := range ids {
		stored[id] = -1
	}
	for _, p := range res.Topics[topic] {
		if p.Error != nil {
			return nil, fmt.Errorf("offset of group %s for %s/%d: %w", d.cfg.Kafka.Group, topic, p.Partition,
				partlog.OnTopic("Describe", topic, p.Error))
		}
		stored[p.Partition] = p.CommittedOffset
	}
	return stored, nil
}

func (d *desk) hasOffsets(ctx context.Context) (bool, error) {
	stored, err := d.committed(ctx, d.cfg.Kafka.Topic)
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
func (d *desk) partitions(ctx context.Context, topic string) ([]int, error) {
	res, err := d.parts.Kafka.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return nil, fmt.Errorf("looking topic %s up: %w", topic, err)
	}
	for _, t := range res.Topics {
		if t.Name != topic || errors.Is(t.Error, kafka.UnknownTopicOrPartition) {
			continue
		}
		if t.Error != nil {
			return nil, fmt.Errorf("looking topic %s up: %w", topic, partlog.OnTopic("Describe", topic, t.Error))
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

// dropGroup removes a group that nobody needs any more. Where that fails, Kafka forgets its offsets in time.
func (d *desk) dropGroup(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeoutCause(ctx, dropTimeout, errStartTimeout)
	defer cancel()
	res, err := d.parts.Kafka.DeleteGroups(ctx, &kafka.DeleteGroupsRequest{GroupIDs: []string{name}})
	if err == nil {
		err = partlog.OnGroup("Delete", name, res.Errors[name])
	}
	if err != nil {
		d.parts.Logger.LogAttrs(ctx, slog.LevelInfo, "own consumer group not removed", slog.String("error", err.Error()))
	}
}
