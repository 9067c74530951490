package simulation

import (
	"bytes"
	"context"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"membersync/cmd/internal/test/oracle/history"
)

// recreated deletes the source topic and creates it again, at once or some time later.
func (p *planner) recreated(r *rand.Rand) {
	at := between(r, 15*time.Second, p.w.horizon-10*time.Second)
	p.at(at, func() { p.w.kafka.deleteSource() })
	p.at(at+pick(r, 0, time.Second, 20*time.Second), func() { p.w.kafka.createSource() })
}

func (k *kafkaCluster) deleteSource() {
	committed := k.committed(source)
	for _, r := range k.readAll(source) {
		r.Generation, r.Lost = len(k.recreated), r.Offset >= committed[r.Partition]
		k.past = append(k.past, r)
	}
	k.w.must(k.fake.DeleteTopic(source))
	k.w.fired("topic recreated", 0)
	k.recreated, k.missing = append(k.recreated, time.Now()), true
}

func (k *kafkaCluster) createSource() {
	k.w.must(k.fake.CreateTopic(source, k.w.settings.partitions, nil))
	k.producer.Close()
	k.producer = k.newClient()
	k.missing = false
	if unsent := k.unsent; len(unsent) > 0 {
		k.w.fired("topic missing", 0)
		k.unsent = nil
		k.produce(unsent)
	}
}

// allRecords returns the records of the source topic, including those of deleted generations.
func (k *kafkaCluster) allRecords() []history.Record {
	all := k.past
	for _, r := range k.readAll(source) {
		r.Generation = len(k.recreated)
		all = append(all, r)
	}
	return all
}

// bombKinds leaves out lz4 and zstd: their pooled decoders have channels, which synctest bubbles
// cannot share.
func bombKinds() []string { return []string{"bomb: gzip", "bomb: snappy"} }

// bombs produces records that are small on the wire and large when inflated, each in a batch
// with two others. They are too large to be read at all: a dead letter with such a value would be
// compressed with zstd, see bombKinds.
func (p *planner) bombs(r *rand.Rand) {
	codecs := []kgo.CompressionCodec{kgo.GzipCompression(), kgo.SnappyCompression()}
	for n := range 1 + r.IntN(4) {
		kind := r.IntN(len(codecs))
		partition, size := r.Int32N(p.w.settings.partitions), (2+r.IntN(11))<<20
		p.at(between(r, 5*time.Second, p.w.horizon), func() {
			if p.w.kafka.missing {
				return
			}
			p.w.fired(bombKinds()[kind], n)
			cl := p.w.kafka.newClient(
				kgo.ProducerBatchCompression(codecs[kind]), kgo.ProducerBatchMaxBytes(64<<20), kgo.BrokerMaxWriteBytes(128<<20),
				kgo.ProducerLinger(10*time.Millisecond),
			)
			defer cl.Close()
			bomb := bytes.Repeat([]byte(" "), size)
			p.w.must(cl.ProduceSync(context.Background(),
				&kgo.Record{Topic: source, Partition: partition, Value: []byte("{}"), Timestamp: time.Now()},
				&kgo.Record{Topic: source, Partition: partition, Value: bomb, Timestamp: time.Now()},
				&kgo.Record{Topic: source, Partition: partition, Value: []byte("{}"), Timestamp: time.Now()},
			).FirstErr())
		})
	}
}
