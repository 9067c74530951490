package testbed

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/segmentio/kafka-go"
)

// Topics creates, fills, reads and deletes topics. It is safe for concurrent use.
type Topics struct{ client *kafka.Client }

// CreateTopic creates a topic and waits until the broker leads its partitions.
func (s *Topics) CreateTopic(ctx context.Context, topic string, partitions int, configs map[string]string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, opLimit, errLimit)
	defer cancel()
	config := kafka.TopicConfig{Topic: topic, NumPartitions: partitions, ReplicationFactor: 1}
	for name, value := range configs {
		config.ConfigEntries = append(config.ConfigEntries, kafka.ConfigEntry{ConfigName: name, ConfigValue: value})
	}
	answer, err := s.client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{config}})
	if err == nil {
		err = answer.Errors[topic]
	}
	if err != nil {
		return err
	}
	return retryUntil(ctx, "topic "+topic, func(ctx context.Context) (bool, error) {
		ends, err := s.Ends(ctx, topic)
		return len(ends) == partitions, err
	})
}

// DeleteTopics deletes topics and waits until the broker no longer knows them: the controller
// responds a little before the broker learns of it. An unknown topic is not an error.
func (s *Topics) DeleteTopics(ctx context.Context, topics ...string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, opLimit, errLimit)
	defer cancel()
	answer, err := s.client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: topics})
	if err != nil {
		return err
	}
	var faults []error
	for _, err := range answer.Errors {
		if !errors.Is(err, kafka.UnknownTopicOrPartition) {
			faults = append(faults, err)
		}
	}
	if len(faults) > 0 {
		return errors.Join(faults...)
	}
	for _, topic := range topics {
		if err := s.awaitGone(ctx, topic); err != nil {
			return err
		}
	}
	return nil
}

func (s *Topics) awaitGone(ctx context.Context, topic string) error {
	return retryUntil(ctx, "the end of topic "+topic, func(ctx context.Context) (bool, error) {
		_, err := s.Ends(ctx, topic)
		if errors.Is(err, kafka.UnknownTopicOrPartition) {
			return true, nil
		}
		return false, err
	})
}

// An Extent holds the first offset of a partition and the end.
type Extent struct{ First, End int64 }

// Ends returns the extent of each partition of a topic. An unknown topic is the error
// kafka.UnknownTopicOrPartition. A broker that has just come back may return that for any topic, so
// it must not read as a topic without records.
func (s *Topics) Ends(ctx context.Context, topic string) (map[int]Extent, error) {
	meta, err := s.client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return nil, err
	}
	ends := make(map[int]Extent)
	for _, t := range meta.Topics {
		for _, p := range t.Partitions {
			ends[p.ID] = Extent{}
		}
	}
	if len(ends) == 0 {
		return nil, kafka.UnknownTopicOrPartition
	}
	first, err := s.offsets(ctx, topic, ends, kafka.FirstOffsetOf)
	if err != nil {
		return nil, err
	}
	last, err := s.offsets(ctx, topic, ends, kafka.LastOffsetOf)
	for p := range ends {
		ends[p] = Extent{First: first[p], End: last[p]}
	}
	return ends, err
}

// offsets requests one kind of offset of each partition: kafka-go mixes up several kinds in one
// request.
func (s *Topics) offsets(ctx context.Context, topic string, of map[int]Extent, kind func(int) kafka.OffsetRequest) (map[int]int64, error) {
	var asked []kafka.OffsetRequest
	for p := range of {
		asked = append(asked, kind(p))
	}
	answer, err := s.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: asked}})
	if err != nil {
		return nil, err
	}
	offsets := make(map[int]int64, len(of))
	for _, p := range answer.Topics[topic] {
		if p.Error != nil {
			return nil, p.Error
		}
		offsets[p.Partition] = max(p.FirstOffset, p.LastOffset)
	}
	return offsets, nil
}

// Count returns how many offsets a topic holds; 0 if it does not exist.
func (s *Topics) Count(ctx context.Context, topic string) (n int64, err error) {
	ends, err := s.Ends(ctx, topic)
	if errors.Is(err, kafka.UnknownTopicOrPartition) {
		return 0, nil
	}
	for _, e := range ends {
		n += e.End - e.First
	}
	return n, err
}

// Lag returns the number of records of the topic that the group has not committed.
func (s *Topics) Lag(ctx context.Context, topic, group string) (lag int64, err error) {
	ends, err := s.Ends(ctx, topic)
	if err != nil {
		return 0, err
	}
	answer, err := s.client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{
		GroupID: group, Topics: map[string][]int{topic: slices.Sorted(maps.Keys(ends))},
	})
	if err == nil {
		err = answer.Error
	}
	if err != nil {
		return 0, err
	}
	for _, e := range ends {
		lag += e.End - e.First
	}
	for _, p := range answer.Topics[topic] {
		if p.Error != nil {
			return 0, p.Error
		}
		lag -= max(p.CommittedOffset-ends[p.Partition].First, 0)
	}
	return lag, nil
}
