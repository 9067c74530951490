package partlog

import (
	"context"
	"errors"
	"fmt"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// A DeniedError reports that Kafka's ACLs do not allow an operation. The same request fails until
// an ACL is added, which takes effect at once, on open connections too.
// https://kafka.apache.org/documentation/#security_authz
type DeniedError struct {
	Operation string // as in an ACL, such as Read, Write, Describe or DescribeConfigs
	Resource  string // topic, group or cluster
	Name      string // of the topic or group
	Err       error  // the broker's code
}

// Error names the missing ACL.
func (e *DeniedError) Error() string {
	return fmt.Sprintf("these credentials may not %s %s %s: add an ACL for this operation, see cmd/SECURITY.md",
		e.Operation, e.Resource, e.Name)
}

// Unwrap returns the broker's code.
func (e *DeniedError) Unwrap() error { return e.Err }

// OnTopic returns the error of an operation on a topic: a [*DeniedError] if the broker has refused
// it for lack of a permission, otherwise the error as it is.
func OnTopic(operation, topic string, err error) error {
	if errors.Is(err, kafka.TopicAuthorizationFailed) {
		return &DeniedError{Operation: operation, Resource: "topic", Name: topic, Err: kafka.TopicAuthorizationFailed}
	}
	return err
}

// Explain returns the error of a request about a partition: a [*DeniedError] if the client has not
// found the partition because the credentials may not describe its topic, otherwise the error as
// it is.
func Explain(ctx context.Context, client *kafka.Client, topic string, err error) error {
	if !errors.Is(err, protocol.ErrNoTopic) && !errors.Is(err, protocol.ErrNoPartition) {
		return err
	}
	res, lookUpErr := client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
	if lookUpErr != nil {
		return err
	}
	for _, t := range res.Topics {
		if t.Name == topic && errors.Is(t.Error, kafka.TopicAuthorizationFailed) {
			return OnTopic("Describe", topic, t.Error)
		}
	}
	return err
}

// OnGroup is [OnTopic] for a consumer group.
func OnGroup(operation, group string, err error) error {
	if errors.Is(err, kafka.GroupAuthorizationFailed) {
		return &DeniedError{Operation: operation, Resource: "group", Name: group, Err: kafka.GroupAuthorizationFailed}
	}
	return err
}
