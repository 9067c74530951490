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
	r.produce(r.event("rejected", 1, 1, fields{"position": "P"}))
	first := r.start()
	r.settled()
	first.stop()
	r.redrive(r.items()["rejected"])
	r.group = r.broker.Group(t) // it has no offset at all
	r.produce(r.event("history", 2, 1, fields{"position": "H"}))
	r.start(latest, r.redriving)
	r.redrivesSettled()
	r.settled()
	r.wantField(1, "position", `"P"`)
	r.wantField(2, "position", "")
	r.wantOutcomes("history")
}

// A group that has an offset of the source topic is not new. So a partition without an offset is
// read from its start, also with `latest`.
func TestPartitionWithoutAnOffsetIsReadFromItsStart(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	first := r.start()
	r.eventually("the start to be committed", func() bool { return r.committed(0) == 0 })
	first.stop()
	r.broker.AddPartitions(t, r.topic, 2)
	r.produce(on(1, r.change(1, fields{"position": "While stopped"})))
	r.start(latest)
	r.settled()
	r.wantField(1, "position", `"While stopped"`)
}

// Only records below the committed offset were deleted, and with them the one that identifies the
// topic. That is not a gap.
func TestDeletedRecordBelowTheCommitIsNoGap(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.some(3)
	first := r.start()
	r.settled()
	first.stop()
	r.some(2)
	r.broker.DeleteRecords(t, r.topic, 0, 3)
	second := r.start()
	r.settled()
	if got := r.metric(second, "membersync_gap_records_total"); got != 0 {
		t.Errorf("gap of %v records", got)
	}
	r.wantField(1, "position", `"Level 4"`)
	for _, id := range []string{"ev-4", "ev-5"} {
		if got := r.outcome.of(id); len(got) != 1 || got[0] == consumer.Duplicate {
			t.Errorf("%s: outcomes %v", id, got)
		}
	}
}
