package source_test

import (
	"errors"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"go.uber.org/goleak"

	"membersync/consumer/intake/source"
	"membersync/dlq/kafkatest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	fetchBytes = 64 << 10
	fetchWait  = 100 * time.Millisecond
)

func newLog(t *testing.T, b *kafkatest.Broker) *source.Log {
	t.Helper()
	return source.NewLog(b.Client(t), fetchBytes, fetchWait)
}

func fetch(t *testing.T, l *source.Log, topic string, offset int64) source.Batch {
	t.Helper()
	batch, err := l.Fetch(t.Context(), topic, 0, offset)
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

// readTo fetches until the position reaches the end, and returns the records. It fails if a fetch
// does not advance.
func readTo(t *testing.T, l *source.Log, topic string, from, end int64) []source.Record {
	t.Helper()
	var records []source.Record
	for at := from; at < end; {
		batch := fetch(t, l, topic, at)
		if batch.Next <= at {
			t.Fatalf("a fetch at %d continues at %d; the end is %d", at, batch.Next, end)
		}
		records, at = append(records, batch.Records...), batch.Next
	}
	return records
}

func text(value string) kafka.Message {
	return kafka.Message{Key: []byte("k-" + value), Value: []byte(value)}
}

func values(records []source.Record) []string {
	var vs []string
	for _, r := range records {
		vs = append(vs, string(r.Value))
	}
	return vs
}

func wantOutOfRange(t *testing.T, err error, offset int64) *source.OutOfRangeError {
	t.Helper()
	var outOfRange *source.OutOfRangeError
	if !errors.As(err, &outOfRange) {
		t.Fatalf("error %v, want an OutOfRangeError", err)
	}
	if outOfRange.Offset != offset {
		t.Errorf("the error names offset %d, want %d", outOfRange.Offset, offset)
	}
	return outOfRange
}
