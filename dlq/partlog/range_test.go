package partlog_test

import (
	"errors"
	"strings"
	"syscall"
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

// Operators read the error of a command while Kafka is away.
func TestALookupSaysWhatFailed(t *testing.T) {
	t.Parallel()
	transport := &kafka.Transport{}
	defer transport.CloseIdleConnections()
	client := &kafka.Client{Addr: kafka.TCP("127.0.0.1:1"), Transport: transport}
	_, err := partlog.New(client, 1<<20, time.Second).Partitions(t.Context(), "sample")
	if !errors.Is(err, syscall.ECONNREFUSED) || !strings.HasPrefix(err.Error(), "looking up topic sample: dial tcp 127.0.0.1:1: ") {
		t.Errorf("%v, want what was looked up, and that the connection was refused", err)
	}
}
