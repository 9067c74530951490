package batch_test

import (
	"testing"

	"membersync/dlq/partlog/batch"
)

// BenchmarkReader reads batches of 500 records.
func BenchmarkReader(b *testing.B) {
	ms := sample(0, 500)
	for i := range ms {
		ms[i].Value = ms[i].Value[:min(len(ms[i].Value), 300)]
	}
	for name, codec := range codecs() {
		b.Run(name, func(b *testing.B) {
			data := encoded{codec: codec, first: ms[0].Time, records: ms}.bytes(b)
			h, err := batch.Parse(data)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			var r batch.Reader
			defer r.Close()
			n := 0
			for b.Loop() {
				if err := h.Verify(data); err != nil {
					b.Fatal(err)
				}
				r.Open(h, data, 0, limits())
				for err = nil; err == nil; n++ {
					_, err = r.Next()
				}
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds()/1e6, "Mrecords/s")
		})
	}
}
