package consumer_test

import (
	"testing"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
)

// A redrive that was sent before the service first ran is processed: `latest` applies only to the
// source topic.
func TestLatestAppliesToTheSourceTopicOnly(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.crm.Push(crmapitest.Fault{Member: member(1), Times: 1, Code: crmapitest.CodeNoMember})
	r.kafka.produce(event("rejected", 1, 1, fields{"position": "P"}))
	first := r.start()
	r.settled()
	first.stop()
	r.dlq.redrive(r.dlq.items()["rejected"])
	r.kafka.group = r.kafka.Group(t) // it has no offset at all
	r.kafka.produce(event("history", 2, 1, fields{"position": "H"}))
	r.start(latest, r.dlq.redriving)
	r.redrivesSettled()
	r.settled()
	r.crm.wantField(1, "position", `"P"`)
	r.crm.wantField(2, "position", "")
	r.wantOutcomes("history")
}

// A group that has an offset of the source topic is not new. So a partition without an offset is
// read from its start, also with `latest`.
func TestPartitionWithoutAnOffsetIsReadFromItsStart(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	first := r.start()
	r.eventually("the start to be committed", func() bool { return r.kafka.committed(0) == 0 })
	first.stop()
	r.kafka.AddPartitions(t, r.kafka.topic, 2)
	r.kafka.produce(on(1, r.change(1, fields{"position": "While stopped"})))
	r.start(latest)
	r.settled()
	r.crm.wantField(1, "position", `"While stopped"`)
}

// Only records below the committed offset were deleted, and with them the one that identifies the
// topic. That is not a gap.
func TestDeletedRecordBelowTheCommitIsNoGap(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	some(r, 3)
	first := r.start()
	r.settled()
	first.stop()
	some(r, 2)
	r.kafka.DeleteRecords(t, r.kafka.topic, 0, 3)
	second := r.start()
	r.settled()
	second.wantMetric(0, "membersync_gap_records_total")
	r.crm.wantField(1, "position", `"Level 4"`)
	for _, id := range []string{"ev-4", "ev-5"} {
		if got := r.outcome.of(id); len(got) != 1 || got[0] == consumer.Duplicate {
			t.Errorf("%s: outcomes %v", id, got)
		}
	}
}
