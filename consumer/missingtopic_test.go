package consumer_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"membersync/consumer"
	"membersync/crmapi/crmapitest"
	"membersync/dlq"
)

// warned waits for a warning that names the topic.
func (r *rig) warned(topic string) {
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

// wantFewJoins checks that the group is not joined more than a few times per second.
func (r *rig) wantFewJoins(inst *instance) {
	r.t.Helper()
	joins := func() float64 { return r.metric(inst, "membersync_rebalances_total") }
	before := joins()
	r.never("more than a few joins", 3*time.Second, func() bool { return joins() > before+12 })
}

// The source topic is deleted while the service runs. It joins the group again only when the topic
// exists, reports the cause, and continues by itself.
func TestSourceTopicIsDeletedWhileRunning(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, crmapitest.Options{})
	inst := r.start(r.redriving, latest) // that the group is not new any more is not forgotten with its offsets
	r.eventually("the start to be committed", func() bool { return r.committed(0) == 0 && r.committed(1) == 0 })
	r.produce(r.change(1, fields{"position": "Before"}))
	r.settled()
	r.broker.Delete(t, r.topic)
	r.eventually("the pause", func() bool { return r.paused(inst, "kafka") })
	r.wantFewJoins(inst)
	// The client remembers the topic for a while. From then on the cause stays.
	r.eventually("the cause", func() bool { ok, cause := inst.service.Ready(); return ok && cause == "kafka" })
	r.warned(r.topic)
	r.broker.Create(t, r.topic, 2)
	began := time.Now()
	r.produce(r.change(1, fields{"position": "After"}))
	r.eventually("the event", func() bool { return r.field(1, "position") == `"After"` })
	t.Logf("first call %v after the topic was there again", time.Since(began))
	r.eventually("the end of the pause", func() bool { return !r.paused(inst, "kafka") })
	r.wantNoDeadLetters()
}

// The source topic is deleted, and the group's leader has ended without leaving the group. Until
// its session is over, the coordinator gives each member that joins again the partitions that it
// had. Such a generation ends at once, too, since the topic does not exist.
func TestSourceTopicIsDeletedWhileTheLeaderIsGone(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, crmapitest.Options{})
	leader := r.join(kgo.RoundRobinBalancer(), kgo.InstanceID("leader")) // a static member does not leave (KIP-345)
	r.eventually("the leader to own both partitions", func() bool { return leader.owns(0) && leader.owns(1) })
	inst := r.start()
	r.eventually("each to own a partition", func() bool {
		return leader.owns(0) != leader.owns(1) && r.metric(inst, "membersync_rebalances_total") > 0
	})
	leader.Close()
	r.broker.Delete(t, r.topic)
	r.wantFewJoins(inst)
	r.broker.Create(t, r.topic, 2)
}

// The redrive topic is deleted while two instances run. Only redrives wait for it, and they run
// without a restart once it exists again.
func TestRedriveTopicIsDeletedWhileRunning(t *testing.T) {
	t.Parallel()
	for name, creates := range map[string]bool{"created by hand": false, "created by the service": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2, crmapitest.Options{})
			topic := r.topics().Redrive
			creating := func(_ *consumer.Config, p *consumer.Parts) {
				if creates {
					p.EnsureTopics = r.creator(p)
				}
			}
			inst, other := r.start(r.redriving, creating), r.start(r.redriving, creating)
			r.crm.Push(crmapitest.Fault{Member: member(9), Times: 1, Code: crmapitest.CodeNoMember})
			r.produce(on(0, r.event("rejected", 9, 1, fields{"position": "Redriven"})), on(1, r.change(1, fields{"position": "Before"})))
			r.settled()
			r.broker.Delete(t, topic)
			began := time.Now()
			r.eventually("the pause", func() bool { return r.paused(inst, "kafka") || r.paused(other, "kafka") })
			r.produce(on(0, r.change(1, fields{"position": "After"})), on(1, r.change(2, fields{"position": "After"})))
			r.eventually("the events", func() bool {
				return r.field(1, "position") == `"After"` && r.field(2, "position") == `"After"`
			})
			t.Logf("calls resumed %v after the deletion", time.Since(began))
			r.wantFewJoins(inst)
			r.warned(topic)
			if !creates {
				r.eventually("the cause", func() bool { ok, cause := inst.service.Ready(); return ok && cause == "kafka" })
				r.ensureTopics()
			}
			r.eventually("the end of the pause", func() bool { return !r.paused(inst, "kafka") && !r.paused(other, "kafka") })
			r.redrive(r.items()["rejected"])
			r.eventually("the redrive", func() bool { return r.field(9, "position") == `"Redriven"` })
			r.redrivesSettled()
		})
	}
}

// creator creates membersync's own topics, as the program does.
func (r *rig) creator(p *consumer.Parts) func(context.Context) error {
	return func(ctx context.Context) error {
		return dlq.EnsureTopics(ctx, p.Kafka, dlq.TopicSpec{Topics: r.topics(), Create: true})
	}
}

// The dead-letter topic or the audit topic is deleted while the service runs, and created by it.
func TestWrittenTopicIsDeletedWhileRunning(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, crmapitest.Options{})
	inst := r.start(r.redriving, func(_ *consumer.Config, p *consumer.Parts) { p.EnsureTopics = r.creator(p) })
	r.crm.Push(crmapitest.Fault{Member: member(1), Times: 1, Code: crmapitest.CodeNoMember})
	r.produce(r.event("rejected", 1, 1, fields{"position": "Redriven"}))
	r.settled()
	r.redrive(r.items()["rejected"])
	r.redrivesSettled()
	r.crm.Push(crmapitest.Fault{Member: member(2), Code: crmapitest.CodeNoMember})
	r.broker.Delete(t, r.topics().DLQ)
	r.produce(r.event("later", 2, 2, fields{"position": "x"}))
	r.eventually("the pause", func() bool { return r.paused(inst, "dlq") })
	r.warned(r.topics().DLQ)
	r.settled()
	r.eventually("the end of the pause", func() bool { return !r.paused(inst, "dlq") })
	if rejected := r.rejections(); rejected["later"] != "crm_not_found" {
		t.Errorf("dead letters %v", rejected)
	}
}
