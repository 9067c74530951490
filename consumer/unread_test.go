package consumer_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
	"membersync/mapper"
)

// A record beyond the bound costs no memory, and delays none of the others.
func TestOversizedRecordsAreDeadLetteredUnread(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	many := r.change(1, fields{"position": "Too many headers"})
	many.Headers = make([]kafka.Header, 1001)
	r.kafka.produceZstd(r.change(2, fields{"position": "Before"}), kafka.Message{Value: make([]byte, 64<<20)}, many,
		r.change(3, fields{"position": "After"}))
	r.kafka.produce(r.change(4, fields{"position": "Last"}))
	r.start(func(cfg *consumer.Config, _ *consumer.Parts) { cfg.StormShare = 0 })
	r.settled()
	want := []string{
		"0:1-0 oversized: the record has 67108870 bytes; the bound is 1048576",
		"0:2-0 oversized: the record has 1001 headers; the bound is 1000",
	}
	if diff := cmp.Diff(want, r.dlq.unread()); diff != "" {
		t.Errorf("dead letters (-want +got):\n%s", diff)
	}
	r.crm.wantCalls(3)
	for i, position := range []string{2: "Before", 3: "After", 4: "Last"} {
		if position != "" {
			r.crm.wantField(i, "position", fmt.Sprintf("%q", position))
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
	r.kafka.produceZstd(large)
	first := r.start(r.dlq.redriving)
	r.settled()
	id := r.dlq.items()[""].ID
	r.processRedrive(r.dlq.items()[""])
	want := []string{
		"0:0-0 oversized: the record has 1048577 bytes; the bound is 1048576",
		"0:0-0 oversized: the record was not read, and cannot be read from the source topic now: raise the bound, or redrive it with a value",
	}
	if diff := cmp.Diff(want, r.dlq.unread()); diff != "" {
		t.Errorf("dead letters (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{id + " 1 dead_lettered"}, r.dlq.results()); diff != "" {
		t.Errorf("results of redrives (-want +got):\n%s", diff)
	}
	r.crm.wantCalls(0)
	first.stop()
	r.dlq.redrive(r.dlq.items()[""])
	r.start(r.dlq.redriving, func(cfg *consumer.Config, parts *consumer.Parts) {
		cfg.MaxRecordBytes = 2 << 20
		mapping, err := mapper.Builtin("canonical", mapper.Options{MaxAhead: 24 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		parts.Mapper = mapping
	})
	r.redrivesSettled()
	r.crm.wantField(1, "position", `"Large"`)
	if diff := cmp.Diff([]string{id + " 1 dead_lettered", id + " 2 applied"}, r.dlq.results()); diff != "" {
		t.Errorf("results of redrives (-want +got):\n%s", diff)
	}
}
