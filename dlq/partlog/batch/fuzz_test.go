package batch_test

import (
	"errors"
	"io"
	"runtime"
	"testing"
	"time"

	"membersync/dlq/partlog/batch"
)

// Whatever the bytes are: no panic, memory within the limits, and an outcome for each offset at
// most once, in ascending order.
func FuzzReader(f *testing.F) {
	ms := sample(70, 40)
	for _, codec := range codecs() {
		f.Add(encoded{base: 70, codec: codec, first: ms[0].Time, max: ms[2].Time, records: ms}.bytes(f), int64(0))
		f.Add(encoded{base: 70, last: 200, count: 60, codec: codec, first: time.UnixMilli(1), records: ms}.bytes(f), int64(80))
		f.Add(encoded{codec: codec, last: 3, count: 4}.around([]byte("not of this codec")), int64(2))
	}
	limits := batch.Limits{RecordBytes: 4 << 10, Headers: 10, InflaterBytes: 1 << 20}
	f.Fuzz(func(t *testing.T, data []byte, from int64) {
		if len(data) >= batch.HeaderBytes {
			seal(data) // or nearly nothing would get past the checksum
		}
		h, err := batch.Parse(data)
		if err == nil {
			err = h.Verify(data)
		}
		if err != nil {
			return
		}
		if h.IsControl() {
			batch.ReadMarker(h, data)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		next, kept := max(from, h.BaseOffset), uint64(0)
		var r batch.Reader
		r.Open(h, data, from, limits)
		for {
			rec, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			size := len(rec.Key) + len(rec.Value)
			for _, h := range rec.Headers {
				size += len(h.Key) + len(h.Value)
			}
			last := rec.Offset
			if no := rec.Rejection; no != nil {
				if last = no.Last; no.Text == "" || size > 0 {
					t.Fatalf("a rejection with content or without a reason: %+v", no)
				}
			}
			if err != nil || rec.Offset < next || last < rec.Offset || last > h.LastOffset {
				t.Fatalf("record %d to %d after %d, in a batch that ends at %d: %v", rec.Offset, last, next-1, h.LastOffset, err)
			}
			if int64(size) > limits.RecordBytes || len(rec.Headers) > limits.Headers {
				t.Fatalf("the record at %d has %d bytes and %d headers", rec.Offset, size, len(rec.Headers))
			}
			next, kept = last+1, kept+2*uint64(size)+1<<10 // capacity, header keys and the reason
		}
		r.Close()
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > kept+8<<20 {
			t.Errorf("%d bytes allocated for %d bytes of input and %d of records", n, len(data), kept)
		}
	})
}
