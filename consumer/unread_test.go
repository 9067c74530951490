package consumer_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
	"membersync/dlq"
	"membersync/mapper"
)

// produceZstd writes one compressed batch.
func (r *rig) produceZstd(msgs ...kafka.Message) {
	r.t.Helper()
	var records []kafka.Record
	for _, m := range msgs {
		records = append(records, kafka.Record{Key: kafka.NewBytes(m.Key), Value: kafka.NewBytes(m.Value), Headers: m.Headers, Time: m.Time})
	}
	res, err := r.client().Produce(r.t.Context(), &kafka.ProduceRequest{
		Topic: r.topic, RequiredAcks: kafka.RequireAll, Compression: kafka.Zstd, Records: kafka.NewRecordReader(records...),
	})
	if err == nil {
		err = res.Error
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// unread returns the dead letters that hold no record, as "partition:offset-last error", sorted:
// those of two lanes are written in any order.
func (r *rig) unread() (list []string) {
	r.t.Helper()
	for _, d := range r.deadLetters() {
		if d.Key != nil || d.Value != nil || d.Headers != nil || !d.Whole || d.Reason != dlq.ReasonOversized {
			r.t.Errorf("dead letter %s: %+v", d.ID(), d)
		}
		list = append(list, fmt.Sprintf("%d:%d-%d %s", d.Source.Partition, d.Source.Offset, d.LastOffset, d.Error))
	}
	slices.Sort(list)
	return list
}

// A record beyond the bound costs no memory, and delays none of the others.
func TestOversizedRecordsAreDeadLetteredUnread(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	many := r.change(1, fields{"position": "Too many headers"})
	many.Headers = make([]kafka.Header, 1001)
	r.produceZstd(r.change(2, fields{"position": "Before"}), kafka.Message{Value: make([]byte, 64<<20)}, many,
		r.change(3, fields{"position": "After"}))
	r.produce(r.change(4, fields{"position": "Last"}))
	r.start(func(cfg *consumer.Config, _ *consumer.Parts) { cfg.StormShare = 0 })
	r.settled()
	want := []string{
		"0:1-0 oversized: the record has 67108870 bytes; the bound is 1048576",
		"0:2-0 oversized: the record has 1001 headers; the bound is 1000",
	}
	if diff := cmp.Diff(want, r.unread()); diff != "" {
		t.Errorf("dead letters (-want +got):\n%s", diff)
	}
	r.wantCalls(3)
	for i, position := range []string{2: "Before", 3: "After", 4: "Last"} {
		if position != "" {
			r.wantField(i, "position", fmt.Sprintf("%q", position))
		}
	}
}

// A dead letter without its record is no tombstone when it is redriven. Once the bound is raised,
// its record is read from the source topic; until then it fails again, and stays.
func TestRedriveOfAnUnreadRecord(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	large := r.change(1, fields{"position": "Large"})
	large.Value = append(large.Value, bytes.Repeat([]byte(" "), 1<<20+1-len(large.Key)-len(large.Value))...)
	r.produceZstd(large)
	first := r.start(r.redriving)
	r.settled()
	id := r.items()[""].ID
	r.redrive(r.items()[""])
	r.redrivesSettled()
	want := []string{
		"0:0-0 oversized: the record has 1048577 bytes; the bound is 1048576",
		"0:0-0 oversized: the record was not read, and cannot be read from the source topic now: raise the bound, or redrive it with a value",
	}
	if diff := cmp.Diff(want, r.unread()); diff != "" {
		t.Errorf("dead letters (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{id + " 1 dead_lettered"}, r.results()); diff != "" {
		t.Errorf("results of redrives (-want +got):\n%s", diff)
	}
	r.wantCalls(0)
	first.stop()
	r.redrive(r.items()[""])
	r.start(r.redriving, func(cfg *consumer.Config, parts *consumer.Parts) {
		cfg.MaxRecordBytes = 2 << 20
		mapping, err := mapper.Builtin("canonical", mapper.Options{MaxAhead: 24 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		parts.Mapper = mapping
	})
	r.redrivesSettled()
	r.wantField(1, "position", `"Large"`)
	if diff := cmp.Diff([]string{id + " 1 dead_lettered", id + " 2 applied"}, r.results()); diff != "" {
		t.Errorf("results of redrives (-want +got):\n%s", diff)
	}
}
