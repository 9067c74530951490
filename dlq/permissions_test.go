package dlq_test

import (
	"errors"
	"testing"

	"github.com/segmentio/kafka-go"

	"membersync/dlq"
	"membersync/dlq/kafkatest"
	"membersync/dlq/partlog"
)

// TestCheckPermissionsWithoutACLs wants nothing to be missing, and nothing to be created, at a
// broker without ACLs. What a broker with ACLs says is shown in cmd/internal/test/secured.
func TestCheckPermissionsWithoutACLs(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	source := b.Topic(t, 1, nil)
	topics := dlq.Topics{Source: source, DLQ: b.Name(t), Redrive: b.Name(t), Audit: b.Name(t)}
	client := b.Client(t)
	if err := dlq.CheckPermissions(t.Context(), client, dlq.TopicSpec{Topics: topics, Create: true}, b.Group(t)); err != nil {
		t.Error(err)
	}
	if _, err := partlog.New(client, 1, 0).Partitions(t.Context(), topics.DLQ); !errors.Is(err, kafka.UnknownTopicOrPartition) {
		t.Errorf("the check has created a topic: %v", err)
	}
}

func TestDeniedErrors(t *testing.T) {
	t.Parallel()
	err := partlog.OnGroup("Read", "g", partlog.OnTopic("Read", "t", kafka.TopicAuthorizationFailed))
	const want = "these credentials may not Read topic t: add an ACL for this operation, see cmd/SECURITY.md"
	if err.Error() != want || !errors.Is(err, kafka.TopicAuthorizationFailed) || dlq.IsUnavailable(err) {
		t.Errorf("%v, want %s", err, want)
	}
	if err := partlog.OnTopic("Read", "t", kafka.NotLeaderForPartition); !errors.Is(err, kafka.NotLeaderForPartition) {
		t.Error(err)
	}
	both := &dlq.PermissionsError{Missing: []*partlog.DeniedError{
		{Operation: "Read", Resource: "group", Name: "g"}, {Operation: "Write", Resource: "topic", Name: "t"},
	}}
	if text := both.Error(); text != "these credentials may not Read group g, Write topic t: add an ACL for each operation, see cmd/SECURITY.md" {
		t.Error(text)
	}
}
