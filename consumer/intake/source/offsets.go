package source

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"

	"membersync/consumer/intake/watermark"
	"membersync/dlq/partlog"
)

// A Committed is what the group has stored for a partition: the next offset to
// process (-1 if none) and, where it is known, the last record below it.
type Committed struct {
	Offset int64
	Stamp  watermark.Stamp // Stamp.Offset is -1 where it is not known
}

// A Position is what to store for a partition.
type Position struct {
	Partition int
	Offset    int64
	Stamp     watermark.Stamp // of the last record below the offset; Offset -1 if there is none
}

// A Member is one member of one generation of the group.
type Member struct {
	Group      string
	Generation int
	ID         string
}

// Offsets reads and writes the group's offsets of one topic. It is safe for concurrent use.
type Offsets struct {
	client  *kafka.Client
	timeout time.Duration
}

// NewOffsets returns an Offsets whose requests take at most the timeout each.
func NewOffsets(client *kafka.Client, timeout time.Duration) *Offsets {
	return &Offsets{client: client, timeout: timeout}
}

var errOffsetsTimeout = errors.New("source: no answer about offsets in time")

// Committed returns what the group has stored for each of the partitions.
func (o *Offsets) Committed(ctx context.Context, group, topic string, partitions []int) (map[int]Committed, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, errOffsetsTimeout)
	defer cancel()
	res, err := o.client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: partitions}})
	if err != nil {
		return nil, fmt.Errorf("source: offsets of group %s: %w", group, err)
	}
	if res.Error != nil {
		return nil, fmt.Errorf("source: offsets of group %s: %w", group, partlog.OnGroup("Describe", group, res.Error))
	}
	out := make(map[int]Committed, len(partitions))
	for _, p := range res.Topics[topic] {
		if p.Error != nil {
			return nil, fmt.Errorf("source: offset of group %s for %s/%d: %w", group, topic, p.Partition,
				partlog.OnTopic("Describe", topic, p.Error))
		}
		out[p.Partition] = Committed{Offset: p.CommittedOffset, Stamp: parseStamp(p.Metadata)}
	}
	for _, p := range partitions {
		if _, ok := out[p]; !ok {
			return nil, fmt.Errorf("source: offset of group %s for %s/%d: not in the answer", group, topic, p)
		}
	}
	return out, nil
}

// Unassigned counts the partitions of the topics that no member of the group has. While the group
// is not stable it is not known, and none are counted.
func (o *Offsets) Unassigned(ctx context.Context, group string, topics []string) (int, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, errOffsetsTimeout)
	defer cancel()
	res, err := o.client.DescribeGroups(ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{group}})
	if err != nil {
		return 0, fmt.Errorf("source: members of group %s: %w", group, err)
	}
	if len(res.Groups) != 1 || res.Groups[0].Error != nil || res.Groups[0].GroupState != "Stable" {
		return 0, nil
	}
	type place struct {
		topic     string
		partition int
	}
	taken := make(map[place]bool)
	for _, m := range res.Groups[0].Members {
		for _, t := range m.MemberAssignments.Topics {
			for _, p := range t.Partitions {
				taken[place{t.Topic, p}] = true
			}
		}
	}
	missing := 0
	for _, topic := range topics {
		all, err := o.Partitions(ctx, topic)
		if err != nil {
			return 0, err
		}
		for _, p := range all {
			if !taken[place{topic, p}] {
				missing++
			}
		}
	}
	return missing, nil
}

// Commit stores the positions in the name of the member. The broker refuses it
// with kafka.IllegalGeneration or kafka.UnknownMemberId once the member has lost its
// place ([Fenced] tells).
func (o *Offsets) Commit(ctx context.Context, m Member, topic string, ps []Position) error {
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, errOffsetsTimeout)
	defer cancel()
	commits := make([]kafka.OffsetCommit, 0, len(ps))
	for _, p := range ps {
		commits = append(commits, kafka.OffsetCommit{Partition: p.Partition, Offset: p.Offset, Metadata: formatStamp(p)})
	}
	res, err := o.client.OffsetCommit(ctx, &kafka.OffsetCommitRequest{
		GroupID: m.Group, GenerationID: m.Generation, MemberID: m.ID,
		Topics: map[string][]kafka.OffsetCommit{topic: commits},
	})
	if err != nil {
		return fmt.Errorf("source: commit for group %s: %w", m.Group, err)
	}
	for _, p := range res.Topics[topic] {
		if p.Error != nil {
			return fmt.Errorf("source: commit for group %s, %s/%d: %w", m.Group, topic, p.Partition,
				partlog.OnTopic("Read", topic, partlog.OnGroup("Read", m.Group, p.Error)))
		}
	}
	return nil
}

// Fenced reports whether a commit was refused because the member has lost its
// place in the group. Committing again cannot help.
func Fenced(err error) bool {
	return errors.Is(err, kafka.IllegalGeneration) || errors.Is(err, kafka.UnknownMemberId) ||
		errors.Is(err, kafka.RebalanceInProgress) || errors.Is(err, kafka.FencedInstanceID)
}

// Bounds returns the first offset of a partition's log and the one after its last record.
func (o *Offsets) Bounds(ctx context.Context, topic string, partition int) (first, end int64, err error) {
	if first, err = o.list(ctx, topic, kafka.FirstOffsetOf(partition)); err != nil {
		return 0, 0, err
	}
	end, err = o.list(ctx, topic, kafka.LastOffsetOf(partition))
	return first, end, err
}

func (o *Offsets) list(ctx context.Context, topic string, req kafka.OffsetRequest) (int64, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, errOffsetsTimeout)
	defer cancel()
	res, err := o.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: {req}}})
	if err != nil {
		return 0, fmt.Errorf("source: bounds of %s/%d: %w", topic, req.Partition, partlog.Explain(ctx, o.client, topic, err))
	}
	for _, p := range res.Topics[topic] {
		switch {
		case p.Partition != req.Partition:
		case p.Error != nil:
			return 0, fmt.Errorf("source: bounds of %s/%d: %w", topic, req.Partition, partlog.OnTopic("Describe", topic, p.Error))
		case req.Timestamp == kafka.FirstOffset:
			return p.FirstOffset, nil
		default:
			return p.LastOffset, nil
		}
	}
	return 0, fmt.Errorf("source: bounds of %s/%d: not in the answer", topic, req.Partition)
}

// Retention returns for how long the topic keeps a record, and 0 if time does not limit it.
func (o *Offsets) Retention(ctx context.Context, topic string) (time.Duration, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, errOffsetsTimeout)
	defer cancel()
	res, err := o.client.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{{
		ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, ConfigNames: []string{"cleanup.policy", "retention.ms"},
	}}})
	if err != nil {
		return 0, fmt.Errorf("source: configuration of %s: %w", topic, err)
	}
	values := make(map[string]string)
	for _, r := range res.Resources {
		if r.Error != nil {
			return 0, fmt.Errorf("source: configuration of %s: %w", topic, partlog.OnTopic("DescribeConfigs", topic, r.Error))
		}
		for _, e := range r.ConfigEntries {
			values[e.ConfigName] = e.ConfigValue
		}
	}
	millis, err := strconv.ParseInt(values["retention.ms"], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("source: configuration of %s: retention.ms is not in the answer", topic)
	}
	if millis < 0 || !strings.Contains(values["cleanup.policy"], "delete") {
		return 0, nil
	}
	return time.Duration(millis) * time.Millisecond, nil
}

const stampPrefix = "membersync/1 ts="

// formatStamp writes the metadata of a commit: offset and timestamp of the last record below it.
func formatStamp(p Position) string {
	if p.Stamp.Offset < 0 {
		return ""
	}
	return fmt.Sprintf("%s%d offset=%d", stampPrefix, p.Stamp.Time.UnixMilli(), p.Stamp.Offset)
}

// parseStamp reads it back. Metadata that others wrote is no stamp.
func parseStamp(s string) watermark.Stamp {
	none := watermark.Stamp{Offset: -1}
	rest, ok := strings.CutPrefix(s, stampPrefix)
	if !ok {
		return none
	}
	ts, offset, ok := strings.Cut(rest, " offset=")
	ms, err1 := strconv.ParseInt(ts, 10, 64)
	n, err2 := strconv.ParseInt(offset, 10, 64)
	if !ok || err1 != nil || err2 != nil {
		return none
	}
	return watermark.Stamp{Offset: n, Time: time.UnixMilli(ms)}
}

// Partitions returns the ids of the topic's partitions, in rising order.
func (o *Offsets) Partitions(ctx context.Context, topic string) ([]int, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, errOffsetsTimeout)
	defer cancel()
	res, err := o.client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return nil, fmt.Errorf("source: partitions of %s: %w", topic, err)
	}
	for _, t := range res.Topics {
		if t.Name != topic {
			continue
		}
		if t.Error != nil {
			return nil, fmt.Errorf("source: partitions of %s: %w", topic, partlog.OnTopic("Describe", topic, t.Error))
		}
		ids := make([]int, 0, len(t.Partitions))
		for _, p := range t.Partitions {
			ids = append(ids, p.ID)
		}
		slices.Sort(ids)
		return ids, nil
	}
	return nil, fmt.Errorf("source: partitions of %s: not in the answer", topic)
}
