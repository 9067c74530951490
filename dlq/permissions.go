package dlq

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/createtopics"
	"github.com/segmentio/kafka-go/protocol/describegroups"
	"github.com/segmentio/kafka-go/protocol/metadata"

	"membersync/dlq/partlog"
)

// A PermissionsError lists what the ACLs of Kafka do not allow the service's credentials.
type PermissionsError struct{ Missing []*partlog.DeniedError }

// Error names all of them.
func (e *PermissionsError) Error() string {
	texts := make([]string, len(e.Missing))
	for i, m := range e.Missing {
		texts[i] = m.Operation + " " + m.Resource + " " + m.Name
	}
	return "these credentials may not " + strings.Join(texts, ", ") + ": add an ACL for each operation, see cmd/SECURITY.md"
}

// operationBits are the places of operations in the brokers' bit sets (KIP-430).
//
//nolint:gochecknoglobals // a constant table
var operationBits = map[string]int{"Read": 3, "Write": 4, "DescribeConfigs": 10}

// unknownOperations are the authorized operations of a broker that does not tell them.
const unknownOperations = -1 << 31

// CheckPermissions returns a [*PermissionsError] if the credentials lack a permission that the
// service needs, as far as the brokers say: of topics that do not exist, they say whether
// membersync's own may be created. It modifies nothing. Other errors are those of Kafka.
func CheckPermissions(ctx context.Context, client *kafka.Client, spec TopicSpec, group string) error {
	var denied PermissionsError
	missing, err := denied.addTopics(ctx, client, spec)
	if err == nil {
		err = denied.addGroup(ctx, client, group)
	}
	if err == nil && spec.Create && len(missing) > 0 {
		err = denied.addCreation(ctx, client, missing)
	}
	if err == nil && len(denied.Missing) > 0 {
		return &denied
	}
	return err
}

// addTopics returns which of membersync's own topics are missing.
func (e *PermissionsError) addTopics(ctx context.Context, client *kafka.Client, spec TopicSpec) (missing []string, err error) {
	needs := []struct {
		topic      string
		operations []string
	}{
		{spec.Source, []string{"Read", "DescribeConfigs"}},
		{spec.DLQ, []string{"Read", "Write", "DescribeConfigs"}},
		{spec.Redrive, []string{"Read", "DescribeConfigs"}},
		{spec.Audit, []string{"Read", "Write"}},
	}
	allowed, err := topicOperations(ctx, client, spec.Source, spec.DLQ, spec.Redrive, spec.Audit)
	if err != nil {
		return nil, err
	}
	for _, need := range needs {
		switch t := allowed[need.topic]; {
		case errors.Is(t.err, kafka.UnknownTopicOrPartition):
			if need.topic != spec.Source {
				missing = append(missing, need.topic)
			}
		case errors.Is(t.err, kafka.TopicAuthorizationFailed): // not even Describe, which the others imply
			e.add("topic", need.topic, t.err, need.operations, 0)
		case t.err != nil:
			return nil, fmt.Errorf("looking up topic %s: %w", need.topic, t.err)
		case t.operations != unknownOperations && t.operations != 0:
			e.add("topic", need.topic, kafka.TopicAuthorizationFailed, need.operations, t.operations)
		}
	}
	return missing, nil
}

// add adds those of the operations that are not among the allowed ones.
func (e *PermissionsError) add(resource, name string, code error, operations []string, allowed int32) {
	for _, op := range operations {
		if allowed&(1<<operationBits[op]) == 0 {
			e.Missing = append(e.Missing, &partlog.DeniedError{Operation: op, Resource: resource, Name: name, Err: code})
		}
	}
}

func (e *PermissionsError) addGroup(ctx context.Context, client *kafka.Client, group string) error {
	req := &describegroups.Request{Groups: []string{group}, IncludeAuthorizedOperations: true}
	answer, err := exchange[*describegroups.Response](ctx, client, req)
	if err == nil && len(answer.Groups) != 1 {
		err = errAnswer
	}
	if err != nil {
		return fmt.Errorf("describing group %s: %w", group, err)
	}
	switch g := answer.Groups[0]; kafka.Error(g.ErrorCode) {
	case kafka.GroupAuthorizationFailed:
		e.add("group", group, kafka.GroupAuthorizationFailed, []string{"Read"}, 0)
	case 0:
		if g.AuthorizedOperations != unknownOperations && g.AuthorizedOperations != 0 {
			e.add("group", group, kafka.GroupAuthorizationFailed, []string{"Read"}, g.AuthorizedOperations)
		}
	}
	return nil
}

// addCreation asks for the creation of topics without creating them.
func (e *PermissionsError) addCreation(ctx context.Context, client *kafka.Client, topics []string) error {
	const timeout = int32(createTimeout / time.Millisecond)
	req := &createtopics.Request{ValidateOnly: true, TimeoutMs: timeout}
	for _, name := range topics {
		req.Topics = append(req.Topics, createtopics.RequestTopic{Name: name, NumPartitions: 1, ReplicationFactor: 1})
	}
	answer, err := exchange[*createtopics.Response](ctx, client, &toController{raw{message: req}})
	if err != nil {
		return fmt.Errorf("asking whether topics may be created: %w", err)
	}
	for _, t := range answer.Topics {
		if code := kafka.Error(t.ErrorCode); code == kafka.TopicAuthorizationFailed || code == kafka.ClusterAuthorizationFailed {
			e.Missing = append(e.Missing, &partlog.DeniedError{Operation: "Create", Resource: "topic", Name: t.Name, Err: code})
		}
	}
	return nil
}

type topicAnswer struct {
	err        error
	operations int32 // a bit for each
}

var errAnswer = errors.New("the answer is not that of one request")

// topicOperations asks the broker, not the client's cache.
func topicOperations(ctx context.Context, client *kafka.Client, topics ...string) (map[string]topicAnswer, error) {
	req := &metadata.Request{TopicNames: topics, IncludeTopicAuthorizedOperations: true}
	answer, err := exchange[*metadata.Response](ctx, client, &raw{message: req})
	if err != nil {
		return nil, fmt.Errorf("looking up topics: %w", err)
	}
	answers := make(map[string]topicAnswer, len(topics))
	for _, t := range answer.Topics {
		one := topicAnswer{operations: t.TopicAuthorizedOperations}
		if t.ErrorCode != 0 {
			one.err = kafka.Error(t.ErrorCode)
		}
		answers[t.Name] = one
	}
	return answers, nil
}

// exchange sends a request and returns the response of the given type.
func exchange[R protocol.Message](ctx context.Context, client *kafka.Client, req protocol.Message) (response R, err error) {
	transport := client.Transport
	if transport == nil {
		transport = kafka.DefaultTransport
	}
	message, err := transport.RoundTrip(ctx, client.Addr, req)
	if err != nil {
		return response, err
	}
	if r, ok := message.(rawResponse); ok {
		message = r.Message
	}
	response, ok := message.(R)
	if !ok {
		return response, errAnswer
	}
	return response, nil
}

// A raw request goes to a broker as it is. kafka-go would answer one for metadata from a cache that
// has no authorized operations, and after one for the creation of topics wait until they exist.
type raw struct {
	message protocol.Message
	version int16
}

// A rawResponse is the response to a raw request.
type rawResponse struct{ protocol.Message }

// ApiKey implements [protocol.Message].
func (r *raw) ApiKey() protocol.ApiKey { return r.message.ApiKey() } //nolint:revive // kafka-go's name

// Required implements [protocol.RawExchanger].
func (r *raw) Required(versions map[protocol.ApiKey]int16) bool {
	r.version = versions[r.ApiKey()]
	return true
}

// RawExchange implements [protocol.RawExchanger]. Each connection carries one request at a time.
func (r *raw) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	if err := protocol.WriteRequest(rw, r.version, 1, "membersync", r.message); err != nil {
		return nil, err
	}
	_, response, err := protocol.ReadResponse(rw, r.ApiKey(), r.version)
	return rawResponse{response}, err
}

// toController is a raw request for the controller.
type toController struct{ raw }

// Broker implements [protocol.BrokerMessage].
func (*toController) Broker(cluster protocol.Cluster) (protocol.Broker, error) {
	return cluster.Brokers[cluster.Controller], nil
}
