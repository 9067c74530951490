package consumer_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
)

// These tests show where reading a partition starts: at the first start of a group, after a gap,
// and in a topic that was recreated.

// some produces n changes of one member.
func some(r *rig, n int) {
	r.t.Helper()
	for range n {
		r.kafka.produce(r.change(1, fields{"position": fmt.Sprintf("Level %d", r.seq)}))
	}
}

func TestRecordsDeletedWhileStoppedAreCountedAsGap(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	some(r, 2)
	inst := r.start()
	r.settled()
	inst.stop()
	some(r, 5)
	r.kafka.DeleteRecords(t, r.kafka.topic, 0, 6)
	inst = r.start()
	r.settled()
	r.crm.wantField(1, "position", `"Level 6"`)
	inst.wantMetric(4, "membersync_gap_records_total")
	if !strings.Contains(r.logs.String(), "gap in the source topic") {
		t.Error("the gap is not logged")
	}
}

func TestRecordsDeletedWhileRunningAreCountedAsGap(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]change{
		"a broker that returns the log's start": func(*consumer.Config, *consumer.Parts) {},
		"a broker that does not":                vagueAboutTheLog,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1, crmapitest.Options{})
			r.crm.Block(crmapitest.BeforeEffect)
			inst := r.start(change, func(cfg *consumer.Config, _ *consumer.Parts) { cfg.BufferRecords = 1 })
			// The record is larger than a fetch. So the next ones are not in memory yet.
			big := r.change(1, fields{"position": "First"})
			big.Headers = []kafka.Header{{Key: "large", Value: make([]byte, 600<<10)}}
			r.kafka.produce(big)
			r.eventually("the first call", func() bool { return r.crm.Blocked() == 1 })
			for i := range 6 {
				m := r.change(2, fields{"position": fmt.Sprintf("Level %d", i)})
				m.Headers = big.Headers
				r.kafka.produce(m)
			}
			r.kafka.DeleteRecords(t, r.kafka.topic, 0, 5)
			r.crm.Release()
			r.settled()
			r.crm.wantField(1, "position", `"First"`)
			r.crm.wantField(2, "position", `"Level 5"`)
			if got := inst.metric("membersync_gap_records_total"); got < 3 || got > 4 {
				t.Errorf("gap of %v records, want the 3 or 4 that were neither read nor in memory", got)
			}
		})
	}
}

// The stamp of the last record distinguishes the topic from another one of the same name. This
// holds even if a transaction's marker lies between that record and the committed offset.
func TestRecreatedTopicIsReadFromItsStart(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		records     int // in the new topic; the old one had 4
		transaction bool
	}{
		"with the same number of records":  {records: 4},
		"with fewer records":               {records: 2},
		"with more records":                {records: 6},
		"written by a transaction, same":   {records: 4, transaction: true},
		"written by a transaction, longer": {records: 7, transaction: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1, crmapitest.Options{})
			write := func(n int, generation string) {
				var msgs []kafka.Message
				for range n {
					msgs = append(msgs, r.change(1, fields{"position": generation, "qq": fmt.Sprint(r.seq)}))
					msgs[len(msgs)-1].Time = time.Now().Add(-time.Duration(10-r.seq) * time.Second)
				}
				if !c.transaction {
					r.kafka.produce(msgs...)
					return
				}
				tx := r.kafka.Begin(t)
				tx.Produce(t, r.kafka.topic, msgs...)
				tx.Commit(t)
			}
			write(4, "old")
			inst := r.start()
			r.settled()
			inst.stop()
			stored := r.kafka.Commits(t, r.kafka.group, r.kafka.topic)[0]
			r.kafka.Recreate(t, r.kafka.topic, 1, nil)
			write(c.records, "new")
			r.kafka.restore(stored)
			inst = r.start()
			last := fmt.Sprintf("%q", fmt.Sprint(r.seq-1))
			r.eventually("all of the new topic", func() bool { return r.crm.field(1, "qq") == last })
			r.eventually("the offset of the new topic", func() bool { return r.kafka.lag(r.kafka.topic) == 0 })
			if n := r.outcome.records(); n != 4+c.records {
				t.Errorf("%d records were read, want all %d", n, 4+c.records)
			}
			inst.wantMetric(1, "membersync_gap_records_total")
		})
	}
}

// A restart without new records must not lose the stamp, and must not mistake the topic for a
// recreated one.
func TestRestartReadsNoRecordTwice(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, crmapitest.Options{})
	some(r, 3)
	for range 3 {
		inst := r.start()
		r.settled()
		inst.waitReady()
		inst.stop()
		inst.wantMetric(0, "membersync_gap_records_total")
	}
	if n := r.outcome.records(); n != 3 {
		t.Errorf("%d records were read, want 3", n)
	}
}

func TestPartitionsAddedWhileRunningAreReadFromTheirStart(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.start(latest)
	r.eventually("the start to be committed", func() bool { return r.kafka.committed(0) == 0 })
	r.kafka.AddPartitions(t, r.kafka.topic, 3)
	r.process(on(2, r.change(1, fields{"position": "Early"})), on(1, r.change(2, fields{"position": "Too"})))
	r.crm.wantField(1, "position", `"Early"`)
	r.crm.wantField(2, "position", `"Too"`)
}

// latest starts a new group at the end of the topic.
func latest(cfg *consumer.Config, _ *consumer.Parts) { cfg.StartLatest = true }

func TestLatestAppliesToANewGroupOnly(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, crmapitest.Options{})
	r.kafka.produce(on(0, r.change(1, fields{"position": "History"})))
	inst := r.start(latest)
	r.eventually("the starts to be committed", func() bool { return r.kafka.committed(0) == 1 && r.kafka.committed(1) == 0 })
	r.process(on(0, r.change(2, fields{"position": "Recent"})))
	inst.stop()
	r.crm.wantField(1, "position", "")
	r.crm.wantField(2, "position", `"Recent"`)
	r.kafka.produce(on(1, r.change(3, fields{"position": "While stopped"})))
	r.start(latest)
	r.settled()
	r.crm.wantField(3, "position", `"While stopped"`)
}

func TestEarliestReadsTheRetainedHistory(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	some(r, 3)
	r.kafka.DeleteRecords(t, r.kafka.topic, 0, 2)
	inst := r.start()
	r.settled()
	r.crm.wantField(1, "position", `"Level 2"`)
	if got := inst.metric("membersync_gap_records_total"); got != 0 {
		t.Errorf("gap of %v records: a new group misses nothing", got)
	}
}

func TestAbortedRecordsAreNotProcessed(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	inst := r.start()
	bad, good := r.kafka.Begin(t), r.kafka.Begin(t)
	bad.Produce(t, r.kafka.topic, r.change(1, fields{"position": "Never"}))
	good.Produce(t, r.kafka.topic, r.change(2, fields{"position": "Good"}))
	bad.Abort(t)
	good.Commit(t)
	r.settled() // past the markers too
	r.crm.wantField(1, "position", "")
	r.crm.wantField(2, "position", `"Good"`)
	r.eventually("the lag in the metrics to end", func() bool {
		return inst.metric("membersync_lag_records", "topic", r.kafka.topic, "partition", "0") == 0
	})
	r.crm.wantCalls(1)
}

// A done mark that expires before its record is not an error, but the operator is warned.
func TestWarningWhenDoneMarksExpireBeforeTheRecords(t *testing.T) {
	t.Parallel()
	const week = 7 * 24 * time.Hour // the brokers' default
	for ttl, warned := range map[time.Duration]bool{week - time.Second: true, week: false, 0: false} {
		t.Run(ttl.String(), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1, crmapitest.Options{})
			inst := r.start(func(cfg *consumer.Config, _ *consumer.Parts) { cfg.DoneTTL = ttl })
			r.kafka.produce(r.change(1, fields{"position": "x"}))
			r.eventually("the retention to be known", func() bool {
				return inst.metric("membersync_retention_headroom_seconds") > 0
			})
			inst.stop()
			n := strings.Count(r.logs.String(), "done marks expire before the topic's records do")
			if (n == 1) != warned {
				t.Errorf("%d warnings with a TTL of %v", n, ttl)
			}
		})
	}
}

func TestWarningWhenRecordsNeverExpire(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	r.kafka.topic = r.kafka.Topic(t, 1, map[string]string{"retention.ms": "-1"})
	r.kafka.ensureTopics()
	r.start(func(cfg *consumer.Config, _ *consumer.Parts) { cfg.DoneTTL = 1000 * time.Hour })
	r.eventually("the warning", func() bool {
		return strings.Contains(r.logs.String(), `"retention":"unlimited"`)
	})
}

// Both topics delete old records, so a record that waits in the redrive topic can be lost as well.
func TestRetentionHeadroomIsReportedForBothTopics(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	inst := r.start(r.dlq.redriving)
	for _, topic := range []string{r.kafka.topic, r.kafka.topics().Redrive} {
		r.eventually("the headroom of "+topic, func() bool {
			return inst.metric("membersync_retention_headroom_seconds", "topic", topic, "partition", "0") > 0
		})
	}
}
