package partlog_test

import (
	"errors"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"membersync/dlq/kafkatest"
	"membersync/dlq/partlog"
)

// The pages are often started together with the service, which creates the topics.
func TestATopicIsFoundAsSoonAsItExists(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	l := partlog.New(b.ClientLooking(t, time.Hour), 1<<20, time.Second)
	name := b.Name(t)
	if _, err := l.Ranges(t.Context(), name); !errors.Is(err, kafka.UnknownTopicOrPartition) {
		t.Fatalf("before it exists: %v", err)
	}
	b.Create(t, name, 3)
	if ranges, err := l.Ranges(t.Context(), name); err != nil || len(ranges) != 3 {
		t.Errorf("ranges %v, error %v", ranges, err)
	}
}
