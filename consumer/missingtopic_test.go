package consumer_test

import (
	"strings"
	"testing"
	"time"

	"membersync/crmapi/crmapitest"
)

// A topic that the group consumes is deleted while the service runs. It joins the group again only
// when the topic exists, reports the cause, and continues by itself.
func TestTopicIsDeletedWhileRunning(t *testing.T) {
	t.Parallel()
	for name, which := range map[string]func(*rig) string{
		"source":  func(r *rig) string { return r.topic },
		"redrive": func(r *rig) string { return r.topics().Redrive },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2, crmapitest.Options{})
			topic := which(r)
			inst := r.start(r.redriving, latest) // of a group with offsets, it is no matter
			r.produce(r.change(1, fields{"position": "Before"}))
			r.settled()
			r.broker.Delete(t, topic)
			r.eventually("the pause", func() bool { return r.paused(inst, "kafka") })
			joins := func() float64 { return r.metric(inst, "membersync_rebalances_total") }
			before := joins()
			r.never("more than a few joins", 3*time.Second, func() bool { return joins() > before+20 })
			// The client remembers the topic for a while. From then on the cause stays.
			r.eventually("the cause", func() bool { ok, cause := inst.service.Ready(); return ok && cause == "kafka" })
			r.eventually("a warning that names the topic", func() bool {
				for line := range strings.Lines(r.logs.String()) {
					if strings.Contains(line, `"WARN"`) && strings.Contains(line, topic) {
						return true
					}
				}
				return false
			})
			r.broker.Create(t, topic, 2)
			r.produce(r.change(1, fields{"position": "After"}))
			r.eventually("the event", func() bool { return r.field(1, "position") == `"After"` })
			r.eventually("the end of the pause", func() bool { return !r.paused(inst, "kafka") })
			r.wantNoDeadLetters()
		})
	}
}
