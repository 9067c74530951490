package simulation

import (
	"bytes"
	"context"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"membersync/cmd/internal/test/oracle/history"
)

// planRecreated deletes the source topic and creates it again, at once or some time later.
func (w *world) planRecreated(r *rand.Rand) {
	at := between(r, 15*time.Second, w.horizon-10*time.Second)
	w.at(at, w.deleteSource)
	w.at(at+pick(r, 0, time.Second, 20*time.Second), w.createSource)
}

func (w *world) deleteSource() {
	committed := w.committed(source)
	for _, r := range w.readAll(source) {
		r.Generation, r.Lost = len(w.recreated), r.Offset >= committed[r.Partition]
		w.past = append(w.past, r)
	}
	w.must(w.cluster.DeleteTopic(source))
	w.fired("topic recreated", 0)
	w.recreated, w.missing = append(w.recreated, time.Now()), true
}

func (w *world) createSource() {
	w.must(w.cluster.CreateTopic(source, w.settings.partitions, nil))
	w.producer.Close()
	w.producer = w.newClient()
	w.missing = false
	if unsent := w.unsent; len(unsent) > 0 {
		w.fired("topic missing", 0)
		w.unsent = nil
		w.produce(unsent)
	}
}

// allRecords returns the records of the source topic, including those of deleted generations.
func (w *world) allRecords() []history.Record {
	all := w.past
	for _, r := range w.readAll(source) {
		r.Generation = len(w.recreated)
		all = append(all, r)
	}
	return all
}

// bombKinds leaves out lz4 and zstd: their pooled decoders have channels, which synctest bubbles
// cannot share.
func bombKinds() []string { return []string{"bomb: gzip", "bomb: snappy"} }

// planBombs produces records that are small on the wire and large when inflated, each in a batch
// with two others. They are too large to be read at all: a dead letter with such a value would be
// compressed with zstd, see bombKinds.
func (w *world) planBombs(r *rand.Rand) {
	codecs := []kgo.CompressionCodec{kgo.GzipCompression(), kgo.SnappyCompression()}
	for n := range 1 + r.IntN(4) {
		kind := r.IntN(len(codecs))
		partition, size := r.Int32N(w.settings.partitions), (2+r.IntN(11))<<20
		w.at(between(r, 5*time.Second, w.horizon), func() {
			if w.missing {
				return
			}
			w.fired(bombKinds()[kind], n)
			cl := w.newClient(
				kgo.ProducerBatchCompression(codecs[kind]), kgo.ProducerBatchMaxBytes(64<<20), kgo.BrokerMaxWriteBytes(128<<20),
				kgo.ProducerLinger(10*time.Millisecond),
			)
			defer cl.Close()
			bomb := bytes.Repeat([]byte(" "), size)
			w.must(cl.ProduceSync(context.Background(),
				&kgo.Record{Topic: source, Partition: partition, Value: []byte("{}"), Timestamp: time.Now()},
				&kgo.Record{Topic: source, Partition: partition, Value: bomb, Timestamp: time.Now()},
				&kgo.Record{Topic: source, Partition: partition, Value: []byte("{}"), Timestamp: time.Now()},
			).FirstErr())
		})
	}
}
