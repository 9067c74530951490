package source_test

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"go.uber.org/goleak"

	"membersync/consumer/intake/source"
	"membersync/dlq/kafkatest"
	"membersync/dlq/partlog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const fetchWait = 100 * time.Millisecond

func newLog(t *testing.T, b *kafkatest.Broker) *source.Log {
	t.Helper()
	return logOf(b.Client(t))
}

func logOf(client *kafka.Client) *source.Log { return logWithin(client, 1<<20) }

func logWithin(client *kafka.Client, recordBytes int64) *source.Log {
	return source.NewLog(client, source.Bounds{
		Wait: fetchWait, RecordBytes: recordBytes, MaxHeaders: partlog.MaxHeaders, Budget: partlog.NewBudget(1 << 20),
	})
}

// A result is what one fetch returned.
type result struct {
	Records                       []source.Record
	Next, HighWatermark, LogStart int64
}

func fetch(t *testing.T, l *source.Log, topic string, offset int64) result {
	t.Helper()
	return fetchBytes(t, l, topic, offset, 64<<10)
}

func fetchBytes(t *testing.T, l *source.Log, topic string, offset, bytes int64) (r result) {
	t.Helper()
	c, err := l.Open(t.Context(), topic, 0, offset, bytes)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for {
		rec, err := c.Next(t.Context())
		if errors.Is(err, io.EOF) {
			r.Next, r.HighWatermark, r.LogStart = c.Position(), c.HighWatermark, c.LogStart
			return r
		}
		if err != nil {
			t.Fatal(err)
		}
		r.Records = append(r.Records, rec)
	}
}

// readTo fetches until the position reaches the end, and returns the records. It fails if a fetch
// does not advance.
func readTo(t *testing.T, l *source.Log, topic string, from, end int64) []source.Record {
	t.Helper()
	return readBy(t, l, topic, from, end, 64<<10)
}

func readBy(t *testing.T, l *source.Log, topic string, from, end, bytes int64) []source.Record {
	t.Helper()
	var records []source.Record
	for at := from; at < end; {
		batch := fetchBytes(t, l, topic, at, bytes)
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
