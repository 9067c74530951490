package dlq

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"

	"membersync/dlq/partlog"
)

const (
	maxMessageBytes = "max.message.bytes"

	// topicHeadroom is how many bytes a dead letter may need beyond its source record.
	topicHeadroom = 64 << 10

	createTimeout = 30 * time.Second

	// How long awaitLeaders waits for created topics, and how often it asks for their offsets.
	leaderTimeout  = 10 * time.Second
	leaderInterval = 50 * time.Millisecond
)

var errCreateTimeout = errors.New("dlq: creating the topics took too long")

// Topics names the source topic and membersync's own three.
type Topics struct{ Source, DLQ, Redrive, Audit string }

// A TopicSpec specifies the topics that must exist.
type TopicSpec struct {
	Topics
	Retention time.Duration // of DLQ and audit topic when created; 0 or less: the broker's default
	Create    bool          // create membersync's own topics if they are missing
}

// EnsureTopics looks up all topics, and creates membersync's own missing ones if spec.Create is
// set. New topics get the source topic's number of partitions and replication factor. The source
// topic is never created. If the client's transport has MetadataTopics, they must name all four
// topics.
//
// It fails with a [*MissingTopicError] if a topic is missing that it may not create, and with an
// error that [IsUnavailable] recognizes while Kafka is unavailable. A [*SmallTopicError] is a
// warning: all topics exist, but a large dead letter may not fit.
func EnsureTopics(ctx context.Context, client *kafka.Client, spec TopicSpec) error {
	present, err := lookUp(ctx, client, spec.Source, spec.DLQ, spec.Redrive, spec.Audit)
	if err != nil {
		return err
	}
	source, ok := present[spec.Source]
	if !ok {
		return &MissingTopicError{Topic: spec.Source}
	}
	var missing []string
	for _, name := range []string{spec.DLQ, spec.Redrive, spec.Audit} {
		if _, ok := present[name]; !ok {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 && !spec.Create {
		return &MissingTopicError{Topic: missing[0]}
	}
	if len(missing) > 0 {
		if err := create(ctx, client, spec, source, missing); err != nil {
			return err
		}
		awaitLeaders(ctx, client, missing, len(source.Partitions))
	}
	if slices.Contains(missing, spec.DLQ) {
		return nil // created with the right size, and another broker may not know it yet
	}
	return checkSize(ctx, client, spec)
}

// lookUp returns the topics that exist. It reads the transport's metadata cache, which may be a few
// seconds old.
func lookUp(ctx context.Context, client *kafka.Client, names ...string) (map[string]kafka.Topic, error) {
	res, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: names})
	if err != nil {
		return nil, fmt.Errorf("looking up topics: %w", err)
	}
	present := make(map[string]kafka.Topic, len(names))
	for _, t := range res.Topics {
		switch {
		case errors.Is(t.Error, kafka.UnknownTopicOrPartition):
		case t.Error != nil:
			return nil, fmt.Errorf("looking up topic %s: %w", t.Name, partlog.OnTopic("Describe", t.Name, t.Error))
		case len(t.Partitions) == 0:
			return nil, fmt.Errorf("looking up topic %s: it has no partitions yet: %w", t.Name, kafka.LeaderNotAvailable)
		default:
			present[t.Name] = t
		}
	}
	return present, nil
}

func create(ctx context.Context, client *kafka.Client, spec TopicSpec, source kafka.Topic, names []string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, createTimeout, errCreateTimeout)
	defer cancel()
	limit, err := messageLimit(ctx, client, spec.Source)
	if err != nil {
		return err
	}
	req := &kafka.CreateTopicsRequest{}
	for _, name := range names {
		req.Topics = append(req.Topics, kafka.TopicConfig{
			Topic:             name,
			NumPartitions:     len(source.Partitions),
			ReplicationFactor: len(source.Partitions[0].Replicas),
			ConfigEntries:     settings(spec, name, withHeadroom(limit)),
		})
	}
	res, err := client.CreateTopics(ctx, req)
	if err != nil {
		return fmt.Errorf("creating topics: %w", err)
	}
	for _, name := range names {
		// Another instance may have created it since the lookup.
		if err := res.Errors[name]; err != nil && !errors.Is(err, kafka.TopicAlreadyExists) {
			return fmt.Errorf("creating topic %s: %w", name, partlog.OnTopic("Create", name, err))
		}
	}
	return nil
}

// awaitLeaders waits until the partitions of newly created topics can be read and written. For a
// moment their leaders do not know that they lead them, and a client that is refused then retries
// only after a backoff. After leaderTimeout it returns and leaves the rest to that backoff.
func awaitLeaders(ctx context.Context, client *kafka.Client, names []string, partitions int) {
	ctx, cancel := context.WithTimeoutCause(ctx, leaderTimeout, errCreateTimeout)
	defer cancel()
	req := &kafka.ListOffsetsRequest{Topics: make(map[string][]kafka.OffsetRequest)}
	for _, name := range names {
		for p := range partitions {
			req.Topics[name] = append(req.Topics[name], kafka.FirstOffsetOf(p))
		}
	}
	tick := time.NewTicker(leaderInterval)
	defer tick.Stop()
	for !haveLeaders(ctx, client, req) {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			dropMetadata(client)
		}
	}
}

// dropMetadata makes the client fetch the cluster's metadata again. kafka-go caches it for up to
// 6 s, including the fact that a topic is unknown.
func dropMetadata(client *kafka.Client) {
	if t, ok := client.Transport.(*kafka.Transport); ok {
		t.CloseIdleConnections()
	}
}

// haveLeaders reports whether every partition has a leader that knows that it leads it. It also
// reports true for errors that do not pass by themselves, so that they are not waited for.
func haveLeaders(ctx context.Context, client *kafka.Client, req *kafka.ListOffsetsRequest) bool {
	res, err := client.ListOffsets(ctx, req)
	if err != nil {
		return !IsUnavailable(err)
	}
	for _, partitions := range res.Topics {
		for _, p := range partitions {
			if IsUnavailable(p.Error) {
				return false
			}
		}
	}
	return true
}

func settings(spec TopicSpec, name string, limit int64) []kafka.ConfigEntry {
	entries := []kafka.ConfigEntry{
		{ConfigName: "cleanup.policy", ConfigValue: "delete"},
		{ConfigName: maxMessageBytes, ConfigValue: strconv.FormatInt(limit, 10)},
	}
	if name != spec.Redrive && spec.Retention > 0 {
		ms := strconv.FormatInt(spec.Retention.Milliseconds(), 10)
		entries = append(entries, kafka.ConfigEntry{ConfigName: "retention.ms", ConfigValue: ms})
	}
	return entries
}

// withHeadroom adds the headroom, up to the largest value that max.message.bytes can have.
func withHeadroom(limit int64) int64 { return min(limit+topicHeadroom, math.MaxInt32) }

func checkSize(ctx context.Context, client *kafka.Client, spec TopicSpec) error {
	source, err := messageLimit(ctx, client, spec.Source)
	if err != nil {
		return ignoreForbidden(err)
	}
	limit, err := messageLimit(ctx, client, spec.DLQ)
	if err != nil {
		return ignoreForbidden(err)
	}
	if need := withHeadroom(source); limit < need {
		return &SmallTopicError{Topic: spec.DLQ, Limit: limit, Need: need}
	}
	return nil
}

// ignoreForbidden drops authorization errors. A service whose credentials may not read topic
// settings can run, because the size check only warns.
func ignoreForbidden(err error) error {
	if errors.Is(err, kafka.TopicAuthorizationFailed) || errors.Is(err, kafka.ClusterAuthorizationFailed) {
		return nil
	}
	return err
}

func messageLimit(ctx context.Context, client *kafka.Client, topic string) (int64, error) {
	res, err := client.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{
		Resources: []kafka.DescribeConfigRequestResource{{
			ResourceType: kafka.ResourceTypeTopic,
			ResourceName: topic,
			ConfigNames:  []string{maxMessageBytes},
		}},
	})
	if err != nil {
		return 0, fmt.Errorf("reading the settings of topic %s: %w", topic, err)
	}
	for _, r := range res.Resources {
		if r.Error != nil {
			return 0, fmt.Errorf("reading the settings of topic %s: %w", topic, partlog.OnTopic("DescribeConfigs", topic, r.Error))
		}
		for _, e := range r.ConfigEntries {
			if e.ConfigName == maxMessageBytes {
				return parseLimit(topic, e.ConfigValue)
			}
		}
	}
	return 0, fmt.Errorf("reading the settings of topic %s: the response lacks %s", topic, maxMessageBytes)
}

func parseLimit(topic, value string) (int64, error) {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("reading %s of topic %s: %w", maxMessageBytes, topic, err)
	}
	return n, nil
}
