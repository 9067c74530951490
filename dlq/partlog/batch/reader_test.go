package batch_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"membersync/dlq/partlog/batch"
)

func limits() batch.Limits {
	return batch.Limits{RecordBytes: 64 << 10, Headers: 20, InflaterBytes: 16 << 20}
}

// read returns all records of the one batch in data.
func read(t *testing.T, data []byte, from int64, l batch.Limits) []batch.Record {
	t.Helper()
	h, err := batch.Parse(data)
	if err == nil {
		err = h.Verify(data)
	}
	if err != nil {
		t.Fatal(err)
	}
	var r batch.Reader
	r.Open(h, data, from, l)
	defer r.Close()
	return all(t, &r)
}

func all(t *testing.T, r *batch.Reader) (records []batch.Record) {
	t.Helper()
	for {
		rec, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			return records
		case err != nil:
			t.Fatal(err)
		}
		records = append(records, rec)
	}
}

func sample(base int64, n int) []kafka.Message {
	at := time.UnixMilli(1_700_000_000_000)
	ms := []kafka.Message{
		{Time: at},
		{Time: at.Add(-time.Second), Key: []byte{}, Value: []byte{}},
		{Time: at.Add(time.Hour), Key: []byte("k"), Value: []byte("v"), Headers: []kafka.Header{
			{Key: "null"}, {Key: "", Value: []byte{}}, {Key: "twice", Value: []byte("1")}, {Key: "twice", Value: []byte("2")},
		}},
	}
	for i := len(ms); i < n; i++ {
		ms = append(ms, kafka.Message{
			Time: at.Add(time.Duration(i) * time.Millisecond), Key: fmt.Appendf(nil, "E%d", i),
			Value: bytes.Repeat([]byte(string(rune('a'+i%26))), i*171%3000),
		})
	}
	for i := range ms {
		ms[i].Offset = base + int64(i)
	}
	return ms
}

// same compares values as a whole, which is much faster than byte by byte.
func same() cmp.Option {
	return cmp.Options{
		cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) }),
		cmp.Comparer(func(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }),
	}
}

func wanted(ms []kafka.Message) []batch.Record {
	var want []batch.Record
	for _, m := range ms {
		want = append(want, batch.Record{Offset: m.Offset, Time: m.Time, Key: m.Key, Value: m.Value, Headers: m.Headers})
	}
	return want
}

func TestRecordsOfEveryCodec(t *testing.T) {
	t.Parallel()
	for name, codec := range codecs() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ms := sample(70, 60)
			data := encoded{base: 70, codec: codec, first: ms[0].Time, max: ms[2].Time, records: ms}.bytes(t)
			for _, from := range []int64{0, 70, 71, 100, 129} {
				want := wanted(ms[max(from-70, 0):])
				if diff := cmp.Diff(want, read(t, data, from, limits()), same()); diff != "" {
					t.Errorf("from %d (-want +got):\n%s", from, diff)
				}
			}
			if diff := cmp.Diff(wanted(ms), asKafkaGoReads(t, data), same()); diff != "" {
				t.Errorf("kafka-go reads the batch differently (-want +got):\n%s", diff)
			}
		})
	}
}

// asKafkaGoReads is the other decoder at hand.
func asKafkaGoReads(t *testing.T, data []byte) (records []batch.Record) {
	t.Helper()
	var set protocol.RecordSet
	size := uint32(len(data)) //nolint:gosec // a short batch
	framed := append(binary.BigEndian.AppendUint32(nil, size), data...)
	if _, err := set.ReadFrom(bytes.NewReader(framed)); err != nil {
		t.Fatal(err)
	}
	for {
		rec, err := set.Records.ReadRecord()
		if errors.Is(err, io.EOF) {
			return records
		}
		if err != nil {
			t.Fatal(err)
		}
		key, err1 := protocol.ReadAll(rec.Key)
		value, err2 := protocol.ReadAll(rec.Value)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		records = append(records, batch.Record{Offset: rec.Offset, Time: rec.Time, Key: key, Value: value, Headers: rec.Headers})
	}
}

// The decoders are used again for the next batch, of whatever codec.
func TestAReaderIsUsedForManyBatches(t *testing.T) {
	t.Parallel()
	var r batch.Reader
	defer r.Close()
	for range 3 {
		for name, codec := range codecs() {
			ms := sample(5, 50)
			data := encoded{base: 5, codec: codec, first: ms[0].Time, records: ms}.bytes(t)
			h, err := batch.Parse(data)
			if err != nil {
				t.Fatal(err)
			}
			r.Open(h, data, 0, limits())
			if diff := cmp.Diff(wanted(ms), all(t, &r), same()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
	}
}

func TestLogAppendTimeIsTheBrokers(t *testing.T) {
	t.Parallel()
	ms, appended := sample(0, 3), time.UnixMilli(1_800_000_000_000)
	data := encoded{attributes: 1 << 3, first: ms[0].Time, max: appended, records: ms}.bytes(t)
	for _, rec := range read(t, data, 0, limits()) {
		if !rec.Time.Equal(appended) {
			t.Errorf("the record at %d has the time %v, want %v", rec.Offset, rec.Time, appended)
		}
	}
}

// Compaction removes records from a batch and keeps its last offset.
func TestCompactedBatch(t *testing.T) {
	t.Parallel()
	ms := sample(10, 9)
	data := encoded{base: 10, last: 30, first: ms[0].Time, records: []kafka.Message{ms[2], ms[5]}}.bytes(t)
	h, err := batch.Parse(data)
	if err != nil || h.BaseOffset != 10 || h.LastOffset != 30 || h.Count != 2 {
		t.Fatalf("header %+v, %v", h, err)
	}
	if diff := cmp.Diff(wanted([]kafka.Message{ms[2], ms[5]}), read(t, data, 0, limits()), same()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := read(t, encoded{base: 10, last: 30}.bytes(t), 0, limits()); len(got) != 0 {
		t.Errorf("an empty batch: %v", got)
	}
}

// rejections returns each record as "offset-last why", or as "offset".
func rejections(records []batch.Record) (list []string) {
	for _, rec := range records {
		text := fmt.Sprint(rec.Offset)
		if no := rec.Rejection; no != nil {
			kind := "oversized"
			if no.IsMalformed {
				kind = "malformed"
			}
			text += fmt.Sprintf("-%d %s: %s", no.Last, kind, no.Text)
			if rec.Key != nil || rec.Value != nil || rec.Headers != nil {
				text += " with content"
			}
		}
		list = append(list, text)
	}
	return list
}

func wantRecords(t *testing.T, got []batch.Record, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, rejections(got)); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

func TestRecordsBeyondTheLimits(t *testing.T) {
	t.Parallel()
	const bound = 64 << 10
	for name, codec := range codecs() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := time.UnixMilli(1_700_000_000_000)
			ms := []kafka.Message{
				{Key: []byte("k"), Value: make([]byte, bound-1)},
				{Key: []byte("k"), Value: make([]byte, bound)},
				{Value: make([]byte, 1<<20)},
				{Value: []byte("v"), Headers: make([]kafka.Header, 20)},
				{Value: []byte("v"), Headers: make([]kafka.Header, 21)},
				{Value: make([]byte, bound-1), Headers: []kafka.Header{{Key: "h", Value: []byte("1")}}},
				{Value: []byte("last")},
			}
			for i := range ms {
				ms[i].Offset, ms[i].Time = int64(i), at
			}
			got := read(t, encoded{codec: codec, first: at, records: ms}.bytes(t), 0, limits())
			wantRecords(t, got, "0", "1-1 oversized: has 65537 bytes; the bound is 65536",
				"2-2 oversized: has 1048582 bytes; the bound is 65536", "3",
				"4-4 oversized: has 21 headers; the bound is 20", "5-5 oversized: has 65537 bytes; the bound is 65536", "6")
			for _, rec := range got {
				if !rec.Time.Equal(at) {
					t.Errorf("the record at %d has the time %v", rec.Offset, rec.Time)
				}
			}
		})
	}
}

// What a bomb inflates to is never in memory.
func TestABombIsInflatedAsAStream(t *testing.T) { //nolint:paralleltest // it measures what the whole process allocates
	at := time.UnixMilli(1)
	ms := []kafka.Message{{Value: make([]byte, 24<<20), Time: at}, {Offset: 1, Value: []byte("after"), Time: at}}
	for name, codec := range codecs() {
		if codec == plain || codec == snappyBlock {
			continue
		}
		data := encoded{codec: codec, first: at, records: ms}.bytes(t)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got := read(t, data, 0, limits())
		runtime.ReadMemStats(&after)
		wantRecords(t, got, "0-0 oversized: has 25165830 bytes; the bound is 65536", "1")
		if n := (after.TotalAlloc - before.TotalAlloc) >> 20; n > 20 {
			t.Errorf("%s: %d MiB allocated for %d bytes", name, n, len(data))
		}
	}
}

// A block of snappy is inflated whole or not at all.
func TestABatchThatCannotBeInflatedInParts(t *testing.T) {
	t.Parallel()
	at := time.UnixMilli(9)
	ms := []kafka.Message{{Offset: 40, Value: make([]byte, 9<<20), Time: at}, {Offset: 41, Value: []byte("after"), Time: at}}
	data := encoded{base: 40, codec: snappyBlock, first: at, max: at, records: ms}.bytes(t)
	const text = "oversized: the batch cannot be inflated in parts: it needs 9437209 bytes; the bound is 8388608"
	l := limits()
	l.InflaterBytes = 8 << 20
	wantRecords(t, read(t, data, 0, l), "40-41 "+text)
	wantRecords(t, read(t, data, 41, l), "41-41 "+text)
	wantRecords(t, read(t, data, 42, l))
}

// A batch whose checksum is right, but which its producer has not encoded well, has an outcome for
// each offset.
func TestMalformedBatches(t *testing.T) {
	t.Parallel()
	at := time.UnixMilli(1_700_000_000_000)
	ms := func(offsets ...int64) (ms []kafka.Message) {
		for _, o := range offsets {
			ms = append(ms, kafka.Message{Offset: o, Time: at, Value: []byte("v")})
		}
		return ms
	}
	broken := encoded{base: 5, last: 9, count: 3, first: at}
	body := appendRecord(nil, ms(5)[0], 0, 0)
	body = append(body, 14, 0, 0, 2, 1, 40, 'v', 0) // a value longer than its record
	body = appendRecord(body, ms(7)[0], 0, 2)
	for name, tc := range map[string]struct {
		data []byte
		want []string
	}{
		"fewer records than counted": {
			encoded{base: 5, last: 9, count: 4, first: at, records: ms(5, 6)}.bytes(t),
			[]string{"5", "6", "7-9 malformed: the rest of the batch cannot be read: unexpected EOF"},
		},
		"more records than counted": {encoded{base: 5, count: 1, first: at, records: ms(5, 6)}.bytes(t), []string{"5"}},
		"the content of one record": {
			broken.around(body),
			[]string{"5", "6-6 malformed: the record cannot be decoded: a length that is beyond the record", "7"},
		},
		"no codec": {
			encoded{base: 5, last: 6, count: 2, codec: 6, first: at}.around([]byte("x")),
			[]string{"5-6 malformed: the batch cannot be inflated: unknown codec 6"},
		},
		"offsets that fall": {
			encoded{base: 5, last: 9, first: at, records: ms(5, 7, 6)}.bytes(t),
			[]string{"5", "7", "8-9 malformed: the rest of the batch cannot be read: offsets that do not rise within the batch"},
		},
		"an offset beyond the batch": {
			encoded{base: 5, last: 6, count: 1, first: at}.around(appendRecord(nil, ms(7)[0], 0, 2)),
			[]string{"5-6 malformed: the rest of the batch cannot be read: offsets that do not rise within the batch"},
		},
		"a negative length": {
			encoded{base: 5, last: 6, count: 2, first: at}.around([]byte{3, 0, 0, 0}),
			[]string{"5-6 malformed: the rest of the batch cannot be read: a length that is beyond the record"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantRecords(t, read(t, tc.data, 0, limits()), tc.want...)
		})
	}
	for name, codec := range codecs() {
		if codec == plain {
			continue
		}
		t.Run(name+" cut short", func(t *testing.T) {
			t.Parallel()
			all := sample(5, 300)
			whole := encoded{base: 5, codec: codec, first: at, records: all}.bytes(t)
			got := read(t, encoded{base: 5, last: 304, count: 300, codec: codec, first: at}.around(whole[61:61+(len(whole)-61)/2]), 0, limits())
			last := got[len(got)-1]
			if last.Rejection == nil || !last.Rejection.IsMalformed || last.Rejection.Last != 304 || last.Offset != int64(5+len(got)-1) {
				t.Errorf("%d records, the last is %s", len(got), rejections(got)[len(got)-1])
			}
		})
	}
}

func TestCorruptHeaders(t *testing.T) {
	t.Parallel()
	good := encoded{base: 5, records: sample(5, 3)}.bytes(t)
	change := func(at int, b ...byte) []byte {
		data := bytes.Clone(good)
		copy(data[at:], b)
		return data
	}
	for name, tc := range map[string]struct {
		data []byte
		want string
	}{
		"an old format":        {change(16, 1), "record format 1"},
		"another checksum":     {change(17, good[17]^1), "the checksum is"},
		"a changed value":      {change(len(good)-1, 0xff), "the checksum is"},
		"a negative length":    {change(8, 0xff), "less than a header"},
		"a short length":       {change(8, 0, 0, 0, 48), "less than a header"},
		"a last offset below":  {change(23, 0xff), "below the first"},
		"a negative count":     {change(57, 0xff), "records"},
		"a negative offset":    {change(0, 0xff), "below the first"},
		"cut within the body":  {good[:len(good)-1], "ends within"},
		"cut within the head":  {good[:60], "ends within"},
		"cut before the magic": {good[:16], "ends within"},
		"empty":                {nil, "ends within"},
	} {
		h, err := batch.Parse(tc.data)
		if err == nil {
			err = h.Verify(tc.data)
		}
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
		if c, ok := errors.AsType[*batch.CorruptError](err); ok && !strings.Contains(c.Error(), fmt.Sprint(c.Offset)) {
			t.Errorf("%s: the error does not name the offset: %v", name, err)
		}
	}
	h, err := batch.Parse(good)
	if err != nil || h.Verify(good) != nil {
		t.Error("the unchanged batch is not accepted")
	}
}

func TestMarkers(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]bool{"\x00\x00\x00\x00": true, "\x00\x00\x00\x01": false, "\x00\x00": false} {
		data := encoded{
			base: 3, attributes: 1<<4 | 1<<5, producer: 77, records: []kafka.Message{{Offset: 3, Key: []byte(key), Value: []byte("value!")}},
		}.bytes(t)
		h, err := batch.Parse(data)
		if err != nil || !h.IsControl() || !h.IsTransactional() || h.ProducerID != 77 {
			t.Fatalf("header %+v, %v", h, err)
		}
		if got := batch.ReadMarker(h, data); got.IsAbort != want {
			t.Errorf("key %q: abort %v, want %v", key, got.IsAbort, want)
		}
	}
}

// A record whose memory may be used again is read as any other, and one that is kept stays as it
// is.
func TestReuseChangesNoOtherRecord(t *testing.T) {
	t.Parallel()
	ms := sample(0, 60)
	for i := range ms {
		ms[i].Value = bytes.Repeat([]byte{byte(i)}, 1+(i*37)%200)
	}
	for name, codec := range codecs() {
		data := encoded{codec: codec, first: ms[0].Time, records: ms}.bytes(t)
		want := read(t, data, 0, limits())
		h, err := batch.Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		var r batch.Reader
		r.Open(h, data, 0, limits())
		var kept, wantKept []batch.Record
		for i := range want {
			rec, err := r.Next()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want[i], rec); diff != "" {
				t.Fatalf("%s, record %d (-want +got):\n%s", name, i, diff)
			}
			if i%3 == 0 {
				kept, wantKept = append(kept, rec), append(wantKept, want[i])
				continue
			}
			r.Reuse()
		}
		if diff := cmp.Diff(wantKept, kept); diff != "" {
			t.Errorf("%s, kept records (-want +got):\n%s", name, diff)
		}
		r.Close()
	}
}
