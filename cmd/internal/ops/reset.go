package ops

import (
	"context"
	"fmt"

	"github.com/segmentio/kafka-go"

	"membersync/dlq"
	"membersync/dlq/partlog"
)

// A Reset is what is planned for the group's offset in a partition, as JSON shows it.
type Reset struct {
	Topic     string `json:"topic"`
	Partition int    `json:"partition"`
	From      int64  `json:"from"` // -1: none
	To        int64  `json:"to"`
	Again     int64  `json:"records_again"`   // that are delivered again
	Skipped   int64  `json:"records_skipped"` // that are not processed
	Result    string `json:"result"`          // done, planned or failed
}

// PlanReset returns what setting the group's offsets in the source topic to a position would
// change.
func (s *GroupOffsets) PlanReset(ctx context.Context, to Position) ([]Reset, error) {
	topic := s.cfg.Kafka.Topic
	offsets, ranges, err := s.resolve(ctx, topic, to)
	if err != nil {
		return nil, err
	}
	stored, err := s.committed(ctx, topic)
	if err != nil {
		return nil, err
	}
	var plan []Reset
	for p := range len(ranges) {
		offset, ok := offsets[p]
		if !ok {
			continue
		}
		next := stored[p] // where the group would continue without the reset
		if next < 0 {
			next = ranges[p].First
		}
		plan = append(plan, Reset{
			Topic: topic, Partition: p, From: stored[p], To: offset,
			Again: max(next-offset, 0), Skipped: max(offset-next, 0),
		})
	}
	return plan, nil
}

// A LiveError is returned by what is refused while the group has members.
type LiveError struct {
	Group   string
	Members int
}

// Error names the group.
func (e *LiveError) Error() string {
	return fmt.Sprintf("refused: group %s has live members (%d); stop them first", e.Group, e.Members)
}

// CheckNotLive returns a [*LiveError] if the group has members.
func (s *GroupOffsets) CheckNotLive(ctx context.Context) error {
	group, err := s.group(ctx)
	if err == nil && len(group.Members) > 0 {
		err = &LiveError{group.Group, len(group.Members)}
	}
	return err
}

// Reset commits planned offsets. The old ones are in the audit topic first.
func (s *GroupOffsets) Reset(ctx context.Context, plan []Reset, who Who) error {
	record := dlq.AuditRecord{Actor: who.Actor, Note: who.Note, Action: dlq.ActionOffsetsReset, Subject: s.cfg.Kafka.Group}
	var commits []kafka.OffsetCommit
	for _, p := range plan {
		record.Detail.Offsets = append(record.Detail.Offsets, dlq.OffsetChange{Topic: p.Topic, Partition: p.Partition, From: p.From, To: p.To})
		commits = append(commits, kafka.OffsetCommit{Partition: p.Partition, Offset: p.To})
	}
	known, err := s.hasOffsets(ctx)
	if err != nil {
		return err
	}
	return s.recorded(ctx, record, func() error {
		if !known { // its offsets would otherwise be taken for those of a state that was lost
			if err := s.parts.Store.MarkInitialized(ctx, s.cfg.Kafka.Group); err != nil {
				return err
			}
		}
		return onCoordinator(ctx, func() error { return s.commit(ctx, commits) })
	})
}

func (s *GroupOffsets) commit(ctx context.Context, commits []kafka.OffsetCommit) error {
	topic := s.cfg.Kafka.Topic
	res, err := s.parts.Kafka.OffsetCommit(ctx, &kafka.OffsetCommitRequest{
		GroupID: s.cfg.Kafka.Group, GenerationID: -1, Topics: map[string][]kafka.OffsetCommit{topic: commits},
	})
	if err != nil {
		return fmt.Errorf("committing for group %s: %w", s.cfg.Kafka.Group, err)
	}
	for _, p := range res.Topics[topic] {
		if p.Error != nil {
			return fmt.Errorf("committing for group %s, %s/%d: %w", s.cfg.Kafka.Group, topic, p.Partition,
				partlog.OnTopic("Read", topic, partlog.OnGroup("Read", s.cfg.Kafka.Group, p.Error)))
		}
	}
	return nil
}
