package source_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"

	"membersync/consumer/intake/source"
	"membersync/dlq/kafkatest"
)

func TestRecordsAreReadAsWritten(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	topic := b.Topic(t, 1, nil)
	at := time.UnixMilli(1_700_000_000_123)
	b.Produce(t, topic,
		kafka.Message{Key: []byte("key"), Value: []byte("value"), Time: at, Headers: []kafka.Header{
			{Key: "null"}, {Key: "empty", Value: []byte{}}, {Key: "twice", Value: []byte("1")}, {Key: "twice", Value: []byte("2")},
		}},
		kafka.Message{Key: nil, Value: nil, Time: at},
		kafka.Message{Key: []byte{}, Value: []byte{}, Time: at})
	batch := fetch(t, newLog(t, b), topic, 0)
	want := []source.Record{
		{Offset: 0, Time: at, Key: []byte("key"), Value: []byte("value"), Headers: []kafka.Header{
			{Key: "null"}, {Key: "empty", Value: []byte{}}, {Key: "twice", Value: []byte("1")}, {Key: "twice", Value: []byte("2")},
		}},
		{Offset: 1, Time: at},
		{Offset: 2, Time: at, Key: []byte{}, Value: []byte{}},
	}
	if diff := cmp.Diff(want, batch.Records, cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	if batch.Next != 3 || batch.HighWatermark != 3 || batch.LogStart != 0 {
		t.Errorf("next %d, high watermark %d, log start %d", batch.Next, batch.HighWatermark, batch.LogStart)
	}
}

// The bytes of a record must not change when kafka-go reuses its pages.
func TestRecordsStayValidAfterLaterFetches(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	topic := b.Topic(t, 1, nil)
	body := func(i int) []byte { return bytes.Repeat([]byte{"abcdefgh"[i]}, 20<<10) }
	for i := range 8 {
		b.Produce(t, topic, kafka.Message{Key: body(i), Value: body(i), Headers: []kafka.Header{{Key: "h", Value: body(i)}}})
	}
	for i, r := range readTo(t, newLog(t, b), topic, 0, 8) {
		if !bytes.Equal(r.Key, body(i)) || !bytes.Equal(r.Value, body(i)) || !bytes.Equal(r.Headers[0].Value, body(i)) {
			t.Errorf("record %d has changed", i)
		}
	}
}

// The broker returns whole batches. Records below the requested offset are left out.
func TestRecordsBelowTheOffsetAreLeftOut(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	topic := b.Topic(t, 1, nil)
	b.Produce(t, topic, text("0"), text("1"), text("2"), text("3"))
	for offset := range int64(4) {
		batch := fetch(t, newLog(t, b), topic, offset)
		if len(batch.Records) != 4-int(offset) || batch.Records[0].Offset != offset {
			t.Errorf("from %d: %v", offset, values(batch.Records))
		}
	}
}

func TestFetchAtTheEndOfTheLogIsEmpty(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	topic := b.Topic(t, 1, nil)
	b.Produce(t, topic, text("0"))
	batch := fetch(t, newLog(t, b), topic, 1)
	if len(batch.Records) != 0 || batch.Next != 1 || batch.HighWatermark != 1 {
		t.Errorf("at the end: %+v", batch)
	}
}

func TestAbortedTransactionsAreNotReturned(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	topic := b.Topic(t, 1, nil)
	b.Produce(t, topic, text("plain"))
	inTransaction(t, b, topic, (*kafkatest.Tx).Abort, "aborted 1", "aborted 2")
	inTransaction(t, b, topic, (*kafkatest.Tx).Commit, "committed 1", "committed 2")
	inTransaction(t, b, topic, (*kafkatest.Tx).Abort, "aborted 3")
	b.Produce(t, topic, text("last"))
	inTransaction(t, b, topic, (*kafkatest.Tx).Abort, "aborted 4")
	end := b.Ends(t, topic)[0]
	want := []string{"plain", "committed 1", "committed 2", "last"}
	l := newLog(t, b)
	if diff := cmp.Diff(want, values(readTo(t, l, topic, 0, end))); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	for from := range end { // from each offset, also in the middle of a transaction
		for _, v := range values(readTo(t, l, topic, from, end)) {
			if strings.HasPrefix(v, "aborted") {
				t.Errorf("from %d: %q was read", from, v)
			}
		}
	}
}

// inTransaction writes the values in one transaction, and ends it.
func inTransaction(t *testing.T, b *kafkatest.Broker, topic string, end func(*kafkatest.Tx, testing.TB), vs ...string) {
	t.Helper()
	tx := b.Begin(t)
	for _, v := range vs { // one batch per value
		tx.Produce(t, topic, text(v))
	}
	end(tx, t)
}

// Two producers write at the same time, and one aborts. Only its batches are left out.
func TestInterleavedTransactions(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	topic := b.Topic(t, 1, nil)
	good, bad := b.Begin(t), b.Begin(t)
	for i := range 3 {
		bad.Produce(t, topic, text(fmt.Sprintf("bad %d", i)))
		good.Produce(t, topic, text(fmt.Sprintf("good %d", i)))
	}
	bad.Abort(t)
	good.Produce(t, topic, text("good 3"))
	good.Commit(t)
	got := values(readTo(t, newLog(t, b), topic, 0, b.Ends(t, topic)[0]))
	if diff := cmp.Diff([]string{"good 0", "good 1", "good 2", "good 3"}, got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

func TestReaderStopsAtAnOpenTransaction(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	topic := b.Topic(t, 1, nil)
	b.Produce(t, topic, text("before"))
	tx := b.Begin(t)
	tx.Produce(t, topic, text("open"))
	b.Produce(t, topic, text("after"))
	l := newLog(t, b)
	first := fetch(t, l, topic, 0)
	if diff := cmp.Diff([]string{"before"}, values(first.Records)); diff != "" || first.Next != 1 {
		t.Fatalf("next %d, records (-want +got):\n%s", first.Next, diff)
	}
	began := time.Now()
	for range 3 {
		if batch := fetch(t, l, topic, 1); len(batch.Records) != 0 || batch.Next != 1 {
			t.Fatalf("after the open transaction: next %d, %v", batch.Next, values(batch.Records))
		}
	}
	if took := time.Since(began); took < 2*fetchWait {
		t.Errorf("three fetches took %v: the reader polls without waiting", took)
	}
	tx.Commit(t)
	got := values(readTo(t, l, topic, 1, b.Ends(t, topic)[0]))
	if diff := cmp.Diff([]string{"open", "after"}, got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

func TestRecordLargerThanAFetchIsRead(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	topic := b.Topic(t, 1, nil)
	big := bytes.Repeat([]byte("x"), 500<<10)
	b.Produce(t, topic, text("small"))
	b.Produce(t, topic, kafka.Message{Value: big})
	b.Produce(t, topic, text("after"))
	records := readTo(t, source.NewLog(b.Client(t), 1<<10, fetchWait), topic, 0, 3)
	if len(records) != 3 || !bytes.Equal(records[1].Value, big) {
		t.Errorf("%d records", len(records))
	}
}

// A broker cuts its response at the requested number of bytes, in the middle of a batch.
func TestResponsesThatEndInTheMiddleOfABatch(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	topic := b.Topic(t, 1, nil)
	const n = 40
	var want []string
	for i := range n {
		v := fmt.Sprintf("%d-%s", i, bytes.Repeat([]byte("x"), 300+i))
		b.Produce(t, topic, text(v))
		want = append(want, v)
	}
	for _, size := range []int32{500, 1000, 1003, 2500} {
		got := values(readTo(t, source.NewLog(b.Client(t), size, fetchWait), topic, 0, n))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("fetches of %d bytes (-want +got):\n%s", size, diff)
		}
	}
}

func TestOffsetBelowTheLogIsOutOfRange(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	topic := b.Topic(t, 1, nil)
	b.Produce(t, topic, text("0"))
	b.Produce(t, topic, text("1"))
	b.Produce(t, topic, text("2"))
	b.DeleteRecords(t, topic, 0, 2)
	_, err := newLog(t, b).Fetch(t.Context(), topic, 0, 1)
	_ = wantOutOfRange(t, err, 1)
}

func TestOffsetAboveTheLogIsOutOfRange(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	topic := b.Topic(t, 1, nil)
	b.Produce(t, topic, text("0"))
	_, err := newLog(t, b).Fetch(t.Context(), topic, 0, 7)
	gone := wantOutOfRange(t, err, 7)
	if text := gone.Error(); !strings.Contains(text, topic) || !strings.Contains(text, "offset 7") {
		t.Errorf("the error does not name topic and offset: %s", text)
	}
}

func TestFetchOfAMissingTopicFails(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	if _, err := newLog(t, b).Fetch(t.Context(), b.Name(t), 0, 0); err == nil {
		t.Error("a fetch of a missing topic did not fail")
	}
}

// Compaction leaves gaps between offsets, and batches without their last records. The reader
// continues after both.
func TestCompactedTopicIsReadToItsEnd(t *testing.T) {
	t.Parallel()
	b := kafkatest.StartFake(t) // the time of a real broker's compaction is not predictable
	topic := b.Topic(t, 1, map[string]string{"cleanup.policy": "compact"})
	keyed := func(vs ...string) {
		var msgs []kafka.Message
		for _, v := range vs {
			msgs = append(msgs, kafka.Message{Key: []byte(v[:1]), Value: []byte(v)})
		}
		b.Produce(t, topic, msgs...)
	}
	keyed("a1", "b1", "c1")
	keyed("b2", "c2")
	keyed("c3")
	keyed("d1") // the last batch is not compacted
	b.Fake().Compact()
	var want []string
	for _, m := range b.ReadAll(t, topic) {
		want = append(want, string(m.Value))
	}
	if len(want) > 5 {
		t.Fatalf("nothing was compacted: %v", want)
	}
	l := newLog(t, b)
	if diff := cmp.Diff(want, values(readTo(t, l, topic, 0, 7))); diff != "" {
		t.Fatalf("records (-want +got):\n%s", diff)
	}
	for from := range int64(7) { // also from an offset that was compacted away
		records := readTo(t, l, topic, from, 7)
		if records[0].Offset < from || string(records[len(records)-1].Value) != "d1" {
			t.Errorf("from %d: %v", from, values(records))
		}
	}
}
