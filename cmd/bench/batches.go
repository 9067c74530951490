package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/spf13/pflag"

	"membersync/cmd/internal/test/testbed"
	"membersync/crmapi/crmapitest"
)

// batches holds the options of the command batches.
type batches struct {
	many, few, batchMiB int
	pause, limit        time.Duration
	maxMiB, maxCores    float64
}

func batchesCommand() command {
	return command{
		name: "batches", about: "peak memory and idle CPU with compressed batches, and with batches that inflate without end",
		flags: func(f *pflag.FlagSet) measure {
			var m batches
			f.IntVar(&m.many, "many", 100, "partitions of the first topic; 0 leaves it out")
			f.IntVar(&m.few, "few", 12, "partitions of the second topic; 0 leaves it out")
			f.IntVar(&m.batchMiB, "batch-mib", 8, "size of each batch, inflated, in MiB")
			f.DurationVar(&m.pause, "pause", 20*time.Second, "how long the paused service is measured")
			f.DurationVar(&m.limit, "limit", 5*time.Minute, "for draining the bombs")
			f.Float64Var(&m.maxMiB, "max-mib", 128, "target: peak RSS in MiB")
			f.Float64Var(&m.maxCores, "max-cores", 0.05, "target: cores used while paused")
			return func(ctx context.Context, b *bench) (*report, error) { return m.measure(ctx, b) } // when m is filled
		},
	}
}

func (m batches) measure(ctx context.Context, b *bench) (*report, error) {
	r := &report{about: []string{
		"Paused: three batches of zstd in each partition, about 14:1, and a CRM that does not answer. Peak RSS (VmHWM) and CPU once the buffer is full.",
		"Bombs: a batch of 35 KB that inflates to 256 MiB, and 40 records with 400,000 empty headers each, between good records.",
	}}
	t := table{name: "batches", columns: []string{"workload", "peak_rss_mib", "cores"}}
	for _, partitions := range []int{m.many, m.few} {
		if partitions == 0 {
			continue
		}
		peak, cores, err := m.paused(ctx, b, partitions)
		if err != nil {
			return nil, err
		}
		name := fmt.Sprintf("paused, %d partitions", partitions)
		b.say("%s: %.1f MiB, %.3f cores", name, peak, cores)
		t.add(name, peak, cores)
		r.atMost("peak RSS, "+name+", MiB", peak, m.maxMiB)
		r.atMost("cores, "+name, cores, m.maxCores)
	}
	peak, err := m.bombs(ctx, b)
	if err != nil {
		return nil, err
	}
	b.say("bombs: %.1f MiB", peak)
	t.add("bombs", peak, 0.0)
	r.atMost("peak RSS, bombs, MiB", peak, m.maxMiB)
	r.tables = append(r.tables, t)
	return r, nil
}

// paused starts an instance on full partitions. Its calls never end.
func (m batches) paused(ctx context.Context, b *bench, partitions int) (peak, cores float64, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, m.limit, errSlow)
	defer cancel()
	crm, err := startCRM(ctx, crmapitest.Options{}, 0)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, crm.Close()) }()
	job, err := b.NewJob(ctx, partitions, "http://127.0.0.1:9") // refuses connections
	if err != nil {
		return 0, 0, err
	}
	for p := range partitions {
		for n := range 3 {
			if err := produceCompressed(ctx, b, job.Topic, p, large(p, n, m.batchMiB<<20)); err != nil {
				return 0, 0, err
			}
		}
	}
	i, err := job.Start(ctx, nil)
	if err != nil {
		return 0, 0, err
	}
	if err := i.AwaitReady(ctx); err != nil {
		return 0, 0, err
	}
	const settle = 40 * time.Second // until the buffer is full
	if err := sleep(ctx, settle); err != nil {
		return 0, 0, err
	}
	before, err := i.Usage()
	if err != nil {
		return 0, 0, err
	}
	if err := sleep(ctx, m.pause); err != nil {
		return 0, 0, err
	}
	after, err := i.Usage()
	if err != nil {
		return 0, 0, err
	}
	return mib(after.PeakRSS), (after.CPU - before.CPU).Seconds() / m.pause.Seconds(), errors.Join(i.Terminate(ctx), job.Drop(ctx))
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// large returns events of about the given size in bytes. zstd makes them 14 times smaller.
func large(partition, n, size int) (records []kafka.Record) {
	random := rand.New(rand.NewPCG(uint64(partition), uint64(n))) //nolint:gosec // test data
	const alphabet = "abcdefghijklmnopqrstuvwxyz"
	for i := 0; size > 0; i++ {
		text := bytes.Repeat([]byte("Lead "), 380)
		for j := range 100 { // does not compress
			text[j] = alphabet[random.IntN(len(alphabet))]
		}
		e := testbed.Event{Employee: partition*100_000 + n*10_000 + i, Sequence: 1, Before: "{}", After: fmt.Sprintf(`{"position":%q}`, text)}
		rec := e.Record(1)
		records = append(records, kafka.Record{Key: kafka.NewBytes(rec.Key), Value: kafka.NewBytes(rec.Value), Time: time.Now()})
		size -= len(rec.Value)
	}
	return records
}

func produceCompressed(ctx context.Context, b *bench, topic string, partition int, records []kafka.Record) error {
	res, err := b.KafkaClient().Produce(ctx, &kafka.ProduceRequest{
		Topic: topic, Partition: partition, RequiredAcks: kafka.RequireAll, Compression: kafka.Zstd,
		Records: kafka.NewRecordReader(records...),
	})
	if err == nil {
		err = res.Error
	}
	return err
}

// bombs drains a topic with records that inflate to more than a process can hold.
func (m batches) bombs(ctx context.Context, b *bench) (peak float64, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, m.limit, errSlow)
	defer cancel()
	crm, err := startCRM(ctx, crmapitest.Options{}, 0)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, crm.Close()) }()
	job, err := b.NewJob(ctx, 1, crm.URL())
	if err != nil {
		return 0, err
	}
	const headers = 40
	good := 0
	event := func() kafka.Record {
		good++
		rec := testbed.Event{Employee: good, Sequence: 1, Before: "{}", After: `{"position":"Lead"}`}.Record(1)
		return kafka.Record{Key: kafka.NewBytes(rec.Key), Value: kafka.NewBytes(rec.Value), Time: time.Now()}
	}
	bomb := kafka.Record{Value: kafka.NewBytes(make([]byte, 256<<20)), Time: time.Now()}
	if err := produceCompressed(ctx, b, job.Topic, 0, []kafka.Record{event(), bomb, event()}); err != nil {
		return 0, err
	}
	for range headers {
		many := event()
		good--
		many.Headers = make([]kafka.Header, 400_000)
		if err := produceCompressed(ctx, b, job.Topic, 0, []kafka.Record{many, event()}); err != nil {
			return 0, err
		}
	}
	i, err := job.Start(ctx, map[string]string{"DLQ_STORM_SHARE": "0"}) // half of the records are bombs
	if err != nil {
		return 0, err
	}
	if err := job.AwaitDrained(ctx); err != nil {
		return 0, err
	}
	usage, err := i.Usage()
	if err != nil {
		return 0, err
	}
	n, err := job.DeadLetters(ctx)
	if err != nil {
		return 0, err
	}
	if n != headers+1 {
		return 0, fmt.Errorf("%d dead letters, want %d", n, headers+1)
	}
	for n := 1; n <= good; n++ {
		if got := string(crm.State(testbed.OpenUserID(n))["position"]); got != `"Lead"` {
			return 0, fmt.Errorf("member %d holds %s", n, got)
		}
	}
	return mib(usage.PeakRSS), errors.Join(i.Terminate(ctx), job.Drop(ctx))
}
