package consumer_test

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
)

// warned waits for a warning that names the topic.
func warned(r *rig, topic string) {
	r.t.Helper()
	r.eventually("a warning that names the topic", func() bool {
		for line := range strings.Lines(r.logs.String()) {
			if (strings.Contains(line, `"WARN"`) || strings.Contains(line, `"ERROR"`)) && strings.Contains(line, topic) {
				return true
			}
		}
		return false
	})
}

// The source topic is deleted while the service runs. It joins the group again only when the topic
// exists, reports the cause, and continues by itself.
func TestSourceTopicIsDeletedWhileRunning(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, crmapitest.Options{})
	inst := r.start(r.dlq.redriving, latest) // that the group is not new any more is not forgotten with its offsets
	r.eventually("the start to be committed", func() bool { return r.kafka.committed(0) == 0 && r.kafka.committed(1) == 0 })
	r.process(r.change(1, fields{"position": "Before"}))
	r.kafka.Delete(t, r.kafka.topic)
	r.eventually("the pause", func() bool { return inst.paused("kafka") })
	inst.wantFewJoins()
	// The client remembers the topic for a while. From then on the cause stays.
	r.eventually("the cause", func() bool { ok, cause := inst.service.Ready(); return ok && cause == "kafka" })
	warned(r, r.kafka.topic)
	r.kafka.Create(t, r.kafka.topic, 2)
	began := time.Now()
	r.kafka.produce(r.change(1, fields{"position": "After"}))
	r.eventually("the event", func() bool { return r.crm.field(1, "position") == `"After"` })
	t.Logf("first call %v after the topic was there again", time.Since(began))
	r.eventually("the end of the pause", func() bool { return !inst.paused("kafka") })
	r.wantNoDeadLetters()
}

// The source topic is deleted, and the group's leader has ended without leaving the group. Until
// its session is over, the coordinator gives each member that joins again the partitions that it
// had. Such a generation ends at once, too, since the topic does not exist.
func TestSourceTopicIsDeletedWhileTheLeaderIsGone(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, crmapitest.Options{})
	leader := r.kafka.join(kgo.RoundRobinBalancer(), kgo.InstanceID("leader")) // a static member does not leave (KIP-345)
	r.eventually("the leader to own both partitions", func() bool { return leader.owns(0) && leader.owns(1) })
	inst := r.start()
	r.eventually("each to own a partition", func() bool {
		return leader.owns(0) != leader.owns(1) && inst.metric("membersync_rebalances_total") > 0
	})
	leader.Close()
	r.kafka.Delete(t, r.kafka.topic)
	inst.wantFewJoins()
	r.kafka.Create(t, r.kafka.topic, 2)
}

// The redrive topic is deleted while two instances run. Only redrives wait for it, and they run
// without a restart once it exists again.
func TestRedriveTopicIsDeletedWhileRunning(t *testing.T) {
	t.Parallel()
	for name, creates := range map[string]bool{"created by hand": false, "created by the service": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2, crmapitest.Options{})
			topic := r.kafka.topics().Redrive
			creating := func(*consumer.Config, *consumer.Parts) {}
			if creates {
				creating = r.kafka.creating
			}
			inst, other := r.start(r.dlq.redriving, creating), r.start(r.dlq.redriving, creating)
			r.crm.Push(crmapitest.Fault{Member: member(9), Times: 1, Code: crmapitest.CodeNoMember})
			r.process(on(0, event("rejected", 9, 1, fields{"position": "Redriven"})), on(1, r.change(1, fields{"position": "Before"})))
			r.kafka.Delete(t, topic)
			began := time.Now()
			r.eventually("the pause", func() bool { return inst.paused("kafka") || other.paused("kafka") })
			r.kafka.produce(on(0, r.change(1, fields{"position": "After"})), on(1, r.change(2, fields{"position": "After"})))
			r.eventually("the events", func() bool {
				return r.crm.field(1, "position") == `"After"` && r.crm.field(2, "position") == `"After"`
			})
			t.Logf("calls resumed %v after the deletion", time.Since(began))
			inst.wantFewJoins()
			warned(r, topic)
			if !creates {
				r.eventually("the cause", func() bool { ok, cause := inst.service.Ready(); return ok && cause == "kafka" })
				r.kafka.ensureTopics()
			}
			r.eventually("the end of the pause", func() bool { return !inst.paused("kafka") && !other.paused("kafka") })
			r.dlq.redrive(r.dlq.items()["rejected"])
			r.eventually("the redrive", func() bool { return r.crm.field(9, "position") == `"Redriven"` })
			r.redrivesSettled()
		})
	}
}

// The dead-letter topic or the audit topic is deleted while the service runs, and created by it.
func TestWrittenTopicIsDeletedWhileRunning(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	inst := r.start(r.dlq.redriving, r.kafka.creating)
	r.crm.Push(crmapitest.Fault{Member: member(1), Times: 1, Code: crmapitest.CodeNoMember})
	r.process(event("rejected", 1, 1, fields{"position": "Redriven"}))
	r.processRedrive(r.dlq.items()["rejected"])
	r.crm.Push(crmapitest.Fault{Member: member(2), Code: crmapitest.CodeNoMember})
	r.kafka.Delete(t, r.kafka.topics().DLQ)
	r.kafka.produce(event("later", 2, 2, fields{"position": "x"}))
	r.eventually("the pause", func() bool { return inst.paused("dlq") })
	warned(r, r.kafka.topics().DLQ)
	r.settled()
	r.eventually("the end of the pause", func() bool { return !inst.paused("dlq") })
	if rejected := r.dlq.rejections(); rejected["later"] != "crm_not_found" {
		t.Errorf("dead letters %v", rejected)
	}
}
