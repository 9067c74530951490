package ops

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"

	"membersync/cmd/internal/config"
	"membersync/cmd/internal/wiring"
	"membersync/dlq/partlog"
)

// A MemberTTLError reports that a topic can hold an event for longer than the versions of its
// member are kept. Such an event could replace a newer value. Only an operator can change that.
type MemberTTLError struct {
	Topic string
	TTL   time.Duration // of the versions
	// Retention and Segment are the topic's retention.ms and segment.ms. A record can be as old as
	// both together, because a segment is deleted as a whole. Retention is negative: unlimited.
	Retention, Segment time.Duration
}

// Error names the topic, for how long it holds records, and what to set.
func (e *MemberTTLError) Error() string {
	const setting = "MEMBERSYNC_STATE_MEMBER_TTL"
	if e.Retention < 0 {
		return fmt.Sprintf("%s is %v, and topic %s holds records for an unlimited time, so an old event could replace a newer value: "+
			"set %s to 0, or limit the topic's retention (cleanup.policy=delete, retention.ms, segment.ms)", setting, e.TTL, e.Topic, setting)
	}
	return fmt.Sprintf("%s is %v, and topic %s can hold a record for %v (retention.ms %v + segment.ms %v), so an old event could replace "+
		"a newer value: set %s to at least %v, or to 0", setting, e.TTL, e.Topic, e.kept(), e.Retention, e.Segment, setting, e.kept())
}

// kept is for how long the topic can hold a record.
func (e *MemberTTLError) kept() time.Duration { return e.Retention + e.Segment }

// CheckMemberTTL returns a [*MemberTTLError] for each topic of events that holds them for longer
// than versions are kept: the source topic, that of dead letters and that of redrives. Another
// error means that it is not known.
func CheckMemberTTL(ctx context.Context, cfg config.Config, client *kafka.Client) error {
	var faults []error
	for _, topic := range eventTopics(cfg) {
		faults = append(faults, checkMemberTTL(ctx, cfg.State.MemberTTL, client, topic))
	}
	return errors.Join(faults...)
}

// memberTTLRefusal is CheckMemberTTL, except that a topic may be missing.
func memberTTLRefusal(ctx context.Context, cfg config.Config, client *kafka.Client) error {
	var faults []error
	for _, topic := range eventTopics(cfg) {
		if err := checkMemberTTL(ctx, cfg.State.MemberTTL, client, topic); !errors.Is(err, kafka.UnknownTopicOrPartition) {
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}

// eventTopics lists the topics of which events are read.
func eventTopics(cfg config.Config) []string {
	topics := wiring.Topics(cfg)
	return []string{topics.Source, topics.DLQ, topics.Redrive}
}

func checkMemberTTL(ctx context.Context, ttl time.Duration, client *kafka.Client, topic string) error {
	if ttl == 0 {
		return nil
	}
	values, err := topicSettings(ctx, client, topic, cleanupPolicy, retentionConfig, segmentConfig)
	if err != nil {
		return err
	}
	e := &MemberTTLError{Topic: topic, TTL: ttl}
	var ok bool
	if e.Retention, ok = millis(values[retentionConfig]); !ok {
		return fmt.Errorf("reading the settings of topic %s: the response lacks %s", topic, retentionConfig)
	}
	e.Segment, _ = millis(values[segmentConfig]) // zero: the broker does not report it
	if !strings.Contains(values[cleanupPolicy], "delete") || e.Segment < 0 {
		e.Retention = -1
	}
	if e.Retention >= 0 && e.kept() <= ttl {
		return nil
	}
	return e
}

const segmentConfig = "segment.ms"

// millis reads a number of ms. One that is too large for a duration is unlimited, so negative.
func millis(text string) (time.Duration, bool) {
	ms, err := strconv.ParseInt(text, 10, 64)
	if ms < 0 || ms > math.MaxInt64/4/int64(time.Millisecond) {
		return -1, err == nil
	}
	return time.Duration(ms) * time.Millisecond, err == nil
}

// topicSettings reads settings of a topic.
func topicSettings(ctx context.Context, client *kafka.Client, topic string, names ...string) (map[string]string, error) {
	res, err := client.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{
		{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, ConfigNames: names},
	}})
	if err != nil {
		return nil, fmt.Errorf("reading the settings of topic %s: %w", topic, err)
	}
	values := map[string]string{}
	for _, r := range res.Resources {
		if r.Error != nil {
			return nil, fmt.Errorf("reading the settings of topic %s: %w", topic, partlog.OnTopic("DescribeConfigs", topic, r.Error))
		}
		for _, e := range r.ConfigEntries {
			values[e.ConfigName] = e.ConfigValue
		}
	}
	return values, nil
}
