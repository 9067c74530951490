package ops

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"

	"membersync/cmd/internal/config"
	"membersync/cmd/internal/wiring"
	"membersync/dedupe"
	"membersync/dlq"
	"membersync/dlq/partlog"
)

// checkTimeout bounds each of the checks.
const checkTimeout = 15 * time.Second

var errCheckTimeout = errors.New("no answer in time")

// A Finding is the result of one check.
type Finding struct {
	Check  string       `json:"check"`
	State  FindingState `json:"state"`
	Detail string       `json:"detail"`
}

// A FindingState says how a check ended.
type FindingState string

// The states of findings.
const (
	FindingOK      FindingState = "ok"
	FindingFailed  FindingState = "failed"
	FindingSkipped FindingState = "skipped" // because of an earlier one
)

// CheckServers reaches Kafka, Redis and the CRM, one after the other, without changing anything.
// What it finds is passed to the function. Each check takes 15 s at most.
func CheckServers(ctx context.Context, cfg config.Config, parts *wiring.Parts, found func(Finding)) {
	for _, c := range []struct {
		name  string
		check func(context.Context) (string, error)
	}{
		{"kafka", func(ctx context.Context) (string, error) { return checkKafka(ctx, cfg, parts.Kafka) }},
		{"redis", func(ctx context.Context) (string, error) { return checkRedis(ctx, cfg.Kafka.Group, parts) }},
		{"crm", func(ctx context.Context) (string, error) { return checkCRM(ctx, cfg.CRM, parts) }},
	} {
		f := Finding{Check: c.name, State: FindingOK}
		detail, err := within(ctx, c.check)
		f.Detail = detail
		if err != nil {
			err = parts.TLSCause(ctx, cfg, c.name, err)
			f.State, f.Detail = FindingFailed, err.Error()+wiring.Advice(c.name, err)
		}
		found(f)
	}
}

func within(ctx context.Context, check func(context.Context) (string, error)) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, checkTimeout, errCheckTimeout)
	defer cancel()
	detail, err := check(ctx)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return detail, err
}

// checkKafka looks at the topics alone: a check creates nothing.
func checkKafka(ctx context.Context, cfg config.Config, client *kafka.Client) (string, error) {
	topics := wiring.Topics(cfg)
	spec := dlq.TopicSpec{Topics: topics, Create: cfg.Kafka.CreateTopics}
	if err := dlq.CheckPermissions(ctx, client, spec, cfg.Kafka.Group); err != nil {
		return "", err
	}
	names := []string{topics.Source, topics.DLQ, topics.Redrive, topics.Audit}
	answer, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: names})
	if err != nil {
		return "", err
	}
	partitions := map[string]int{}
	for _, t := range answer.Topics {
		switch {
		case errors.Is(t.Error, kafka.UnknownTopicOrPartition):
		case t.Error != nil:
			return "", fmt.Errorf("topic %s: %w", t.Name, partlog.OnTopic("Describe", t.Name, t.Error))
		default:
			partitions[t.Name] = len(t.Partitions)
		}
	}
	detail, err := describeTopics(names, partitions, cfg.Kafka.CreateTopics)
	if err != nil {
		return "", err
	}
	if err := memberTTLRefusal(ctx, cfg, client); err != nil {
		return "", err
	}
	warning, err := warnOfCompaction(ctx, client, topics.Source)
	return detail + warning, err
}

const cleanupPolicy = "cleanup.policy"

// warnOfCompaction returns a warning if the source topic is compacted: an event is kept only until
// a newer one with its key, whether or not it was read, and an update is sparse. Settings that the
// credentials may not read are passed over.
func warnOfCompaction(ctx context.Context, client *kafka.Client, topic string) (string, error) {
	res, err := client.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{
		{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, ConfigNames: []string{cleanupPolicy}},
	}})
	if err != nil {
		return "", fmt.Errorf("reading the settings of topic %s: %w", topic, err)
	}
	for _, r := range res.Resources {
		if r.Error != nil {
			if errors.Is(r.Error, kafka.TopicAuthorizationFailed) || errors.Is(r.Error, kafka.ClusterAuthorizationFailed) {
				return "", nil
			}
			return "", fmt.Errorf("reading the settings of topic %s: %w", topic, r.Error)
		}
		for _, e := range r.ConfigEntries {
			if e.ConfigName == cleanupPolicy && strings.Contains(e.ConfigValue, "compact") {
				return fmt.Sprintf("; warning: topic %s is compacted (cleanup.policy=%s): an event that is followed by another "+
					"with its key can be deleted before it is read, and a replay misses it", topic, e.ConfigValue), nil
			}
		}
	}
	return "", nil
}

// describeTopics wants the first topic, which membersync never creates, and the others unless they
// can be created.
func describeTopics(names []string, partitions map[string]int, create bool) (string, error) {
	source, missing := names[0], slices.DeleteFunc(slices.Clone(names[1:]), func(name string) bool { return partitions[name] > 0 })
	detail, own := fmt.Sprintf("topic %s has %d partitions", source, partitions[source]), strings.Join(missing, ", ")
	switch {
	case partitions[source] > 0 && len(missing) == 0:
		return detail + "; membersync's own topics are there", nil
	case partitions[source] > 0 && create:
		return detail + "; run will create " + own, nil
	case partitions[source] > 0:
		return "", errors.New("missing topics: " + own + mustCreate)
	}
	fault := "missing source topic: " + source + "; create it, membersync does not, or correct MEMBERSYNC_KAFKA_TOPIC"
	switch {
	case len(missing) > 0 && create:
		fault += ". Then run will create " + own
	case len(missing) > 0:
		fault += ". Missing topics of membersync itself: " + own + mustCreate
	}
	return "", errors.New(fault)
}

// mustCreate says what to do about missing topics of membersync itself.
const mustCreate = "; create them, or set MEMBERSYNC_KAFKA_CREATE_TOPICS=true"

// checkRedis looks at the server, at the state of the group if there is one, and at the lookups.
func checkRedis(ctx context.Context, group string, parts *wiring.Parts) (detail string, err error) {
	switch err := parts.Store.Check(ctx); {
	case errors.Is(err, dedupe.ErrEvictionUnknown):
		detail = "reachable; it does not tell its maxmemory-policy, which must be noeviction: look there, or add +info to the ACL of its user"
	case err != nil:
		return "", err
	default:
		detail = "reachable, maxmemory-policy noeviction"
	}
	switch marker, err := parts.Store.Marker(ctx, group); {
	case err != nil:
		return "", err
	case marker.OtherKey:
		if beats, err := heartbeatsOf(ctx, parts, group); err != nil || findTheState(beats) {
			return "", cmp.Or[error](err, ErrKeyOfNone)
		}
		return "", errors.New(stateOfOtherKey)
	}
	if parts.Hashes == nil {
		return detail, nil
	}
	return detail, parts.Hashes.Check(ctx)
}

// checkCRM asks whether the API responds, and fetches a token. A fixed one cannot be proven without
// a call that modifies.
func checkCRM(ctx context.Context, cfg config.CRM, parts *wiring.Parts) (string, error) {
	if err := parts.CRM.Probe(ctx); err != nil {
		return "", err
	}
	if cfg.Token.IsSet() {
		return "reachable, token unproven: only an update tests a fixed token, and check sends none", nil
	}
	if _, err := parts.Token.Token(ctx); err != nil {
		return "", err
	}
	return "reachable, token fetched", nil
}
