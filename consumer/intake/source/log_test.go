package source_test

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kmsg"

	"membersync/consumer/intake/source"
	"membersync/dlq/kafkatest"
	"membersync/dlq/partlog"
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
	records := readBy(t, newLog(t, b), topic, 0, 3, 1<<10)
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
	for _, size := range []int64{500, 1000, 1003, 2500} {
		got := values(readBy(t, newLog(t, b), topic, 0, n, size))
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
	_, err := newLog(t, b).Open(t.Context(), topic, 0, 1, 1<<10)
	_ = wantOutOfRange(t, err, 1)
}

func TestOffsetAboveTheLogIsOutOfRange(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	topic := b.Topic(t, 1, nil)
	b.Produce(t, topic, text("0"))
	_, err := newLog(t, b).Open(t.Context(), topic, 0, 7, 1<<10)
	gone := wantOutOfRange(t, err, 7)
	if text := gone.Error(); !strings.Contains(text, topic) || !strings.Contains(text, "offset 7") {
		t.Errorf("the error does not name topic and offset: %s", text)
	}
}

func TestFetchOfAMissingTopicFails(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	if _, err := newLog(t, b).Open(t.Context(), b.Name(t), 0, 0, 1<<10); err == nil {
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

// Where the topic says so, a record's time is the broker's: a producer's clock does not decide
// which event is newer.
func TestLogAppendTime(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	topic := b.Topic(t, 1, map[string]string{"message.timestamp.type": "LogAppendTime"})
	now := time.Now()
	b.Produce(t, topic, kafka.Message{Value: []byte("x"), Time: now.Add(-30 * 24 * time.Hour)})
	if !b.Real() { // the fake broker does not know this setting
		const logAppendTime = 8
		respond(b, topic, encode(kmsg.RecordBatch{Attributes: logAppendTime, FirstTimestamp: 1, MaxTimestamp: now.UnixMilli()}, "x"))
	}
	at := fetch(t, newLog(t, b), topic, 0).Records[0].Time
	if age := time.Since(at); age > time.Hour {
		t.Errorf("the record is %v old: its time is the producer's", age)
	}
}

// The end of a batch is known from its header, so offsets that compaction removed there need no
// fetch each.
func TestTheCompactedEndOfABatchIsOneStep(t *testing.T) {
	t.Parallel()
	b := kafkatest.StartFake(t) // which compacts batches at their ends, unlike a real broker
	topic := b.Topic(t, 1, nil)
	respond(b, topic, encode(kmsg.RecordBatch{LastOffsetDelta: 49}, "kept"))
	if r := fetch(t, newLog(t, b), topic, 0); len(r.Records) != 1 || r.Next != 50 {
		t.Errorf("%d records, next %d, want 1 and 50", len(r.Records), r.Next)
	}
	if r := fetch(t, newLog(t, b), topic, 20); len(r.Records) != 0 || r.Next != 50 {
		t.Errorf("from the middle: %d records, next %d, want 0 and 50", len(r.Records), r.Next)
	}
}

func TestOversizedRecordIsRejected(t *testing.T) {
	t.Parallel()
	b := kafkatest.Start(t)
	topic := b.Topic(t, 1, nil)
	large := kafka.Message{Key: []byte("k"), Value: make([]byte, 10<<10), Headers: []kafka.Header{{Key: "h", Value: []byte("v")}}}
	many := kafka.Message{Value: []byte("v"), Headers: make([]kafka.Header, partlog.MaxHeaders+1)}
	b.Produce(t, topic, text("before"), large, many, text("after"))
	r := fetch(t, logWithin(b.Client(t), 10<<10), topic, 0)
	if got := values(r.Records); len(got) != 4 || got[0] != "before" || got[3] != "after" || r.Next != 4 {
		t.Fatalf("%q, next %d", got, r.Next)
	}
	for i, want := range map[int]string{1: "has 10243 bytes; the bound is 10240", 2: "has 1001 headers; the bound is 1000"} {
		rec := r.Records[i]
		if no := rec.Rejection; no == nil || no.Text != want || no.Last != rec.Offset || rec.Value != nil || rec.Headers != nil {
			t.Errorf("record %d: %+v, rejection %+v, want %q", i, rec, no, want)
		}
	}
}

// A batch that was changed on its way is an error with its place, never a gap. What precedes it is
// read.
func TestCorruptBatchIsAnError(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		read   int64
		change func(first, second []byte)
	}{
		"a value":    {1, func(_, second []byte) { second[len(second)-2] ^= 1 }},
		"a length":   {0, func(first, _ []byte) { first[8] = 0x7f }},
		"the format": {1, func(_, second []byte) { second[16] = 1 }},
	} {
		b := kafkatest.StartFake(t)
		topic := b.Topic(t, 1, nil)
		first, second := encode(kmsg.RecordBatch{}, "0"), encode(kmsg.RecordBatch{FirstOffset: 1}, "1")
		tc.change(first, second)
		respond(b, topic, append(first, second...))
		c, err := newLog(t, b).Open(t.Context(), topic, 0, 0, 1<<20)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		read := int64(0)
		for ; err == nil; read++ {
			_, err = c.Next(t.Context())
		}
		at := c.Position()
		c.Close()
		if read-1 != tc.read || at != tc.read || !strings.Contains(err.Error(), fmt.Sprintf("%s/0: batch at offset %d: ", topic, at)) {
			t.Errorf("%s: %d read, position %d, %v", name, read-1, at, err)
		}
	}
}

// respond lets the fake broker answer fetches of the topic's first partition with these batches.
func respond(b *kafkatest.Broker, topic string, data []byte) {
	b.Fake().ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		b.Fake().KeepControl()
		res := kmsg.NewPtrFetchResponse()
		res.Version = req.GetVersion()
		p := kmsg.NewFetchResponseTopicPartition()
		p.HighWatermark, p.LastStableOffset, p.RecordBatches = 100, 100, data
		one := kmsg.NewFetchResponseTopic()
		one.Topic, one.Partitions = topic, []kmsg.FetchResponseTopicPartition{p}
		res.Topics = []kmsg.FetchResponseTopic{one}
		return res, nil, true
	})
}

// encode completes a batch with one record.
func encode(b kmsg.RecordBatch, value string) []byte {
	rec := kmsg.Record{Value: []byte(value)}
	rec.Length = int32(len(rec.AppendTo(nil)) - 1) //nolint:gosec // a short value
	b.Records = rec.AppendTo(nil)
	b.Magic, b.ProducerID, b.NumRecords, b.Length = 2, -1, 1, int32(49+len(b.Records)) //nolint:gosec // likewise
	sum := crc32.Checksum(b.AppendTo(nil)[21:], crc32.MakeTable(crc32.Castagnoli))
	b.CRC = int32(sum) //nolint:gosec // the protocol's own type
	return b.AppendTo(nil)
}
