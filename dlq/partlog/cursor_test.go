package partlog_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kmsg"

	"membersync/dlq/kafkatest"
	"membersync/dlq/partlog"
)

var errTestOver = errors.New("the test is over")

func bounds(budget partlog.Budget) partlog.Bounds {
	return partlog.Bounds{
		ResponseBytes: 1 << 10, Wait: 100 * time.Millisecond, RecordBytes: 1 << 20, MaxHeaders: 10, Budget: budget,
	}
}

// open fetches from the start of the topic's first partition.
func open(t *testing.T, l *partlog.Log, topic string, offset int64) *partlog.Cursor {
	t.Helper()
	c, err := l.Open(t.Context(), topic, 0, offset, 1<<10)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// read returns the lengths of the values, or the text of a rejection.
func read(t *testing.T, c *partlog.Cursor) (list []string) {
	t.Helper()
	for {
		rec, err := c.Next(t.Context())
		switch {
		case errors.Is(err, io.EOF):
			return list
		case err != nil:
			t.Fatal(err)
		case rec.Rejection != nil:
			list = append(list, fmt.Sprintf("%d-%d %s", rec.Offset, rec.Rejection.Last, rec.Rejection.Text))
		default:
			list = append(list, fmt.Sprint(len(rec.Value)))
		}
	}
}

// wantFree wants all of the budget to be given back.
func wantFree(t *testing.T, b partlog.Budget) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errTestOver)
	defer cancel()
	for name, m := range map[string]*partlog.Memory{"responses": b.Responses, "decoders": b.Decoders, "records": b.Records} {
		if err := m.Reserve(ctx, m.Bytes()); err != nil {
			t.Errorf("%s: not all memory was given back", name)
			continue
		}
		m.Release(m.Bytes())
	}
}

// The first batch is larger than what was requested, and than all memory there is: it is fetched
// once more, alone.
func TestABatchLargerThanTheMemoryIsReadAlone(t *testing.T) {
	t.Parallel()
	b := kafkatest.StartFake(t)
	topic := b.Topic(t, 1, nil)
	b.Produce(t, topic, kafka.Message{Value: make([]byte, 100<<10)})
	budget := partlog.NewBudget(50 << 10)
	l := partlog.NewBounded(b.Client(t), bounds(budget))
	c := open(t, l, topic, 0)
	if got := read(t, c); len(got) != 1 || got[0] != fmt.Sprint(100<<10) || c.Position() != 1 {
		t.Errorf("%v, position %d", got, c.Position())
	}
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, errTestOver)
	defer cancel()
	if _, err := l.Open(ctx, topic, 0, 0, 1); !errors.Is(err, errTestOver) {
		t.Errorf("a second fetch did not wait: %v", err)
	}
	c.Kept()
	c.Close()
	c.Close() // does nothing
	wantFree(t, budget)
	if _, err := c.Next(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("after Close: %v", err)
	}
}

// A response that is given up leaves the position behind the latest record.
func TestClosedCursorContinuesBehindTheLatestRecord(t *testing.T) {
	t.Parallel()
	b := kafkatest.StartFake(t)
	topic := b.Topic(t, 1, nil)
	for i := range 3 {
		b.Produce(t, topic, kafka.Message{Value: make([]byte, 40<<10+i)}, kafka.Message{Value: make([]byte, i)})
	}
	budget := partlog.NewBudget(1 << 20)
	l := partlog.NewBounded(b.Client(t), bounds(budget))
	at, got := int64(0), ""
	for at < 6 {
		c := open(t, l, topic, at)
		rec, err := c.Next(t.Context())
		if err != nil || rec.Offset != at {
			t.Fatalf("at %d: record %d, %v", at, rec.Offset, err)
		}
		c.Close()
		at = c.Position()
		c.Kept() // the large ones are the reader's until then
		got += fmt.Sprint(len(rec.Value), " ")
	}
	if want := "40960 0 40961 1 40962 2 "; got != want {
		t.Errorf("read %s, want %s", got, want)
	}
	wantFree(t, budget)
}

// A batch that no process could hold stands for its records, unread.
func TestABatchThatIsTooLargeIsRejected(t *testing.T) {
	t.Parallel()
	b := kafkatest.StartFake(t)
	topic := b.Topic(t, 1, nil)
	const size = 19 << 20
	data := kmsg.RecordBatch{
		FirstOffset: 5, LastOffsetDelta: 3, Magic: 2, ProducerID: -1, NumRecords: 4, MaxTimestamp: 77,
		Length: size - 12, Records: make([]byte, size-61),
	}
	b.Fake().ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		b.Fake().KeepControl()
		res := kmsg.NewPtrFetchResponse()
		res.Version = req.GetVersion()
		p := kmsg.NewFetchResponseTopicPartition()
		p.HighWatermark, p.RecordBatches = 9, data.AppendTo(nil)
		one := kmsg.NewFetchResponseTopic()
		one.Topic, one.Partitions = topic, []kmsg.FetchResponseTopicPartition{p}
		res.Topics = []kmsg.FetchResponseTopic{one}
		return res, nil, true
	})
	budget := partlog.NewBudget(1 << 20)
	for from, want := range map[int64]string{0: "5-8", 5: "5-8", 7: "7-8"} {
		c := open(t, partlog.NewBounded(b.Client(t), bounds(budget)), topic, from)
		want += fmt.Sprintf(" the batch has %d bytes; the bound is %d", size, 18<<20)
		if got := read(t, c); len(got) != 1 || got[0] != want || c.Position() != 9 {
			t.Errorf("from %d: %q, position %d, want %q", from, got, c.Position(), want)
		}
		c.Close()
	}
	wantFree(t, budget)
}

// The commands' log visits rejected records, too.
func TestReadVisitsRejectedRecords(t *testing.T) {
	t.Parallel()
	b := kafkatest.StartFake(t)
	topic := b.Topic(t, 1, nil)
	b.Produce(t, topic, kafka.Message{Value: []byte("1")}, kafka.Message{Headers: make([]kafka.Header, 1101)}, kafka.Message{Value: []byte("2")})
	var got []string
	_, err := partlog.New(b.Client(t), 1<<20, 100*time.Millisecond).Read(t.Context(), topic, 0, partlog.Range{End: 3},
		func(rec *partlog.Record) error {
			value, err := rec.Value()
			if rec.Rejection != nil {
				value = []byte(rec.Rejection.Text)
			}
			got = append(got, string(value))
			return err
		})
	if want := "[1 has 1101 headers; the bound is 1100 2]"; err != nil || fmt.Sprint(got) != want {
		t.Errorf("visited %v, %v, want %s", got, err, want)
	}
}
