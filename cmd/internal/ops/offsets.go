package ops

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"membersync/cmd/internal/wiring"
	"membersync/dlq/partlog"
)

// A GroupState is the state of the consumer group as JSON shows it.
type GroupState struct {
	Group   string        `json:"group"`
	State   string        `json:"state"` // Kafka's name: Stable, Empty, Dead, …
	Members []GroupMember `json:"members"`
}

// A GroupMember is a member of the consumer group.
type GroupMember struct {
	ID         string   `json:"id"`
	ClientID   string   `json:"client_id"`
	Host       string   `json:"host"`
	Partitions []string `json:"partitions"` // topic/partition
}

// An Offset is the group's position in a partition.
type Offset struct {
	Topic      string `json:"topic"`
	Partition  int    `json:"partition"`
	Committed  int64  `json:"committed"` // -1: none
	LogStart   int64  `json:"log_start"`
	LogEnd     int64  `json:"log_end"`
	LagRecords int64  `json:"lag_records"`
	LagSeconds int64  `json:"lag_seconds"` // age of the oldest record that is not committed
	Member     string `json:"member"`      // empty: no member owns it
}

// Offsets returns the group, and its offsets in the source topic and then in the redrive topic.
func (s *GroupOffsets) Offsets(ctx context.Context) (GroupState, []Offset, error) {
	group, err := s.group(ctx)
	if err != nil {
		return group, nil, err
	}
	offsets, err := s.offsets(ctx, s.cfg.Kafka.Topic, group, time.Now())
	if err != nil {
		return group, nil, err
	}
	redrives, err := s.offsets(ctx, wiring.Topics(s.cfg).Redrive, group, time.Now())
	if isMissingTopic(err) {
		err = nil
	}
	return group, append(offsets, redrives...), err
}

// group describes the consumer group.
func (s *GroupOffsets) group(ctx context.Context) (g GroupState, err error) {
	err = onCoordinator(ctx, func() (err error) {
		g, err = s.describe(ctx, s.cfg.Kafka.Group)
		return err
	})
	return g, err
}

func (s *GroupOffsets) describe(ctx context.Context, name string) (GroupState, error) {
	g := GroupState{Group: name, State: "Dead", Members: []GroupMember{}}
	res, err := s.parts.Kafka.DescribeGroups(ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{name}})
	if err != nil {
		return g, fmt.Errorf("describing group %s: %w", name, err)
	}
	for _, one := range res.Groups {
		if errors.Is(one.Error, kafka.GroupIdNotFound) {
			continue
		}
		if one.Error != nil {
			return g, fmt.Errorf("describing group %s: %w", name, partlog.OnGroup("Describe", name, one.Error))
		}
		g.State = one.GroupState
		for _, m := range one.Members {
			g.Members = append(g.Members, memberOf(m))
		}
	}
	return g, nil
}

func memberOf(m kafka.DescribeGroupsResponseMember) GroupMember {
	member := GroupMember{ID: m.MemberID, ClientID: m.ClientID, Host: m.ClientHost, Partitions: []string{}}
	for _, t := range m.MemberAssignments.Topics {
		for _, p := range t.Partitions {
			member.Partitions = append(member.Partitions, fmt.Sprintf("%s/%d", t.Topic, p))
		}
	}
	slices.Sort(member.Partitions)
	return member
}

func (g GroupState) owner(partition string) string {
	for _, m := range g.Members {
		if slices.Contains(m.Partitions, partition) {
			return m.ID
		}
	}
	return ""
}

// offsets returns the group's position in each partition of a topic.
func (s *GroupOffsets) offsets(ctx context.Context, topic string, group GroupState, now time.Time) ([]Offset, error) {
	ranges, err := s.ranges(ctx, topic)
	if err != nil {
		return nil, err
	}
	stored, err := s.committed(ctx, topic)
	if err != nil {
		return nil, err
	}
	all := make([]Offset, len(ranges))
	faults := make([]error, len(ranges))
	var lookups sync.WaitGroup
	for p := range all {
		held := ranges[p]
		next := max(stored[p], held.First)
		all[p] = Offset{
			Topic: topic, Partition: p, Committed: stored[p], LogStart: held.First, LogEnd: held.End,
			LagRecords: max(held.End-next, 0), Member: group.owner(fmt.Sprintf("%s/%d", topic, p)),
		}
		if all[p].LagRecords == 0 {
			continue
		}
		lookups.Go(func() {
			at, err := s.timeOf(ctx, topic, p, partlog.Range{First: next, End: held.End})
			faults[p] = err
			if !at.IsZero() {
				all[p].LagSeconds = int64(max(now.Sub(at), 0).Seconds())
			}
		})
	}
	lookups.Wait()
	return all, errors.Join(faults...)
}

var errFound = errors.New("found")

// timeOf returns the timestamp of the first record in a range, and the zero time if there is none.
func (s *GroupOffsets) timeOf(ctx context.Context, topic string, partition int, r partlog.Range) (at time.Time, err error) {
	log := partlog.New(s.parts.Kafka, 1, pageWait) // one batch
	_, err = log.Read(ctx, topic, partition, r, func(rec *partlog.Record) error {
		at = rec.Time
		return errFound
	})
	if errors.Is(err, errFound) {
		err = nil
	}
	return at, err
}

// retention returns how long the source topic keeps a record; 0: it keeps all, or that is unknown.
func (s *GroupOffsets) retention(ctx context.Context) (time.Duration, error) {
	res, err := s.parts.Kafka.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{
		{ResourceType: kafka.ResourceTypeTopic, ResourceName: s.cfg.Kafka.Topic, ConfigNames: []string{retentionConfig}},
	}})
	if err != nil {
		return 0, fmt.Errorf("reading the retention of topic %s: %w", s.cfg.Kafka.Topic, err)
	}
	for _, r := range res.Resources {
		for _, e := range r.ConfigEntries {
			if ms, err := strconv.ParseInt(e.ConfigValue, 10, 64); e.ConfigName == retentionConfig && err == nil && ms > 0 {
				return time.Duration(ms) * time.Millisecond, nil
			}
		}
	}
	return 0, nil // an error of the resource: the credentials may not read it
}

const retentionConfig = "retention.ms"
